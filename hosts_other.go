//go:build !windows

package loopback

// hostsPath returns the path of the hosts file.
func hostsPath() string { return "/etc/hosts" }
