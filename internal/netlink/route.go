//go:build linux

package netlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// Delivered reports whether an IPv4 packet of TCP or of UDP from src to dst that
// arrived on the interface with the index iif would be delivered to this
// machine. The routing tables and rules, rp_filter, accept_local and
// route_localnet are taken into account. A packet filter, which may rewrite the
// packet before or drop it after, is not. c is a Conn of NETLINK_ROUTE. No
// packet is sent.
//
// IPv6 has no such question: RFC 4291, section 2.5.3, forbids ::1 on a link,
// and Linux drops it there without asking the routing tables.
func (c *Conn) Delivered(dst, src netip.Addr, iif int) (bool, error) {
	for _, protocol := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		if ok, err := c.delivered(dst, src, iif, protocol); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

func (c *Conn) delivered(dst, src netip.Addr, iif int, protocol byte) (bool, error) {
	fail := func(err error) (bool, error) {
		return false, fmt.Errorf("route of %v from %v on interface %d: %w", dst, src, iif, err)
	}
	if !dst.Is4() || !src.Is4() {
		return fail(errors.New("not IPv4"))
	}
	msg := make([]byte, HeaderLen+unix.SizeofRtMsg, HeaderLen+unix.SizeofRtMsg+4*attrLen)
	msg[HeaderLen+0] = unix.AF_INET
	msg[HeaderLen+1] = 32 // prefix length of dst
	msg[HeaderLen+2] = 32 // prefix length of src
	to, from := dst.As4(), src.As4()
	msg = appendAttr(msg, unix.RTA_DST, to)
	msg = appendAttr(msg, unix.RTA_SRC, from)
	msg = appendAttr(msg, unix.RTA_IIF, word(iif))
	msg = appendProtocol(msg, protocol)

	typ, body, err := c.Call(unix.RTM_GETROUTE, msg, make([]byte, 1024))
	switch err {
	case nil:
	case unix.EINVAL, // a martian, or refused by rp_filter; in recent kernels any refusal
		unix.EXDEV,                                       // refused by rp_filter in older ones
		unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EACCES: // unreachable, prohibit and blackhole routes
		return false, nil
	default:
		return fail(err)
	}
	if typ != unix.RTM_NEWROUTE || len(body) < unix.SizeofRtMsg {
		return fail(errMalformed)
	}
	// A kernel that is not Linux may ignore what it does not know, and answer
	// as if the packet were its own.
	if got, ok := attr(body[unix.SizeofRtMsg:], unix.RTA_IIF); !ok || got != word(iif) {
		return fail(errors.New("the kernel did not consider the interface"))
	}
	return body[7] == unix.RTN_LOCAL, nil // rtm_type
}

// Local reports whether a packet that this machine sends to dst is delivered to
// this machine, because dst is an address of its own or a route of type local
// or anycast covers it. A dst that routing refuses, or drops, is not. Rules for
// TCP or UDP alone do not count: they may send out what comes back. oif is the
// interface that the packet has to leave by, 0 for any. c is a Conn of
// NETLINK_ROUTE. No packet is sent.
func (c *Conn) Local(dst netip.Addr, oif int) (bool, error) {
	protocol := unix.IPPROTO_ICMP // or the kernel takes it for UDP
	if dst.Is6() {
		protocol = unix.IPPROTO_ICMPV6
	}
	return c.local(dst, oif, routeTo(dst, protocol))
}

// LocalTo is Local for a packet of the IP protocol unix.IPPROTO_TCP or
// unix.IPPROTO_UDP to a port. Rules for that protocol or port alone count.
func (c *Conn) LocalTo(dst netip.AddrPort, oif int, protocol uint8) (bool, error) {
	msg := routeTo(dst.Addr(), int(protocol))
	msg = binary.NativeEndian.AppendUint16(msg, unix.SizeofRtAttr+2)
	msg = binary.NativeEndian.AppendUint16(msg, unix.RTA_DPORT)
	msg = binary.BigEndian.AppendUint16(msg, dst.Port())
	return c.local(dst.Addr(), oif, append(msg, 0, 0)) // padding
}

// local sends the question msg for the route to dst.
func (c *Conn) local(dst netip.Addr, oif int, msg []byte) (bool, error) {
	if oif != 0 {
		msg = appendAttr(msg, unix.RTA_OIF, word(oif))
	}
	body, err := c.route(dst, msg)
	if body == nil {
		return false, err
	}
	return body[7] == unix.RTN_LOCAL || body[7] == unix.RTN_ANYCAST, nil // rtm_type
}

// OutgoingInterface returns the index of the interface by which a packet of
// the IP protocol unix.IPPROTO_TCP or unix.IPPROTO_UDP that this machine sends
// to dst leaves, or 0 if routing refuses it. c is a Conn of NETLINK_ROUTE. No
// packet is sent.
func (c *Conn) OutgoingInterface(dst netip.Addr, protocol int) (int, error) {
	body, err := c.route(dst, routeTo(dst, protocol))
	if body == nil {
		return 0, err
	}
	index, _ := attr(body[unix.SizeofRtMsg:], unix.RTA_OIF)
	return int(binary.NativeEndian.Uint32(index[:])), nil
}

// routeTo returns the question for the route to dst, with room for an attribute.
func routeTo(dst netip.Addr, protocol int) []byte {
	family, bits := unix.AF_INET, 32
	if dst.Is6() {
		family, bits = unix.AF_INET6, 128
	}
	msg := make([]byte, HeaderLen+unix.SizeofRtMsg, HeaderLen+unix.SizeofRtMsg+unix.SizeofRtAttr+16+2*attrLen)
	msg[HeaderLen+0] = byte(family)
	msg[HeaderLen+1] = byte(bits)
	to := dst.AsSlice()
	msg = binary.NativeEndian.AppendUint16(msg, uint16(unix.SizeofRtAttr+len(to)))
	msg = binary.NativeEndian.AppendUint16(msg, unix.RTA_DST)
	msg = append(msg, to...)
	return appendProtocol(msg, byte(protocol))
}

// route asks for the route to dst. The answer, a struct rtmsg with attributes,
// is nil if there is an error, no route, or one that refuses or drops.
func (c *Conn) route(dst netip.Addr, msg []byte) ([]byte, error) {
	typ, body, err := c.Call(unix.RTM_GETROUTE, msg, make([]byte, 1024))
	switch err {
	case nil:
	case unix.EINVAL, unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EACCES, unix.ENODEV:
		return nil, nil
	default:
		return nil, fmt.Errorf("route to %v: %w", dst, err)
	}
	if typ != unix.RTM_NEWROUTE || len(body) < unix.SizeofRtMsg {
		return nil, fmt.Errorf("route to %v: %w", dst, errMalformed)
	}
	return body, nil
}

// attrLen is the length of a struct rtattr with a value of four bytes.
const attrLen = unix.SizeofRtAttr + 4

func word(v int) (b [4]byte) {
	binary.NativeEndian.PutUint32(b[:], uint32(v))
	return b
}

func appendAttr(b []byte, typ uint16, value [4]byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, attrLen)
	b = binary.NativeEndian.AppendUint16(b, typ)
	return append(b, value[:]...)
}

// appendProtocol appends the IP protocol that a route is for: an attribute of one
// byte, and padding.
func appendProtocol(b []byte, protocol byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, unix.SizeofRtAttr+1)
	b = binary.NativeEndian.AppendUint16(b, unix.RTA_IP_PROTO)
	return append(b, protocol, 0, 0, 0)
}

// attr returns the value, of four bytes, of the first attribute of a type.
func attr(b []byte, typ uint16) (value [4]byte, ok bool) {
	if v := rawAttr(b, typ); len(v) == len(value) {
		return [4]byte(v), true
	}
	return value, false
}

// rawAttr returns the value of the first attribute of a type, or nil.
func rawAttr(b []byte, typ uint16) []byte {
	for len(b) >= unix.SizeofRtAttr {
		size := int(binary.NativeEndian.Uint16(b))
		if size < unix.SizeofRtAttr || size > len(b) {
			break
		}
		if binary.NativeEndian.Uint16(b[2:]) == typ {
			return b[unix.SizeofRtAttr:size]
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return nil
}

// PortOf returns what kind of device the interface with an index is a port of,
// such as "bridge", "bond" or "vrf"; "" if of none.
func (c *Conn) PortOf(index int) (kind string, err error) {
	msg := make([]byte, HeaderLen+unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(msg[HeaderLen+4:], uint32(index))
	typ, body, err := c.Call(unix.RTM_GETLINK, msg, make([]byte, 32<<10))
	if err == nil && (typ != unix.RTM_NEWLINK || len(body) < unix.SizeofIfInfomsg) {
		err = errMalformed
	}
	if err != nil {
		return "", fmt.Errorf("interface %d: %w", index, err)
	}
	v := rawAttr(rawAttr(body[unix.SizeofIfInfomsg:], unix.IFLA_LINKINFO), unix.IFLA_INFO_SLAVE_KIND)
	return strings.TrimRight(string(v), "\x00"), nil
}
