package sockctl

import (
	"io"
	"net/netip"
)

// Hold binds a TCP socket to an IPv4 address and port and keeps it, without
// listening, until it is closed. No other TCP socket can be bound to the two
// meanwhile, in this process or another. A process that ends closes it, and its
// children do not inherit it.
func Hold(ap netip.AddrPort) (io.Closer, error) { return hold(ap) }
