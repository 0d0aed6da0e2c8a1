// Package pktinfo reads from the kernel through which interface a connection
// or a datagram came in.
package pktinfo

import (
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Enable makes a UDP socket report the interface of each datagram in its
// control messages: ip(7) IP_PKTINFO, RFC 3542 section 6.2.
func Enable(fd int, v6 bool) error {
	if v6 {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
}

// Size is the room that the control messages of Enable need, and those before
// them, such as time stamps, that somebody else asked for on the same socket.
const Size = 512

// Datagram returns the index of the interface that the control messages of a
// datagram name, or 0 if they name none.
func Datagram(oob []byte) int {
	for len(oob) > 0 {
		h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return 0
		}
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			return index(data[:4])
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			return index(data[16:20])
		}
		oob = rest
	}
	return 0
}

// Accepted returns the index of the interface through which the handshake of
// an accepted TCP connection came in. On an IPv4 connection it leaves
// IP_PKTINFO set, which changes nothing for a stream. A multipath TCP
// connection cannot be asked.
func Accepted(fd int, v6 bool) (int, error) {
	if v6 {
		// The kernel keeps the interface of the handshake where it keeps the
		// interface for multicast, and says so for none but TCP.
		index, err := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF)
		return index, os.NewSyscallError("getsockopt IPV6_MULTICAST_IF", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1); err != nil {
		return 0, os.NewSyscallError("setsockopt IP_PKTINFO", err)
	}
	// IP_PKTOPTIONS answers with one control message. An ICMPv6Filter is
	// nothing but the 32 bytes that it needs.
	f, err := unix.GetsockoptICMPv6Filter(fd, unix.IPPROTO_IP, unix.IP_PKTOPTIONS)
	if err != nil {
		return 0, os.NewSyscallError("getsockopt IP_PKTOPTIONS", err)
	}
	w := f.Data[unix.SizeofCmsghdr/4-2:] // level, type, struct in_pktinfo
	if w[0] != unix.IPPROTO_IP || w[1] != unix.IP_PKTINFO {
		return 0, fmt.Errorf("unexpected control message %d/%d", w[0], w[1])
	}
	return int(int32(w[2])), nil
}

func index(b []byte) int { return int(int32(binary.NativeEndian.Uint32(b))) }
