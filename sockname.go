//go:build unix || windows

package loopback

import (
	"errors"
	"net/netip"
	"os"
	"syscall"

	"example.com/loopback/internal/syserr"
)

// socketInfoOf fills in all but what follows from the addresses.
func socketInfoOf(fd uintptr) (s socketInfo, err error) {
	h := handle(fd)
	sa, err := syscall.Getsockname(h)
	if err != nil {
		errno, _ := errors.AsType[syscall.Errno](err)
		switch syserr.Name(errno) {
		case "ENOTSOCK":
			s.why = "it is not a socket"
			return s, nil
		case "EAFNOSUPPORT", "EOPNOTSUPP", "ENOTSUP": // package syscall does not know its address, or it has none
			s.why = "it is not an internet socket"
			return s, nil
		case "EINVAL":
			s.why = "it is not bound"
			return s, nil
		}
		return s, os.NewSyscallError("getsockname", err)
	}
	var ok bool
	if s.local, ok = addrPortOf(sa); !ok {
		s.why = "it is not an internet socket"
		return s, nil
	}
	if peer, err := syscall.Getpeername(h); err == nil {
		s.peer, _ = addrPortOf(peer)
	}
	typ, err := syscall.GetsockoptInt(h, syscall.SOL_SOCKET, soType)
	if err != nil {
		return s, os.NewSyscallError("getsockopt SO_TYPE", err)
	}
	s.datagram, s.raw = typ != syscall.SOCK_STREAM, typ == syscall.SOCK_RAW
	listening, err := syscall.GetsockoptInt(h, syscall.SOL_SOCKET, soAcceptConn)
	s.listening = err == nil && listening != 0
	return s, openings(h, &s)
}

func addrPortOf(sa syscall.Sockaddr) (netip.AddrPort, bool) {
	switch sa := sa.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)), true
	case *syscall.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port)), true
	}
	return netip.AddrPort{}, false
}

// bindFD binds the socket fd and returns the address it then has.
func bindFD(fd uintptr, sa syscall.Sockaddr) (syscall.Sockaddr, error) {
	if err := syscall.Bind(handle(fd), sa); err != nil {
		return nil, err
	}
	return syscall.Getsockname(handle(fd))
}
