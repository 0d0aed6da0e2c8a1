//go:build unix || windows

package sockctl

import (
	"errors"
	"net/netip"
	"os"
	"syscall"

	"example.com/loopback/internal/syserr"
)

func inspect(fd uintptr) (info Info, err error) {
	h := handle(fd)
	sa, err := syscall.Getsockname(h)
	if err != nil {
		errno, _ := errors.AsType[syscall.Errno](err)
		switch syserr.Name(errno) {
		case "ENOTSOCK":
			return info, nil
		case "EAFNOSUPPORT", "EOPNOTSUPP", "ENOTSUP": // package syscall does not know its address, or it has none
			info.Type = NotInternet
			return info, nil
		case "EINVAL": // Windows: not bound
		default:
			return info, os.NewSyscallError("getsockname", err)
		}
	} else if info.Local = addrPortOf(sa); !info.Local.IsValid() {
		info.Type = NotInternet
		return info, nil
	}
	switch peer, err := syscall.Getpeername(h); {
	case err == nil:
		info.Peer = addrPortOf(peer)
	case !syserr.Is(err, "ENOTCONN", "EINVAL"): // BSD systems say EINVAL of a connection that was shut down
		return info, os.NewSyscallError("getpeername", err)
	}
	typ, err := syscall.GetsockoptInt(h, syscall.SOL_SOCKET, soType)
	if err != nil {
		return info, os.NewSyscallError("getsockopt SO_TYPE", err)
	}
	switch typ {
	case syscall.SOCK_STREAM:
		info.Type = Stream
	case syscall.SOCK_RAW:
		info.Type = Raw
	default:
		info.Type = Datagram
	}
	switch listening, err := syscall.GetsockoptInt(h, syscall.SOL_SOCKET, soAcceptConn); {
	case err == nil:
		info.Listening = listening != 0
	case info.Type == Stream: // other types may lack the option
		return info, os.NewSyscallError("getsockopt SO_ACCEPTCONN", err)
	}
	return info, inspectOptions(h, &info)
}

// addrPortOf returns an address without its zone, unmapped, or the zero
// AddrPort for one that is not an IP address.
func addrPortOf(sa syscall.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *syscall.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// bind binds the socket fd and returns the address that it then has.
func bind(fd uintptr, sa syscall.Sockaddr) (syscall.Sockaddr, error) {
	if err := syscall.Bind(handle(fd), sa); err != nil {
		return nil, os.NewSyscallError("bind", err)
	}
	sa, err := syscall.Getsockname(handle(fd))
	return sa, os.NewSyscallError("getsockname", err)
}
