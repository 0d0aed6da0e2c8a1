//go:build (unix && !linux) || windows

package loopback

// openings has nothing to add: no option lets in more than the local address.
func openings(handle, *socketInfo) error { return nil }
