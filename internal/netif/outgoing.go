package netif

import "net/netip"

// Transport is a protocol that routing may treat on its own.
type Transport uint8

const (
	TCP Transport = iota
	UDP
)

// OutgoingInterface returns the name of the interface by which what this
// machine sends to addr, which is unmapped, leaves; "" if routing refuses it.
// What this machine sends to itself leaves by the loopback interface, unless
// policy routing has it otherwise. Nothing is sent. Linux alone can be asked:
// elsewhere the error is [errors.ErrUnsupported].
func OutgoingInterface(addr netip.Addr, t Transport) (string, error) {
	return outgoingInterface(addr, t)
}
