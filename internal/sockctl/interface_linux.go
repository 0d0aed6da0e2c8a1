package sockctl

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func bindToDevice(c syscall.RawConn, name string) error {
	return rawControl(c, func(fd uintptr) error {
		return os.NewSyscallError("setsockopt SO_BINDTODEVICE", unix.BindToDevice(int(fd), name))
	})
}

func reportInterface(c syscall.RawConn, local netip.Addr) error {
	level, option := unix.IPPROTO_IP, unix.IP_PKTINFO
	if local.Is6() {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
	}
	return rawControl(c, func(fd uintptr) error {
		return os.NewSyscallError("setsockopt IP_PKTINFO", unix.SetsockoptInt(int(fd), level, option, 1))
	})
}

const controlSize = 512

func datagramInterface(control []byte) int {
	for len(control) > 0 {
		h, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			return 0
		}
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			return index(data[:4])
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			return index(data[16:20])
		}
		control = rest
	}
	return 0
}

func connInterface(fd uintptr, local netip.Addr) (int, error) {
	if local.Is6() {
		// The kernel keeps the interface of the handshake where it keeps the
		// interface for multicast, and says so for none but TCP.
		index, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF)
		return index, os.NewSyscallError("getsockopt IPV6_MULTICAST_IF", err)
	}
	if err := unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1); err != nil {
		return 0, os.NewSyscallError("setsockopt IP_PKTINFO", err)
	}
	// IP_PKTOPTIONS answers with one control message. An ICMPv6Filter is
	// nothing but the 32 bytes that it needs.
	f, err := unix.GetsockoptICMPv6Filter(int(fd), unix.IPPROTO_IP, unix.IP_PKTOPTIONS)
	if err != nil {
		return 0, os.NewSyscallError("getsockopt IP_PKTOPTIONS", err)
	}
	return pktinfoIndex(f.Data)
}

// pktinfoIndex returns the index of the interface in a control message of
// IP_PKTINFO.
func pktinfoIndex(message [8]uint32) (int, error) {
	w := message[unix.SizeofCmsghdr/4-2:] // level, type, struct in_pktinfo
	if w[0] != unix.IPPROTO_IP || w[1] != unix.IP_PKTINFO {
		return 0, fmt.Errorf("unexpected control message %d/%d", w[0], w[1])
	}
	return int(int32(w[2])), nil
}

func index(b []byte) int { return int(int32(binary.NativeEndian.Uint32(b))) }
