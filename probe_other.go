//go:build !linux

package loopback

import "net/netip"

// listenerUID is not supported: the users of sockets are known on Linux only.
func listenerUID(netip.AddrPort) (uid uint32, ok, named bool) { return 0, false, false }
