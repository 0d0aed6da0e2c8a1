package sockctl

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"example.com/loopback/internal/netif"
)

// inspectOptions adds what only Linux has to say.
func inspectOptions(fd handle, info *Info) error {
	protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil {
		return os.NewSyscallError("getsockopt SO_PROTOCOL", err)
	}
	info.Multipath = protocol == unix.IPPROTO_MPTCP
	if info.Namespace, err = netif.NamespaceOf(fd); err != nil {
		return err
	}
	if info.Transparent, err = isTransparent(fd, info.Multipath); err != nil {
		return os.NewSyscallError("getsockopt IP_TRANSPARENT", err)
	}
	if info.Device, err = otherDevice(fd); err != nil {
		return os.NewSyscallError("getsockopt SO_BINDTODEVICE", err)
	}
	return nil
}

func isTransparent(fd int, multipath bool) (bool, error) {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return false, err
	}
	level, option := unix.IPPROTO_IP, unix.IP_TRANSPARENT
	if domain == unix.AF_INET6 {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_TRANSPARENT
	}
	v, err := unix.GetsockoptInt(fd, level, option)
	if errors.Is(err, unix.ENOPROTOOPT) || // some imitations of Linux lack the option
		multipath && errors.Is(err, unix.EOPNOTSUPP) { // older kernels do not say
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
