package sockctl

import (
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// connectFrom returns the source address of a UDP socket that is connected to
// addr. It takes a third of the time that package net takes, which would be
// seen in Listen.
func connectFrom(addr netip.Addr) (netip.Addr, error) {
	family := unix.AF_INET
	var sa unix.Sockaddr
	if addr.Is4() {
		sa = &unix.SockaddrInet4{Addr: addr.As4(), Port: discardPort}
	} else {
		family = unix.AF_INET6
		sa = &unix.SockaddrInet6{Addr: addr.As16(), Port: discardPort, ZoneId: zoneID(addr.Zone())}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return netip.Addr{}, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, sa); err != nil {
		return netip.Addr{}, connectError(addr, err)
	}
	name, err := unix.Getsockname(fd)
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(name.Addr), nil
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(name.Addr).Unmap(), nil
	}
	return netip.Addr{}, os.NewSyscallError("getsockname", err)
}
