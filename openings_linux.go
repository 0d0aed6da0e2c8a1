package loopback

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// openings adds to s the options that let in more than the local address.
func openings(fd handle, s *socketInfo) error {
	ask := func(level, opt int, name string) (int, error) {
		v, err := unix.GetsockoptInt(fd, level, opt)
		return v, os.NewSyscallError("getsockopt "+name, err)
	}
	protocol, err := ask(unix.SOL_SOCKET, unix.SO_PROTOCOL, "SO_PROTOCOL")
	if err != nil {
		return err
	}
	s.multipath = protocol == unix.IPPROTO_MPTCP
	device, err := ask(unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, "SO_BINDTOIFINDEX") // Linux 5.0
	if err != nil {
		return err
	}
	domain, err := ask(unix.SOL_SOCKET, unix.SO_DOMAIN, "SO_DOMAIN")
	if err != nil {
		return err
	}
	level, opt := unix.IPPROTO_IP, unix.IP_TRANSPARENT
	if domain == unix.AF_INET6 {
		level, opt = unix.IPPROTO_IPV6, unix.IPV6_TRANSPARENT
	}
	transparent, err := ask(level, opt, "IP_TRANSPARENT")
	if err != nil && !(s.multipath && errors.Is(err, unix.EOPNOTSUPP)) { // older kernels do not tell
		return err
	}
	switch { // by index, since a socket may be of another namespace
	case transparent != 0:
		s.why = "it has IP_TRANSPARENT, and is given connections to other addresses"
	case device != 0 && device != loopbackIndex:
		s.why = "it is bound to interface " + strconv.Itoa(device) + ", which is not the loopback interface"
	}
	return nil
}
