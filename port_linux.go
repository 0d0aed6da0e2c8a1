package loopback

import "golang.org/x/sys/unix"

// reservePort asks the kernel for a port that is free for TCP in both families:
// a socket of both families that is bound, has SO_REUSEADDR, and never listens
// does not keep others with that option from the port. The port is held
// against the kernel's own choice, though not against another process that
// asks for it by number, until release. It is 0 where that cannot be done, as
// without IPv6.
//
// The option comes after the bind: with it the kernel looks through all of one
// half of the range before the other, where thousands of listeners are.
func reservePort() (port uint16, release func()) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, func() {}
	}
	release = func() { unix.Close(fd) }
	if unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0) != nil ||
		unix.Bind(fd, &unix.SockaddrInet6{}) != nil ||
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) != nil {
		return 0, release
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return 0, release
	}
	return uint16(sa.(*unix.SockaddrInet6).Port), release
}
