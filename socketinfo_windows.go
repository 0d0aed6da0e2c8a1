package loopback

import (
	"errors"
	"net/netip"
	"os"

	"golang.org/x/sys/windows"
)

// socketInfoOf fills in all but what follows from the addresses.
func socketInfoOf(handle uintptr) (s socketInfo, err error) {
	h := windows.Handle(handle)
	sa, err := windows.Getsockname(h)
	switch {
	case errors.Is(err, windows.WSAENOTSOCK):
		s.why = "it is not a socket"
		return s, nil
	case errors.Is(err, windows.WSAEINVAL):
		s.why = "it is not bound"
		return s, nil
	case err != nil:
		return s, os.NewSyscallError("getsockname", err)
	}
	var ok bool
	if s.local, ok = addrPortOf(sa); !ok {
		s.why = "it is not an internet socket"
		return s, nil
	}
	if peer, err := windows.Getpeername(h); err == nil {
		s.peer, _ = addrPortOf(peer)
	}
	const soType, soAcceptConn, sockStream = 0x1008, 0x2, 1 // winsock2.h
	typ, err := windows.GetsockoptInt(h, windows.SOL_SOCKET, soType)
	if err != nil {
		return s, os.NewSyscallError("getsockopt SO_TYPE", err)
	}
	s.datagram = typ != sockStream
	listening, err := windows.GetsockoptInt(h, windows.SOL_SOCKET, soAcceptConn)
	s.listening = err == nil && listening != 0
	return s, nil
}

func addrPortOf(sa windows.Sockaddr) (netip.AddrPort, bool) {
	switch sa := sa.(type) {
	case *windows.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)), true
	case *windows.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port)), true
	}
	return netip.AddrPort{}, false
}
