package loopback

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"example.com/loopback/internal/netif"
)

// openings adds to s the options that let in more than the local address.
func openings(fd handle, s *socketInfo) error {
	protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil {
		return os.NewSyscallError("getsockopt SO_PROTOCOL", err)
	}
	s.multipath = protocol == unix.IPPROTO_MPTCP
	s.netns, _ = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE) // since Linux 5.14
	transparent, err := isTransparent(fd, s.multipath)
	if err != nil {
		return os.NewSyscallError("getsockopt IP_TRANSPARENT", err)
	}
	device, err := otherDevice(fd)
	if err != nil {
		return os.NewSyscallError("getsockopt SO_BINDTODEVICE", err)
	}
	switch {
	case transparent:
		s.why = "it has IP_TRANSPARENT, and is given connections to other addresses"
	case device != "":
		s.why = "it is bound to interface " + device + ", which is not the loopback interface"
	}
	return nil
}

func isTransparent(fd int, multipath bool) (bool, error) {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return false, err
	}
	level, opt := unix.IPPROTO_IP, unix.IP_TRANSPARENT
	if domain == unix.AF_INET6 {
		level, opt = unix.IPPROTO_IPV6, unix.IPV6_TRANSPARENT
	}
	v, err := unix.GetsockoptInt(fd, level, opt)
	if errors.Is(err, unix.ENOPROTOOPT) || // there is no such thing here, as in some imitations of Linux
		multipath && errors.Is(err, unix.EOPNOTSUPP) { // older kernels do not tell
		return false, nil
	}
	return v != 0, err
}

// otherDevice returns the interface that a socket is bound to, or "" if that
// is the loopback interface or none.
func otherDevice(fd int) (string, error) {
	// By index, as a socket may be of a namespace that has other names.
	index, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX)
	if err == nil && index != 0 && index != netif.LoopbackIndex {
		return strconv.Itoa(index), nil
	}
	if !errors.Is(err, unix.ENOPROTOOPT) {
		return "", err
	}
	name, err := unix.GetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE) // before Linux 5.0
	if err != nil || name == "" {
		return "", err
	}
	lo, err := netif.FindLoopback()
	if name == lo.Name {
		name = ""
	}
	return name, err
}
