package netif

import "net/netip"

// IsLocal reports whether what this machine sends to addr, which is unmapped,
// is delivered to this machine. Nothing is sent, and nothing is remembered
// between calls. An address that cannot be reached at all is not local.
//
// Linux is asked for the route, so that addresses of a local route count which
// no interface has (AnyIP). On other systems addr is looked for among the
// addresses of the interfaces. The error is for a kernel that cannot be asked.
func IsLocal(addr netip.Addr) (bool, error) {
	s, err := OpenSelf()
	if err != nil {
		return false, err
	}
	defer s.Close()
	return s.IsLocal(addr)
}

// IsLocalTo is [IsLocal] of a port of an address for TCP (protocol 6) or UDP
// (17). On Linux, an address is also local if routing delivers it to this
// machine for that protocol or port alone.
func IsLocalTo(to netip.AddrPort, protocol uint8) (bool, error) {
	s, err := OpenSelf()
	if err != nil {
		return false, err
	}
	defer s.Close()
	if local, err := s.isLocal(to.Addr()); local || err != nil {
		return local, err
	}
	return s.isLocalTo(to, protocol)
}

// A Self answers [IsLocal] for one network namespace until it is closed. On
// Linux it holds a descriptor. Its methods may be called by several goroutines
// at the same time.
type Self struct{ self }

// OpenSelf returns a Self of the network namespace of the calling thread. The
// error is for a kernel that cannot be asked.
func OpenSelf() (*Self, error) {
	s, err := openSelf()
	return &Self{s}, err
}

// IsLocal is the function [IsLocal]. After Close the error is [net.ErrClosed]
// on Linux.
func (s *Self) IsLocal(addr netip.Addr) (bool, error) { return s.isLocal(addr) }

// Close releases the descriptor. On a nil Self it does nothing.
func (s *Self) Close() error {
	if s == nil {
		return nil
	}
	return s.close()
}
