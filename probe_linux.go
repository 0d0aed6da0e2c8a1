package loopback

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"example.com/loopback/internal/netlink"
)

// listenerUID returns the user of the socket that listens on addr, if it can
// be told. A user without a name in this user namespace is some user: it is
// returned, but not named.
func listenerUID(addr netip.AddrPort) (uid uint32, ok, named bool) {
	c, err := netlink.Open(unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return 0, false, false
	}
	defer c.Close()
	s, err := c.TCP(addr, netip.AddrPort{})
	if err != nil || s.State != netlink.StateListen || s.Local.Port() != addr.Port() || s.Inode == 0 {
		return 0, false, false
	}
	return s.UID, true, hasName(s.UID)
}

// hasName reports whether uid is a user of this user namespace: the kernel
// says 65534 for all that are not, user_namespaces(7).
func hasName(uid uint32) bool {
	const overflow = 65534
	if uid != overflow {
		return true
	}
	f, err := os.Open("/proc/self/uid_map")
	if err != nil {
		return false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var inside, outside, count uint64
		if _, err := fmt.Sscan(lines.Text(), &inside, &outside, &count); err == nil && inside <= overflow && overflow < inside+count {
			return true
		}
	}
	return false
}
