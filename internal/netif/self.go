package netif

import "net/netip"

// IsLocal reports whether what this machine sends to addr, which is unmapped,
// is delivered to this machine. Nothing is sent, and nothing is remembered
// between calls. An address that cannot be reached at all is not local.
//
// Linux is asked for the route, so that addresses of a local route count which
// no interface has (AnyIP). On other systems addr is looked for among the
// addresses of the interfaces. The error is for a kernel that cannot be asked.
func IsLocal(addr netip.Addr) (bool, error) { return isLocal(addr) }
