package netif_test

import (
	"net/netip"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback/internal/netif"
	"example.com/loopback/internal/netnstest"
)

// A rule for UDP alone sends what is for 127.0.0.1 out, as WSL 2 has it for TCP
// and UDP. The address is this machine's own all the same.
func TestOutgoingInterfaceFollowsRulesForATransport(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	run := func(args ...string) { t.Helper(); netnstest.Run(t, "ip", args...) }
	run("link", "set", "lo", "up")
	netnstest.NewNeighbour(t).Veth(t, "eth0", "10.0.0.1/24", "theirs", "10.0.0.2/24")
	outgoing := func(addr string, transport netif.Transport) string {
		name, err := netif.OutgoingInterface(netip.MustParseAddr(addr), transport)
		require.NoError(t, err)
		return name
	}
	descriptors := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(entries)
	}
	before := descriptors()
	assert.Equal(t, "lo", outgoing("127.0.0.1", netif.UDP))
	assert.Equal(t, before, descriptors())
	assert.Equal(t, "lo", outgoing("::1", netif.TCP))
	assert.Equal(t, "lo", outgoing("10.0.0.1", netif.TCP))
	assert.Equal(t, "eth0", outgoing("10.0.0.2", netif.TCP))
	assert.Empty(t, outgoing("192.0.2.1", netif.TCP), "no route")

	for _, family := range []string{"-4", "-6"} {
		run(family, "rule", "add", "pref", "10", "ipproto", "udp", "lookup", "99")
		run(family, "rule", "add", "pref", "100", "lookup", "local")
		run(family, "rule", "del", "pref", "0")
	}
	run("route", "add", "127.0.0.1", "via", "10.0.0.2", "dev", "eth0", "table", "99")
	run("-6", "route", "add", "::1", "dev", "eth0", "table", "99")
	for _, addr := range []string{"127.0.0.1", "::1"} {
		assert.Equal(t, "eth0", outgoing(addr, netif.UDP), addr)
		assert.Equal(t, "lo", outgoing(addr, netif.TCP), addr)
		local, err := netif.IsLocal(netip.MustParseAddr(addr))
		require.NoError(t, err)
		assert.True(t, local, addr)
	}
	assert.Equal(t, "lo", outgoing("127.0.0.2", netif.UDP))
}

func TestNonlocalBindNamesTheParameter(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	for _, addr := range addrs("127.0.0.1", "::1") {
		assert.Empty(t, netif.NonlocalBind(addr))
	}
	netnstest.Sysctl(t, "net/ipv6/ip_nonlocal_bind", "1")
	assert.Empty(t, netif.NonlocalBind(netip.MustParseAddr("127.0.0.1")))
	assert.Equal(t, "net.ipv6.ip_nonlocal_bind", netif.NonlocalBind(netip.IPv6Loopback()))
	netnstest.Sysctl(t, "net/ipv4/ip_nonlocal_bind", "1")
	assert.Equal(t, "net.ipv4.ip_nonlocal_bind", netif.NonlocalBind(netip.MustParseAddr("127.0.0.1")))
}

// IPv6 comes back with its MTU, also where new interfaces get none.
func TestIPv6OffMendsASmallMTUWhereIPv6IsOffByDefault(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	netnstest.Sysctl(t, "net/ipv6/conf/all/disable_ipv6", "1")
	netnstest.Run(t, "ip", "link", "set", "lo", "mtu", "1000")
	all, err := netif.All()
	require.NoError(t, err)
	_, fix := netif.IPv6Off(all[0].Interface)
	netnstest.Run(t, "sh", "-c", fix)
	assert.Contains(t, netnstest.Run(t, "ip", "addr", "show", "lo"), "::1/128")
}
