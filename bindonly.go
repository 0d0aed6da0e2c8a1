package loopback

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
)

// bindOnly returns the address, without the port, that a listener of
// net.Listen("tcp", "addr:0") would report, or the error that it would return.
// It binds the socket that package net makes for it, and closes it without
// listening on it: nobody can connect to that, whatever addr is.
func bindOnly(ctx context.Context, addr netip.Addr) (netip.Addr, error) {
	var bound netip.Addr
	errBound := errors.New("bound") // keeps package net from going on
	lc := net.ListenConfig{Control: func(network, _ string, c syscall.RawConn) error {
		var err error
		if err := c.Control(func(fd uintptr) {
			var sa syscall.Sockaddr
			if sa, err = bindFD(fd, sockaddr(addr, network == "tcp6")); err == nil {
				bound = fromSockaddr(sa)
			}
		}); err != nil {
			return err
		}
		if err != nil {
			return os.NewSyscallError("bind", err)
		}
		return errBound
	}}
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(ctx, "tcp", netip.AddrPortFrom(addr, 0).String())
	if err == nil { // a platform without Control has no network either
		defer ln.Close()
		a, _ := ln.Addr().(*net.TCPAddr)
		return a.AddrPort().Addr().Unmap(), nil
	}
	if errors.Is(err, errBound) {
		return bound.Unmap(), nil
	}
	return netip.Addr{}, err
}

// sockaddr returns addr, with port 0, for a socket of either family. The
// unspecified IPv4 address is :: to an IPv6 socket, as in package net.
func sockaddr(addr netip.Addr, v6 bool) syscall.Sockaddr {
	switch {
	case !v6:
		return &syscall.SockaddrInet4{Addr: addr.As4()}
	case addr.IsUnspecified():
		return &syscall.SockaddrInet6{}
	}
	return &syscall.SockaddrInet6{Addr: addr.As16(), ZoneId: zoneID(addr.Zone())}
}

func fromSockaddr(sa syscall.Sockaddr) netip.Addr {
	switch sa := sa.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrFrom4(sa.Addr)
	case *syscall.SockaddrInet6:
		addr := netip.AddrFrom16(sa.Addr)
		if sa.ZoneId == 0 {
			return addr
		}
		if ifi, err := net.InterfaceByIndex(int(sa.ZoneId)); err == nil {
			return addr.WithZone(ifi.Name)
		}
		return addr.WithZone(strconv.FormatUint(uint64(sa.ZoneId), 10))
	}
	return netip.Addr{}
}

// zoneID returns the index of the interface that zone names, 0 if there is
// none.
func zoneID(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if ifi, err := net.InterfaceByName(zone); err == nil {
		return uint32(ifi.Index)
	}
	id, _ := strconv.ParseUint(zone, 10, 32)
	return uint32(id)
}

// hasFamily reports whether this machine has the loopback address addr.
func hasFamily(ctx context.Context, addr netip.Addr) bool {
	_, err := bindOnly(ctx, addr)
	return err == nil
}
