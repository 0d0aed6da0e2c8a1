package netif_test

import (
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback/internal/netif"
	"example.com/loopback/internal/netnstest"
)

func TestIsLocalAsksTheRoutes(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	run := func(args ...string) { t.Helper(); netnstest.Run(t, "ip", args...) }
	run("link", "set", "lo", "up")
	n := netnstest.NewNeighbour(t)
	n.Veth(t, "eth0", "192.0.2.10/24", "theirs", "192.0.2.1/24")
	run("addr", "add", "2001:db8::10/64", "dev", "eth0", "nodad")
	run("addr", "add", "fe80::10/64", "dev", "eth0", "nodad")
	run("addr", "add", "203.0.113.5/32", "dev", "lo")
	run("route", "add", "default", "via", "192.0.2.1")
	run("-6", "route", "add", "default", "via", "2001:db8::1", "dev", "eth0")
	run("route", "add", "local", "198.51.100.0/24", "dev", "lo", "src", "192.0.2.10") // AnyIP
	run("-6", "route", "add", "local", "2001:db8:1::/48", "dev", "lo")
	run("route", "add", "blackhole", "10.1.0.0/16")
	run("route", "add", "unreachable", "10.2.0.0/16")
	run("route", "add", "prohibit", "10.3.0.0/16")
	run("-6", "route", "add", "local", "fe80::99/128", "dev", "eth0", "table", "100") // by eth0 alone
	run("-6", "rule", "add", "oif", "eth0", "lookup", "100")
	run("-6", "route", "add", "blackhole", "2001:db8:2::/48")
	run("-6", "route", "add", "unreachable", "2001:db8:3::/48")
	for _, addr := range []string{"2001:db8::10", "fe80::10%eth0"} { // their routes come a moment later
		require.Eventually(t, func() bool {
			local, err := netif.IsLocal(netip.MustParseAddr(addr))
			return err == nil && local
		}, 10*time.Second, time.Millisecond, addr)
	}
	eth0, err := net.InterfaceByName("eth0")
	require.NoError(t, err)
	for addr, want := range map[string]bool{
		"127.0.0.1": true, "127.9.9.9": true, "::1": true,
		"192.0.2.10": true, "192.0.2.1": false, "192.0.2.255": false, "203.0.113.5": true, "203.0.113.6": false,
		"2001:db8::10": true, "2001:db8::1": false, "2001:db8::10%eth0": true,
		"fe80::10%eth0": true, "fe80::10%lo": true, "fe80::10": true, "fe80::11%eth0": false, "fe80::10%none": true, "fe80::11%none": false,
		"fe80::99%eth0": true, "fe80::99%" + strconv.Itoa(eth0.Index): true, "fe80::99%lo": false, "fe80::99%none": false, "fe80::99": false,
		"198.51.100.7": true, "2001:db8:1::7": true,
		"10.1.0.1": false, "10.2.0.1": false, "10.3.0.1": false, "2001:db8:2::1": false, "2001:db8:3::1": false,
		"224.0.0.1": false, "ff02::1%eth0": false, "ff02::1": false, "255.255.255.255": false, "240.0.0.1": false, "203.0.113.77": false,
	} {
		got, err := netif.IsLocal(netip.MustParseAddr(addr))
		require.NoError(t, err, addr)
		assert.Equal(t, want, got, addr)
	}

	netnstest.Sysctl(t, "net/ipv6/conf/eth0/forwarding", "1") // a router answers for the anycast address of its network
	got, err := netif.IsLocal(netip.MustParseAddr("2001:db8::"))
	require.NoError(t, err)
	assert.True(t, got, "subnet-router anycast")
	run("link", "set", "eth0", "down")
	got, err = netif.IsLocal(netip.MustParseAddr("192.0.2.10"))
	require.NoError(t, err)
	t.Logf("own address of an interface that is down: %v", got)
}
