//go:build linux

package netlink

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

const (
	sockDiagReqLen = 56 // struct inet_diag_req_v2
	sockDiagMsgLen = 72 // struct inet_diag_msg
)

// StateListen is the State of a listening socket: TCP_LISTEN.
const StateListen = 10

// A Socket is what the kernel tells about a TCP or UDP socket.
type Socket struct {
	State         uint8 // 1 is established, [StateListen] is listening
	Local, Remote netip.AddrPort
	Device        uint32 // the index of the interface that it is bound to, or 0
	UID           uint32 // in the user namespace of the asking process; the overflow uid, mostly 65534, if it has no name there
	Inode         uint32 // 0 for a socket without a process, such as one in TIME_WAIT; its UID is worth nothing
	Queued, Room  uint32 // of a listening socket: connections that wait, and how many may
	Only6         bool   // an IPv6 socket that takes no IPv4: IPV6_V6ONLY; known of listening and unconnected ones
}

// TCP looks up the one TCP socket with these addresses, which are of one
// family, on a Conn of unix.NETLINK_SOCK_DIAG.
//
// It takes the same time however many sockets there are. Where no connection
// has both addresses the kernel answers with the socket that listens on local,
// if there is one, so look at State, Local and Remote; the zero AddrPort for
// remote asks for that socket. The error is [unix.ENOENT] if there is none.
func (c *Conn) TCP(local, remote netip.AddrPort) (Socket, error) {
	var msg [HeaderLen + sockDiagReqLen]byte
	req := msg[HeaderLen:]
	req[0], req[1] = unix.AF_INET6, unix.IPPROTO_TCP
	if local.Addr().Is4() {
		req[0] = unix.AF_INET
	}
	binary.NativeEndian.PutUint32(req[4:], ^uint32(0)) // any state
	binary.BigEndian.PutUint16(req[8:], local.Port())
	binary.BigEndian.PutUint16(req[10:], remote.Port())
	copy(req[12:28], local.Addr().AsSlice())
	copy(req[28:44], remote.Addr().AsSlice())
	binary.NativeEndian.PutUint32(req[44:], 1)          // the loopback interface, for sockets bound to it
	binary.NativeEndian.PutUint64(req[48:], ^uint64(0)) // INET_DIAG_NOCOOKIE
	var buf [512]byte                                   // the answer carries no extension, for none was asked for
	typ, body, err := c.Call(unix.SOCK_DIAG_BY_FAMILY, msg[:], buf[:])
	if err != nil {
		return Socket{}, err
	}
	if typ != unix.SOCK_DIAG_BY_FAMILY || len(body) < sockDiagMsgLen {
		return Socket{}, errMalformed
	}
	return parseSocket(body), nil
}

// attrOnly6 is INET_DIAG_SKV6ONLY of linux/inet_diag.h.
const attrOnly6 = 11

// stateClose is the state of an unconnected UDP socket: TCP_CLOSE.
const stateClose = 7

// OnPort calls each with every listening TCP socket (protocol unix.IPPROTO_TCP)
// or unconnected UDP socket (unix.IPPROTO_UDP) of a family that is bound to the
// port. The time it takes grows with the number of such sockets of all ports.
func (c *Conn) OnPort(family, protocol uint8, port uint16, each func(Socket)) error {
	var msg [HeaderLen + sockDiagReqLen]byte
	req := msg[HeaderLen:]
	req[0], req[1] = family, protocol
	states := uint32(1 << StateListen)
	if protocol == unix.IPPROTO_UDP {
		states = 1 << stateClose
	}
	binary.NativeEndian.PutUint32(req[4:], states)
	binary.BigEndian.PutUint16(req[8:], port)
	binary.NativeEndian.PutUint64(req[48:], ^uint64(0)) // INET_DIAG_NOCOOKIE
	return c.Dump(unix.SOCK_DIAG_BY_FAMILY, msg[:], func(body []byte) {
		if len(body) < sockDiagMsgLen {
			return
		}
		if s := parseSocket(body); s.Local.Port() == port { // whatever a kernel makes of the port in the request
			each(s)
		}
	})
}

// parseSocket reads a struct inet_diag_msg and the attributes behind it.
func parseSocket(body []byte) Socket {
	addr := func(b []byte) netip.Addr {
		if body[0] == unix.AF_INET {
			return netip.AddrFrom4([4]byte(b))
		}
		return netip.AddrFrom16([16]byte(b)).Unmap()
	}
	only6 := rawAttr(body[sockDiagMsgLen:], attrOnly6)
	return Socket{
		State:  body[1],
		Local:  netip.AddrPortFrom(addr(body[8:]), binary.BigEndian.Uint16(body[4:])),
		Remote: netip.AddrPortFrom(addr(body[24:]), binary.BigEndian.Uint16(body[6:])),
		Device: binary.NativeEndian.Uint32(body[40:]),
		Queued: binary.NativeEndian.Uint32(body[56:]),
		Room:   binary.NativeEndian.Uint32(body[60:]),
		UID:    binary.NativeEndian.Uint32(body[64:]),
		Inode:  binary.NativeEndian.Uint32(body[68:]),
		Only6:  len(only6) > 0 && only6[0] != 0,
	}
}
