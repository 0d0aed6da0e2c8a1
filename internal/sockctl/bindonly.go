package sockctl

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"syscall"

	"example.com/loopback/internal/netif"
	"example.com/loopback/internal/syserr"
)

// BindOnly returns the address, without the port, that a listener of
// net.Listen("tcp", "addr:0") would report, or the error that it would return.
// It binds the socket that package net makes for it, and closes it without
// listening on it, so that nothing can connect to it, whatever addr is.
func BindOnly(ctx context.Context, addr netip.Addr) (netip.Addr, error) {
	var bound netip.Addr
	errBound := errors.New("bound") // keeps package net from going on
	lc := net.ListenConfig{Control: func(network, _ string, c syscall.RawConn) error {
		return rawControl(c, func(fd uintptr) error {
			sa, err := bind(fd, sockaddr(addr, network))
			if err != nil {
				return err
			}
			bound = addrOf(sa)
			return errBound
		})
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

// HasAddr returns nil if this machine has the loopback address addr, and else
// the error that says why not. A machine has an address if a socket can be
// bound to it and connected to it: with net.ipv6.ip_nonlocal_bind Linux binds
// addresses that are not there. A bind that fails for another reason, such as
// that every port is in use or that a sandbox forbids it, tells nothing. Nothing
// is sent.
func HasAddr(ctx context.Context, addr netip.Addr) error {
	if _, err := BindOnly(ctx, addr); syserr.Missing(err) {
		return err
	}
	return CanConnect(addr)
}

// CanConnect returns nil if a socket can be connected to addr, a loopback
// address of this machine that is unmapped, and else the error that says why
// not. It connects a UDP socket, which sends nothing. Where the way to addr leads
// out of this machine, as by a default route, the error is
// [syscall.EADDRNOTAVAIL].
func CanConnect(addr netip.Addr) error { return CanConnectAll([]netip.Addr{addr})[0] }

// CanConnectAll returns what [CanConnect] returns of each address. It takes two
// thirds of the time for 127.0.0.1 and ::1.
func CanConnectAll(addrs []netip.Addr) []error {
	var c connector
	defer c.close()
	errs := make([]error, len(addrs))
	for i, addr := range slices.Backward(addrs) { // ::1 first: see connector
		errs[i] = c.canConnect(addr)
	}
	return errs
}

func (c *connector) canConnect(addr netip.Addr) error {
	from, err := c.from(addr)
	if syserr.Is(err, "EAGAIN") { // every UDP port is in use, which tells nothing
		if local, lerr := netif.IsLocal(addr); lerr == nil && local {
			return nil
		}
	}
	if err != nil {
		return err
	}
	if !from.IsLoopback() { // a route may say so, on purpose
		local, err := netif.IsLocal(addr)
		if err != nil {
			return err
		}
		if !local {
			return connectError(addr, syscall.EADDRNOTAVAIL)
		}
	}
	return nil
}

// connectError returns the error of package net for a UDP socket that cannot
// be connected to addr.
func connectError(addr netip.Addr, err error) error {
	return &net.OpError{
		Op: "dial", Net: "udp", Addr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, discardPort)),
		Err: os.NewSyscallError("connect", err),
	}
}

// discardPort is one that a UDP socket can be connected to: RFC 863.
const discardPort = 9

// sockaddr returns addr, with port 0, for a socket of the network that Control
// was called with. The unspecified IPv4 address is :: to an IPv6 socket, as in
// package net.
func sockaddr(addr netip.Addr, network string) syscall.Sockaddr {
	switch {
	case network != "tcp6":
		return &syscall.SockaddrInet4{Addr: addr.As4()}
	case addr.IsUnspecified():
		return &syscall.SockaddrInet6{}
	}
	return &syscall.SockaddrInet6{Addr: addr.As16(), ZoneId: zoneID(addr.Zone())}
}

// addrOf returns an address with its zone.
func addrOf(sa syscall.Sockaddr) netip.Addr {
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
