package sockctl

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// A socket of both families that is bound, has SO_REUSEADDR, and never listens
// does not keep others with that option from its port. The option comes after
// the bind: with it the kernel searches one half of the port range before the
// other, and thousands of listeners may be in that half.
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
	sa, err := syscall.Getsockname(fd) // that of x/sys would ask for the protocol as well
	if err != nil {
		return 0, release
	}
	return uint16(sa.(*syscall.SockaddrInet6).Port), release
}

func noReuse(c syscall.RawConn) error {
	return rawControl(c, func(fd uintptr) error {
		return os.NewSyscallError("setsockopt SO_REUSEADDR", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 0))
	})
}
