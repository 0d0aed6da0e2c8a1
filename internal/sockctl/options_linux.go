package sockctl

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"example.com/loopback/internal/netif"
	"example.com/loopback/internal/netlink"
)

// inspectOptions adds what only Linux has to say.
func inspectOptions(fd handle, info *Info) error {
	protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil {
		return os.NewSyscallError("getsockopt SO_PROTOCOL", err)
	}
	info.Protocol, info.Multipath = protocol, protocol == unix.IPPROTO_MPTCP
	if info.Namespace, err = netlink.NamespaceOf(fd); err != nil {
		return err
	}
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return os.NewSyscallError("getsockopt SO_DOMAIN", err)
	}
	if info.Transparent, err = isTransparent(fd, domain, info.Multipath); err != nil {
		return os.NewSyscallError("getsockopt IP_TRANSPARENT", err)
	}
	if err := inspectDevice(fd, info); err != nil {
		return os.NewSyscallError("getsockopt SO_BINDTODEVICE", err)
	}
	if info.Type == Datagram {
		level, option := unix.IPPROTO_IP, unix.IP_PKTINFO
		if domain == unix.AF_INET6 {
			level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
		}
		v, err := unix.GetsockoptInt(fd, level, option)
		if err != nil && !errors.Is(err, unix.ENOPROTOOPT) {
			return os.NewSyscallError("getsockopt IP_PKTINFO", err)
		}
		info.ReportsInterface = v != 0
	}
	return nil
}

func isTransparent(fd, domain int, multipath bool) (bool, error) {
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

// inspectDevice adds the interface that a socket is bound to.
func inspectDevice(fd int, info *Info) error {
	// By index, as a socket may be of a namespace that has other names.
	index, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX)
	if err == nil {
		info.OnLoopback = index == netif.LoopbackIndex
		if index != 0 && !info.OnLoopback {
			info.Device = strconv.Itoa(index)
		}
		return nil
	}
	if !errors.Is(err, unix.ENOPROTOOPT) {
		return err
	}
	name, err := unix.GetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE) // before Linux 5.0
	if err != nil || name == "" {
		return err
	}
	lo, err := netif.FindLoopback()
	if info.OnLoopback = err == nil && name == lo.Name; !info.OnLoopback {
		info.Device = name
	}
	return err
}
