package netif_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/loopback/internal/netif"
	"example.com/loopback/internal/netnstest"
)

// line returns a line of /proc/net/route, which has addresses as numbers of
// this machine.
func line(iface string, network netip.Prefix) string {
	number := func(b []byte) string { return fmt.Sprintf("%08X", binary.NativeEndian.Uint32(b)) }
	dst := network.Addr().As4()
	return strings.Join([]string{iface, number(dst[:]), "00000000", "0001", "0", "0", "0",
		number(net.CIDRMask(network.Bits(), 32)), "0", "0", "0"}, "\t") + "\n"
}

const heading = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"

func TestParseRoutes(t *testing.T) {
	want := map[string][]netip.Prefix{
		"eth0":   prefixes("0.0.0.0/0", "10.0.0.0/24", "10.9.0.0/16"),
		"eth0.5": prefixes("192.0.2.1/32"),
	}
	var table strings.Builder
	table.WriteString(heading + "\n" + "garbage\n" + "eth1\tZZ\t0\t0\t0\t0\t0\t00000000\n" + "eth1\t00000000\t0\t0\t0\t0\t0\tmask\n")
	for _, iface := range []string{"eth0", "eth0.5"} {
		for _, p := range want[iface] {
			table.WriteString(line(iface, p))
		}
	}
	assert.Equal(t, want, netif.ParseRoutes(strings.NewReader(table.String())))
	assert.Empty(t, netif.ParseRoutes(strings.NewReader("")))
}

func TestParseRoutesReadsTheBeginningOfALongTable(t *testing.T) {
	table := heading + strings.Repeat(line("eth0", netip.MustParsePrefix("10.0.0.0/24")), 5000)
	assert.Len(t, netif.ParseRoutes(strings.NewReader(table))["eth0"], 999)
}

func FuzzParseRoutes(f *testing.F) {
	f.Add(heading + line("eth0", netip.MustParsePrefix("10.0.0.0/24")))
	f.Add("eth0 0 0 0 0 0 0 FF00FF00")
	f.Fuzz(func(t *testing.T, table string) {
		for iface, networks := range netif.ParseRoutes(strings.NewReader(table)) {
			assert.NotEmpty(t, iface)
			for _, p := range networks {
				assert.True(t, p.IsValid(), "%v", p)
			}
			netif.Sources(networks, nil)
		}
	})
}

// Asked for all at once, the addresses are those that package net has of each.
func TestAllHasTheAddressesOfPackageNet(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	run := func(args ...string) { t.Helper(); netnstest.Run(t, "ip", args...) }
	run("link", "set", "lo", "up")
	netnstest.Sysctl(t, "net/ipv6/conf/default/addr_gen_mode", "1") // no address that comes by itself
	netnstest.NewNeighbour(t).Veth(t, "eth0", "10.0.0.1/24", "theirs", "10.0.0.2/24")
	run("addr", "add", "10.0.0.9/24", "dev", "eth0")
	run("addr", "add", "10.7.0.1", "peer", "10.7.0.2/32", "dev", "eth0")
	run("addr", "add", "2001:db8::1/64", "dev", "eth0", "nodad")
	run("addr", "add", "2001:db8:1::1", "peer", "2001:db8:1::2/128", "dev", "lo")
	all, err := netif.All()
	require.NoError(t, err)
	list, err := net.Interfaces()
	require.NoError(t, err)
	require.Len(t, all, len(list))
	for n, i := range list {
		addrs, err := i.Addrs()
		require.NoError(t, err)
		var want []netip.Prefix
		for _, a := range addrs {
			want = append(want, netip.MustParsePrefix(a.String()))
		}
		assert.Equal(t, i, all[n].Interface)
		assert.Equal(t, want, all[n].Addrs, i.Name)
		assert.Equal(t, i.Name == "lo", all[n].IsLoopback())
		assert.True(t, all[n].IsUp())
	}
	assert.Contains(t, fmt.Sprint(all), "10.7.0.1/32")
}

// With strict rp_filter only what is routed through the interface gets in: each
// of its networks is asked about, also the last.
func TestExposuresAskAboutEachNetwork(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	run := func(args ...string) { t.Helper(); netnstest.Run(t, "ip", args...) }
	run("link", "set", "lo", "up")
	n := netnstest.NewNeighbour(t)
	n.Veth(t, "eth0", "10.0.0.254/32", "theirs", "10.0.0.1/24")
	n.Veth(t, "eth1", "10.8.0.1/24", "theirs1", "10.8.0.2/24")
	for _, network := range []string{"10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16"} {
		run("route", "add", network, "dev", "eth0")
	}
	run("addr", "add", "10.0.0.254/24", "dev", "eth0", "noprefixroute")
	run("route", "add", "10.0.0.0/24", "dev", "eth0")
	netnstest.Sysctl(t, "net/ipv4/conf/eth0/route_localnet", "1")
	netnstest.Sysctl(t, "net/ipv4/conf/eth0/rp_filter", "1")
	exposure := func(name string) netif.Exposure {
		all, err := netif.All()
		require.NoError(t, err)
		list, err := netif.Exposures(netip.MustParseAddr("127.0.0.1"), all)
		require.NoError(t, err)
		for _, e := range list {
			if e.Interface.Name == name {
				return e
			}
		}
		t.Fatalf("no exposure of %s", name)
		return netif.Exposure{}
	}
	e := exposure("eth0")
	assert.True(t, e.Asked)
	assert.ElementsMatch(t, addrs("10.0.0.1", "10.1.0.1", "10.2.0.1", "10.3.0.1"), e.From)
	assert.Equal(t, []string{"net.ipv4.conf.eth0.route_localnet"}, e.RouteLocalnet)
	assert.Equal(t, []netip.Addr{}, exposure("eth1").From)
	assert.Empty(t, exposure("eth1").RouteLocalnet)

	netnstest.Sysctl(t, "net/ipv4/conf/all/route_localnet", "1")
	run("link", "set", "eth0", "down")
	e = exposure("eth0")
	assert.False(t, e.Asked)
	assert.Equal(t, []string{"net.ipv4.conf.all.route_localnet", "net.ipv4.conf.eth0.route_localnet"}, e.RouteLocalnet)
	assert.Equal(t, []string{"net.ipv4.conf.all.route_localnet"}, exposure("eth1").RouteLocalnet)
}

// A rule against UDP alone does not keep TCP out.
func TestExposuresAreThoseOfAnyTransport(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	run := func(args ...string) { t.Helper(); netnstest.Run(t, "ip", args...) }
	run("link", "set", "lo", "up")
	netnstest.NewNeighbour(t).Veth(t, "eth0", "10.0.0.1/24", "theirs", "10.0.0.2/24")
	netnstest.Sysctl(t, "net/ipv4/conf/eth0/route_localnet", "1")
	run("rule", "add", "pref", "100", "lookup", "local")
	run("rule", "del", "pref", "0")
	for _, tt := range []struct {
		protocols []string
		want      bool
	}{{nil, true}, {[]string{"17"}, true}, {[]string{"6"}, true}, {[]string{"6", "17"}, false}} {
		for _, protocol := range tt.protocols {
			run("rule", "add", "pref", "10", "iif", "eth0", "ipproto", protocol, "unreachable")
		}
		all, err := netif.All()
		require.NoError(t, err)
		list, err := netif.Exposures(netip.MustParseAddr("127.0.0.1"), all)
		require.NoError(t, err)
		require.Len(t, list, 1)
		assert.Equal(t, tt.want, len(list[0].From) > 0, "without the protocols %v", tt.protocols)
		for range tt.protocols {
			run("rule", "del", "pref", "10")
		}
	}
}

func TestIPv6OffIsNotKnownWithoutParameters(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	lo := net.Interface{Name: "lo", MTU: 1000}
	cause, fix := netif.IPv6Off(lo)
	assert.Contains(t, cause, "1280")
	assert.Equal(t, "ip link set dev lo mtu 65536 && ip addr replace ::1/128 dev lo", fix)
	for _, iface := range []string{"default", "lo"} { // either would have no IPv6 after it
		netnstest.Sysctl(t, "net/ipv6/conf/"+iface+"/disable_ipv6", "1")
		_, fix = netif.IPv6Off(lo)
		assert.Equal(t, "ip link set dev lo mtu 65536 && sysctl -w net.ipv6.conf.lo.disable_ipv6=0 && ip addr replace ::1/128 dev lo", fix)
		netnstest.Sysctl(t, "net/ipv6/conf/"+iface+"/disable_ipv6", "0")
	}

	netnstest.Sysctl(t, "net/ipv4/conf/lo/route_localnet", "1")
	assert.NotEmpty(t, netif.NonZero("ipv4", "lo", "route_localnet"))
	require.NoError(t, unix.Mount("hidden", "/proc/sys/net", "tmpfs", 0, ""))
	cause, fix = netif.IPv6Off(lo)
	assert.Empty(t, cause)
	assert.Empty(t, fix)
	assert.Empty(t, netif.NonZero("ipv4", "lo", "route_localnet"))

	require.NoError(t, os.Mkdir("/proc/sys/net/ipv4", 0o755)) // as of a kernel without IPv6
	cause, fix = netif.IPv6Off(lo)
	assert.Equal(t, "the kernel has no IPv6", cause)
	assert.NotEmpty(t, fix)
}
