//go:build !linux

package loopback

// reservePort leaves the choice to the first of the sockets.
func reservePort() (port uint16, release func()) { return 0, func() {} }
