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

// A Socket is what the kernel tells about a TCP socket.
type Socket struct {
	State         uint8 // 1 is established, [StateListen] is listening
	Local, Remote netip.AddrPort
	UID           uint32 // in the user namespace of the asking process; the overflow uid, mostly 65534, if it has no name there
	Inode         uint32 // 0 for a socket without a process, such as one in TIME_WAIT; its UID is worth nothing
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
	addr := func(b []byte) netip.Addr {
		if body[0] == unix.AF_INET {
			return netip.AddrFrom4([4]byte(b))
		}
		return netip.AddrFrom16([16]byte(b)).Unmap()
	}
	return Socket{
		State:  body[1],
		Local:  netip.AddrPortFrom(addr(body[8:]), binary.BigEndian.Uint16(body[4:])),
		Remote: netip.AddrPortFrom(addr(body[24:]), binary.BigEndian.Uint16(body[6:])),
		UID:    binary.NativeEndian.Uint32(body[64:]),
		Inode:  binary.NativeEndian.Uint32(body[68:]),
	}, nil
}
