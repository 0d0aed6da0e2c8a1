//go:build unix

package loopback

import (
	"errors"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// socketInfoOf fills in all but what follows from the addresses.
func socketInfoOf(handle uintptr) (s socketInfo, err error) {
	fd := int(handle)
	sa, err := unix.Getsockname(fd)
	switch {
	case errors.Is(err, unix.ENOTSOCK):
		s.why = "it is not a socket"
		return s, nil
	case errors.Is(err, unix.EAFNOSUPPORT): // package unix does not know its address
		s.why = "it is not an internet socket"
		return s, nil
	case err != nil:
		return s, os.NewSyscallError("getsockname", err)
	}
	var ok bool
	if s.local, ok = addrPortOf(sa); !ok {
		s.why = "it is not an internet socket"
		return s, nil
	}
	if peer, err := unix.Getpeername(fd); err == nil {
		s.peer, _ = addrPortOf(peer)
	}
	typ, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return s, os.NewSyscallError("getsockopt SO_TYPE", err)
	}
	s.datagram = typ != unix.SOCK_STREAM
	listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	s.listening = err == nil && listening != 0
	return s, openings(fd, &s)
}

func addrPortOf(sa unix.Sockaddr) (netip.AddrPort, bool) {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)), true
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port)), true
	}
	return netip.AddrPort{}, false
}
