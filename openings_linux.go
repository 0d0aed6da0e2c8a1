package loopback

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// openings adds to s the options that let in more than the local address.
func openings(fd int, s *socketInfo) error {
	level, opt := unix.IPPROTO_IP, unix.IP_TRANSPARENT
	if domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); err != nil {
		return os.NewSyscallError("getsockopt SO_DOMAIN", err)
	} else if domain == unix.AF_INET6 {
		level, opt = unix.IPPROTO_IPV6, unix.IPV6_TRANSPARENT
	}
	transparent, err := unix.GetsockoptInt(fd, level, opt)
	if err != nil {
		return os.NewSyscallError("getsockopt IP_TRANSPARENT", err)
	}
	device, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX) // Linux 5.0
	if err != nil {
		return os.NewSyscallError("getsockopt SO_BINDTOIFINDEX", err)
	}
	protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil {
		return os.NewSyscallError("getsockopt SO_PROTOCOL", err)
	}
	s.multipath = protocol == unix.IPPROTO_MPTCP
	switch { // by index, since a socket may be of another namespace
	case transparent != 0:
		s.why = "it has IP_TRANSPARENT, and is given connections to other addresses"
	case device != 0 && device != loopbackIndex:
		s.why = "it is bound to interface " + strconv.Itoa(device) + ", which is not the loopback interface"
	}
	return nil
}
