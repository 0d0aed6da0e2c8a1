package loopback_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/loopback"
	"example.com/loopback/internal/netnstest"
)

// wantFindings checks the findings in short: "LO-DOWN error".
func wantFindings(t *testing.T, r *loopback.Report, want ...string) {
	t.Helper()
	got := []string{}
	for _, f := range r.Findings {
		got = append(got, string(f.Verdict)+" "+f.Level.String())
	}
	if want == nil {
		want = []string{}
	}
	assert.Equal(t, want, got, "%v", r)
}

func TestDiagnoseHealthy(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	healthyMachine(t)
	netnstest.NewNeighbour(t).Veth(t, "wire", "10.0.0.1/24", "theirs", "10.0.0.2/24")
	netnstest.Run(t, "ip", "link", "add", "asleep", "type", "veth", "peer", "name", "asleep2")
	r := diagnose(t)
	wantFindings(t, r)
	assert.Equal(t, loopback.VerdictOK, r.Verdict)
	assert.Empty(t, r.Absent)
	assert.Empty(t, r.Misplaced)
	assert.Equal(t, []loopback.InterfaceReport{{Name: "lo", Index: 1, Up: true, MTU: 65536, Addrs: []loopback.PlacedAddr{
		{Interface: "lo", Addr: netip.MustParsePrefix("127.0.0.1/8"), Kind: loopback.KindIPv4},
		{Interface: "lo", Addr: netip.MustParsePrefix("::1/128"), Kind: loopback.KindIPv6},
	}}}, r.Interfaces)
	for _, f := range []loopback.FamilyReport{r.IPv4, r.IPv6} {
		assert.True(t, f.Bind.OK() && f.TCP.OK() && f.UDP.OK(), "%v", f)
	}
	for _, s := range r.Range {
		assert.True(t, s.Bind.OK() && s.Connect.OK(), "%v", s)
	}
	require.Len(t, r.Wire, 3)
	for _, w := range r.Wire {
		assert.Empty(t, w.RouteLocalnet)
		assert.Equal(t, w.Interface == "wire", w.Up)
		if w.Up {
			require.NotNil(t, w.Exposed)
			assert.False(t, *w.Exposed)
		} else {
			assert.Nil(t, w.Exposed)
		}
	}
	require.NotNil(t, r.Localhost)
	assert.Equal(t, loopback.VerdictOK, r.Localhost.Verdict)
}

func TestDiagnoseLoDown(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	healthyMachine(t)
	netnstest.Run(t, "ip", "link", "set", "lo", "down") // after up: nothing answers, ever
	r := diagnose(t)
	wantFindings(t, r, "LO-DOWN error")
	assert.Equal(t, loopback.VerdictLoDown, r.Verdict)
	assert.Contains(t, r.Findings[0].Evidence, "lo")
	assert.True(t, r.IPv4.Bind.OK())
	assert.Error(t, r.IPv4.TCP.Err)
	assert.Error(t, r.IPv4.UDP.Err)
	runFix(t, r.Findings[0])
	wantFindings(t, diagnose(t))
}

func TestDiagnoseLoNeverUp(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	r := diagnose(t)
	require.NotEmpty(t, r.Findings)
	assert.Equal(t, "LO-DOWN error", string(r.Findings[0].Verdict)+" "+r.Findings[0].Level.String())
}

func TestDiagnoseLoRenamed(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	healthyMachine(t)
	netnstest.Run(t, "ip", "link", "set", "lo", "down")
	netnstest.Run(t, "ip", "link", "set", "lo", "name", "loop7")
	netnstest.Run(t, "ip", "link", "set", "loop7", "up")
	r := diagnose(t)
	wantFindings(t, r, "LO-RENAMED info")
	assert.Equal(t, loopback.VerdictOK, r.Verdict)
	assert.Contains(t, r.Findings[0].Evidence, "loop7")
	assert.Equal(t, "loop7", r.Interfaces[0].Name)

	netnstest.Run(t, "ip", "addr", "add", "203.0.113.5/32", "dev", "loop7")
	r = diagnose(t)
	wantFindings(t, r, "FOREIGN-ON-LO info", "LO-RENAMED info")
	runFix(t, r.Findings[0])
	runFix(t, r.Findings[1])
	wantFindings(t, diagnose(t))
}

func TestDiagnoseNo127(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	healthyMachine(t)
	netnstest.Run(t, "ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
	r := diagnose(t)
	wantFindings(t, r, "NO-IPV4 warn")
	assert.ErrorIs(t, r.IPv4.Bind.Err, unix.EADDRNOTAVAIL)
	assert.False(t, r.IPv4.TCP.Tried)
	runFix(t, r.Findings[0])
	wantFindings(t, diagnose(t))
}

func TestDiagnoseOnly127001(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	healthyMachine(t)
	netnstest.Run(t, "ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
	netnstest.Run(t, "ip", "addr", "add", "127.0.0.1/32", "dev", "lo")
	r := diagnose(t)
	wantFindings(t, r, "PARTIAL-127/8 warn")
	assert.Contains(t, r.Findings[0].Message, "only 127.0.0.1")
	assert.Contains(t, r.Findings[0].Evidence, "127.0.0.2")
	assert.True(t, r.Range[0].Connect.OK())
	assert.ErrorIs(t, r.Range[1].Bind.Err, unix.EADDRNOTAVAIL)
	runFix(t, r.Findings[0])
	wantFindings(t, diagnose(t))
}

func TestDiagnosePart127(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	healthyMachine(t)
	netnstest.Run(t, "ip", "addr", "add", "127.0.0.1/16", "dev", "lo")
	netnstest.Run(t, "ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
	r := diagnose(t)
	wantFindings(t, r, "PARTIAL-127/8 warn")
	assert.Contains(t, r.Findings[0].Message, "part of")
	assert.NotContains(t, r.Findings[0].Evidence, "127.0.0.2")
	assert.Contains(t, r.Findings[0].Evidence, "127.1.2.3")
}

func TestDiagnoseIPv6Off(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	healthyMachine(t)
	netnstest.Sysctl(t, "net/ipv6/conf/all/disable_ipv6", "1")
	r := diagnose(t)
	wantFindings(t, r, "NO-IPV6 warn") // as long as the hosts file has ::1
	assert.Equal(t, "net.ipv6.conf.lo.disable_ipv6=1", r.IPv6.Cause)
	assert.Contains(t, r.Findings[0].Evidence, r.IPv6.Cause)
	assert.Contains(t, r.Findings[0].Evidence, "hosts:2")
	assert.ErrorIs(t, r.IPv6.Bind.Err, unix.EADDRNOTAVAIL)
	runFix(t, r.Findings[0])
	wantFindings(t, diagnose(t))
}

func TestDiagnoseIPv6OffAndUnclaimed(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	healthyMachine(t)
	writeEtc(t, "hosts", "127.0.0.1 localhost\n")
	netnstest.Sysctl(t, "net/ipv6/conf/all/disable_ipv6", "1")
	r := diagnose(t)
	wantFindings(t, r, "NO-IPV6 info")
	assert.Equal(t, loopback.VerdictOK, r.Verdict)
}

func TestDiagnoseSmallMTU(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	healthyMachine(t)
	netnstest.Run(t, "ip", "link", "set", "lo", "mtu", "1000")
	r := diagnose(t)
	wantFindings(t, r, "NO-IPV6 warn")
	assert.Contains(t, r.Findings[0].Evidence, "1280")
	runFix(t, r.Findings[0])
	wantFindings(t, diagnose(t))
}

func TestDiagnoseMisplaced(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	healthyMachine(t)
	netnstest.NewNeighbour(t).Veth(t, "wire", "127.5.0.1/24", "theirs", "127.5.0.2/24")
	netnstest.Run(t, "ip", "addr", "add", "203.0.113.5/32", "dev", "lo")
	netnstest.Run(t, "ip", "addr", "add", "fe80::1/64", "dev", "lo", "nodad") // as on macOS: no finding
	r := diagnose(t)
	wantFindings(t, r, "LOOPBACK-OFF-LO warn", "FOREIGN-ON-LO info")
	assert.ElementsMatch(t, []loopback.PlacedAddr{
		{Interface: "wire", Addr: netip.MustParsePrefix("127.5.0.1/24"), Kind: loopback.KindIPv4},
		{Interface: "lo", Addr: netip.MustParsePrefix("203.0.113.5/32"), Kind: loopback.KindNone},
	}, r.Misplaced)
	assert.Contains(t, r.Findings[0].Evidence, "127.5.0.1/24 on wire")
	assert.Contains(t, r.Findings[1].Evidence, "203.0.113.5/32 on lo")
	runFix(t, r.Findings[0])
	runFix(t, r.Findings[1])
	wantFindings(t, diagnose(t))

	netnstest.Run(t, "ip", "addr", "add", "169.254.1.1/32", "dev", "lo")
	for i := range 5 { // more than a finding shows
		netnstest.Run(t, "ip", "addr", "add", fmt.Sprintf("203.0.113.%d/32", i), "dev", "lo")
	}
	for _, left := range []int{2, 0} {
		r = diagnose(t)
		wantFindings(t, r, "FOREIGN-ON-LO info")
		assert.Contains(t, r.Findings[0].Fix, " # unless they are there on purpose")
		runFix(t, r.Findings[0])
		assert.Len(t, diagnose(t).Misplaced, left)
	}
}

func TestDiagnoseLocalhost(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	healthyMachine(t)
	writeEtc(t, "hosts", "127.0.0.1 other\n192.0.2.2 localhost\n::1 localhost\n")
	r := diagnose(t)
	assert.Equal(t, loopback.VerdictNotLoopback, r.Verdict, "%v", r)
	assert.Equal(t, loopback.LevelError, r.Findings[0].Level)
	assert.Contains(t, r.Findings[0].Evidence, "hosts:2")
	require.NotNil(t, r.Localhost)
	assert.Equal(t, loopback.VerdictNotLoopback, r.Localhost.Verdict)
}

// A DNS server that never answers, a loopback interface that drops everything,
// and a route to nowhere: all at once, in less than two seconds.
func TestDiagnoseBroken(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	healthyMachine(t)
	netnstest.NeedNFT(t)
	writeEtc(t, "hosts", "")
	netnstest.Run(t, "ip", "addr", "add", "192.0.2.53/32", "dev", "lo")
	silent, err := net.ListenPacket("udp", "192.0.2.53:53")
	require.NoError(t, err)
	defer silent.Close()
	writeEtc(t, "resolv.conf", "nameserver 192.0.2.53\noptions timeout:30 attempts:5\n")
	for _, family := range []string{"ip", "ip6"} {
		netnstest.Run(t, "nft", "add", "table", family, "t")
		netnstest.Run(t, "nft", "add", "chain", family, "t", "c", "{ type filter hook input priority 0; }")
	}
	netnstest.Run(t, "nft", "add", "rule", "ip", "t", "c", "ip", "daddr", "127.0.0.0/8", "drop")
	netnstest.Run(t, "nft", "add", "rule", "ip6", "t", "c", "ip6", "daddr", "::1", "drop")
	r := diagnose(t)
	wantFindings(t, r, "UNREACHABLE error", "UNREACHABLE error", "LOOKUP-FAILED warn", "FOREIGN-ON-LO info", "EXPOSED info") // the silent server is this process's
	assert.Contains(t, r.Findings[0].Fix, "packet filter")
	assert.Equal(t, loopback.VerdictLookupFailed, r.Localhost.Verdict)
}

// One family that a packet filter drops is a warning: the other serves.
func TestDiagnoseDropped(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	healthyMachine(t)
	netnstest.NeedNFT(t)
	netnstest.Run(t, "nft", "add", "table", "ip6", "t")
	netnstest.Run(t, "nft", "add", "chain", "ip6", "t", "c", "{ type filter hook input priority 0; }")
	netnstest.Run(t, "nft", "add", "rule", "ip6", "t", "c", "udp", "dport", "1-65535", "drop")
	r := diagnose(t)
	wantFindings(t, r, "UNREACHABLE warn")
	assert.Contains(t, r.Findings[0].Evidence, "TCP: ok")
	assert.Contains(t, r.Findings[0].Message, "::1")
}

func TestDiagnoseLeavesNothing(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	healthyMachine(t)
	netnstest.Sysctl(t, "net/ipv4/conf/all/route_localnet", "1")
	netnstest.Sysctl(t, "net/ipv6/conf/default/disable_ipv6", "1") // no link-local address that comes by itself
	netnstest.NewNeighbour(t).Veth(t, "wire", "10.0.0.1/24", "theirs", "10.0.0.2/24")
	awaitCarrier(t, "wire")
	state := func() string {
		fds, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		s := strconv.Itoa(len(fds)) + " descriptors\n"
		s += netnstest.Run(t, "ip", "addr") + netnstest.Run(t, "ip", "rule") + netnstest.Run(t, "ip", "route", "show", "table", "all")
		s += netnstest.Run(t, "sh", "-c", "grep -r . /proc/sys/net/ipv4/conf")
		return s + netnstest.Run(t, "sh", "-c", "cat /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6 | grep -v ' 06 '")
	}
	diagnose(t) // whatever is opened once and for all, such as the poller's
	goroutines := runtime.NumGoroutine()
	before := state()
	diagnose(t)
	for start := time.Now(); state() != before && time.Since(start) < patience; { // connections may be about to end
	}
	assert.Equal(t, before, state())
	noMoreGoroutines(t, goroutines)
}

// A masquerade without an interface takes local clients, too. Their connections
// arrive, but not from loopback.
func TestDiagnoseNamesARewriting(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	healthyMachine(t)
	netnstest.NeedNFT(t)
	netnstest.NewNeighbour(t).Veth(t, "eth0", "192.0.2.10/24", "theirs", "192.0.2.1/24")
	netnstest.Run(t, "ip", "addr", "add", "2001:db8::10/64", "dev", "eth0", "nodad")
	rules := func(rule string) {
		t.Helper()
		netnstest.Run(t, "nft", "flush ruleset; table inet t { chain c { type nat hook postrouting priority 100; "+rule+"; }; }")
	}
	for _, tt := range []struct {
		rule, want string
		evidence   []string
	}{
		{"masquerade", "REWRITTEN warn", []string{"TCP from 127.0.0.1 arrives from 192.0.2.10", "UDP from 127.0.0.1 arrives from 192.0.2.10"}},
		{"oif lo ip saddr 127.0.0.0/8 udp dport 1-65535 masquerade", "REWRITTEN warn", []string{"UDP from 127.0.0.1 arrives from 192.0.2.10"}},
		{"ip6 daddr ::1 tcp dport 1-65535 snat ip6 to 2001:db8::10", "REWRITTEN warn", []string{"TCP from ::1 arrives from 2001:db8::10"}},
		{"ip daddr 127.0.0.1 tcp dport 1-65535 snat ip to 127.0.0.9", "REWRITTEN info", []string{"TCP from 127.0.0.1 arrives from 127.0.0.9"}},
	} {
		rules(tt.rule)
		r := diagnose(t)
		wantFindings(t, r, tt.want)
		for _, e := range tt.evidence {
			assert.Contains(t, r.Findings[0].Evidence, e, tt.rule)
			assert.Contains(t, r.String(), "from "+e[strings.LastIndex(e, " ")+1:])
		}
		assert.Equal(t, len(tt.evidence) > 1, strings.Contains(r.Findings[0].Evidence, ";"), "%s: %v", tt.rule, r.Findings[0])
		assert.Equal(t, strings.Contains(tt.want, "warn"), r.Verdict == loopback.VerdictRewritten)
	}
	for _, rule := range []string{"oif != lo masquerade", "oif lo ip saddr 192.0.2.0/24 masquerade"} { // the fix, and a rule for other addresses
		rules(rule)
		wantFindings(t, diagnose(t))
	}
}

// Local TCP and UDP for 127.0.0.1 leave by loopback0 and come back, as in the
// mirrored mode of WSL 2. What they need is not turned off.
func TestDiagnoseMirrored(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	healthyMachine(t)
	netnstest.NeedNFT(t)
	mirror(t)
	awaitCarrier(t, "loopback0")
	netnstest.Run(t, "sh", "-ec", mirroring)
	r := diagnose(t) // without route_localnet nothing connects
	wantFindings(t, r, "UNREACHABLE warn")
	assert.Contains(t, r.Findings[0].Evidence, "leaves by loopback0")
	assert.Contains(t, r.Findings[0].Fix, "net.ipv4.conf.loopback0.route_localnet=1")

	netnstest.Sysctl(t, "net/ipv4/conf/loopback0/route_localnet", "1")
	r = diagnose(t)
	wantFindings(t, r, "DETOUR warn")
	assert.Equal(t, loopback.VerdictDetour, r.Verdict)
	assert.Equal(t, [2]string{"loopback0", "loopback0"}, [2]string{r.IPv4.TCPBy, r.IPv4.UDPBy})
	assert.Equal(t, netip.MustParseAddr("169.254.73.1"), r.IPv4.TCPFrom)
	assert.Equal(t, netip.MustParseAddr("169.254.73.1"), r.IPv4.UDPFrom)
	assert.Equal(t, [2]string{"", ""}, [2]string{r.IPv6.TCPBy, r.IPv6.UDPBy})
	assert.Contains(t, r.Findings[0].Evidence, "loopback0 from 169.254.73.2")
	assert.Empty(t, r.Findings[0].Fix)

	// Another interface is closed, and only that one.
	netnstest.NewNeighbour(t).Veth(t, "eth0", "10.0.0.1/24", "theirs0", "10.0.0.2/24")
	awaitCarrier(t, "eth0")
	netnstest.Sysctl(t, "net/ipv4/conf/all/route_localnet", "1")
	netnstest.Sysctl(t, "net/ipv4/conf/loopback0/route_localnet", "0")
	r = diagnose(t)
	wantFindings(t, r, "WIRE error", "DETOUR warn")
	runFix(t, r.Findings[0])
	r = diagnose(t)
	wantFindings(t, r, "DETOUR warn")
	assert.True(t, r.IPv4.TCP.OK() && r.IPv4.UDP.OK())

	// A client that keeps its loopback address is served by all.
	netnstest.Run(t, "ip", "route", "replace", "127.0.0.1", "via", "169.254.73.2", "dev", "loopback0", "table", "127", "src", "127.0.0.1")
	r = diagnose(t)
	assert.False(t, r.IPv4.TCPFrom.IsValid())
	assert.Equal(t, "loopback0", r.IPv4.TCPBy)
}

// An address that can be bound without being there is missed, with the parameter
// that hides it; nothing is sent to it, whatever route leads out.
func TestDiagnoseNamesNonlocalBind(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	healthyMachine(t)
	n := netnstest.NewNeighbour(t)
	n.Veth(t, "eth0", "10.0.0.1/24", "theirs", "10.0.0.2/24")
	netnstest.Run(t, "ip", "addr", "add", "2001:db8::1/64", "dev", "eth0", "nodad")
	awaitCarrier(t, "eth0")
	netnstest.Run(t, "ip", "route", "add", "default", "via", "10.0.0.2")
	netnstest.Run(t, "ip", "-6", "route", "add", "default", "via", "2001:db8::2", "dev", "eth0")
	for family, addr := range map[string]string{"ipv4": "127.0.0.1/8", "ipv6": "::1/128"} {
		netnstest.Sysctl(t, "net/"+family+"/ip_nonlocal_bind", "1")
		netnstest.Run(t, "ip", "addr", "del", addr, "dev", "lo")
		r := diagnose(t)
		wantFindings(t, r, map[string]string{"ipv4": "NO-IPV4 warn", "ipv6": "NO-IPV6 warn"}[family])
		f := r.Findings[0]
		bare := netip.MustParsePrefix(addr).Addr().String()
		assert.Contains(t, f.Message, "does not have "+bare+", though it can be bound")
		assert.Contains(t, f.Evidence, "net."+family+".ip_nonlocal_bind=1")
		assert.Contains(t, f.Fix, "ip addr add "+addr+" dev lo")
		runFix(t, f)
		wantFindings(t, diagnose(t))
	}
}

// What the report says about the wire must be what packets do: a neighbour
// sends datagrams to 127.0.0.1 from each of its addresses, and opens a
// connection.
func TestDiagnoseWire(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	healthyMachine(t)
	n := netnstest.NewNeighbour(t)
	n.Veth(t, "wire", "10.0.0.1/24", "theirs", "10.0.0.2/24")
	awaitCarrier(t, "wire")
	netnstest.Run(t, "ip", "link", "add", "other", "type", "veth", "peer", "name", "far")
	netnstest.Run(t, "ip", "link", "set", "far", "up")
	netnstest.Run(t, "ip", "addr", "add", "10.1.0.1/24", "dev", "other")
	netnstest.Run(t, "ip", "link", "set", "other", "up")

	// The neighbour sends 127.0.0.1 out on the link, and takes it from there.
	n.Run(t, "ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
	n.Run(t, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet")
	sources := []string{"10.0.0.2", "192.0.2.1", "127.0.0.2", "10.9.0.1", "127.5.0.2"}
	for _, src := range sources[1:] {
		n.Run(t, "ip", "addr", "add", src+"/32", "dev", "theirs")
	}
	n.Run(t, "ip", "route", "add", "10.0.0.1/32", "dev", "theirs", "src", "10.0.0.2")
	n.Run(t, "ip", "route", "add", "127.0.0.1/32", "via", "10.0.0.1", "dev", "theirs", "src", "10.0.0.2")

	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	defer udp.Close()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()

	// arrived returns from which of the sources datagrams arrive. It waits for
	// as many as there should be, and a little for more.
	var round byte
	arrived := func(want int) []netip.Addr {
		round++
		n.Do(func() {
			for _, src := range sources {
				d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(src)}}
				c, err := d.Dial("udp4", udp.LocalAddr().String())
				if !assert.NoError(t, err, src) {
					continue
				}
				_, err = c.Write([]byte{round})
				assert.NoError(t, err, src)
				c.Close()
			}
		})
		got := []netip.Addr{}
		for buf := make([]byte, 10); ; {
			more := patience
			if len(got) >= want {
				more = 100 * time.Millisecond
			}
			require.NoError(t, udp.SetReadDeadline(time.Now().Add(more)))
			_, from, err := udp.ReadFromUDPAddrPort(buf)
			if err != nil {
				require.ErrorIs(t, err, os.ErrDeadlineExceeded)
				return got
			}
			if buf[0] == round {
				got = append(got, from.Addr().Unmap())
			}
		}
	}
	// connects reports whether a connection from 10.0.0.2 gets through in time.
	connects := func(address string, time time.Duration) (ok bool) {
		n.Do(func() {
			if c, err := net.DialTimeout("tcp4", address, time); err == nil {
				c.Close()
				ok = true
			}
		})
		return ok
	}
	const dropped = 200 * time.Millisecond

	set := func(kv ...string) func() {
		return func() {
			for i := 0; i < len(kv); i += 2 {
				netnstest.Sysctl(t, "net/ipv4/conf/"+kv[i], kv[i+1])
			}
		}
	}
	ip := func(args ...string) func() { return func() { netnstest.Run(t, "ip", args...) } }
	all := []string{"10.0.0.2", "192.0.2.1", "127.0.0.2", "10.9.0.1", "127.5.0.2"}
	for _, tt := range []struct {
		name  string
		begin []func()
		end   []func()
		want  []string // what arrives
	}{
		{"ordinary", nil, nil, nil},
		{"on the device", []func(){set("wire/route_localnet", "1")}, nil, all},
		{"on all", []func(){set("all/route_localnet", "1")}, nil, all},
		{"on another device", []func(){set("other/route_localnet", "1")}, nil, nil},
		{"on default", []func(){set("default/route_localnet", "1")}, nil, nil},
		{"on lo", []func(){set("lo/route_localnet", "1")}, nil, nil},
		{"strict rp_filter", []func(){set("wire/route_localnet", "1", "wire/rp_filter", "1")}, nil, []string{"10.0.0.2"}},
		{"strict rp_filter on all", []func(){set("all/route_localnet", "1", "all/rp_filter", "1")}, nil, []string{"10.0.0.2"}},
		{"strict, default route",
			[]func(){set("wire/route_localnet", "1", "wire/rp_filter", "1"), ip("route", "add", "default", "via", "10.0.0.2")},
			[]func(){ip("route", "del", "default")},
			[]string{"10.0.0.2", "192.0.2.1", "10.9.0.1"}},
		{"loose rp_filter, no default route",
			[]func(){set("wire/route_localnet", "1", "wire/rp_filter", "2")}, nil, []string{"10.0.0.2"}},
		{"loose rp_filter, default route elsewhere",
			[]func(){set("wire/route_localnet", "1", "wire/rp_filter", "2"), ip("route", "add", "default", "via", "10.1.0.2")},
			[]func(){ip("route", "del", "default")},
			[]string{"10.0.0.2", "192.0.2.1", "10.9.0.1"}},
		{"strict, the network of the link is elsewhere",
			[]func(){set("wire/route_localnet", "1", "wire/rp_filter", "1"),
				ip("addr", "del", "10.0.0.1/24", "dev", "wire"), ip("addr", "add", "10.0.0.1/32", "dev", "wire")},
			[]func(){ip("addr", "del", "10.0.0.1/32", "dev", "wire"), ip("addr", "add", "10.0.0.1/24", "dev", "wire")},
			nil},
		{"strict, only a routed network",
			[]func(){set("wire/route_localnet", "1", "wire/rp_filter", "1"),
				ip("addr", "del", "10.0.0.1/24", "dev", "wire"), ip("addr", "add", "10.0.0.1/32", "dev", "wire"),
				ip("route", "add", "10.9.0.0/24", "dev", "wire")},
			[]func(){ip("addr", "del", "10.0.0.1/32", "dev", "wire"), ip("addr", "add", "10.0.0.1/24", "dev", "wire")},
			[]string{"10.9.0.1"}},
		{"strict, 127.5.0.0/24 on the link",
			[]func(){set("wire/route_localnet", "1", "wire/rp_filter", "1"), ip("addr", "add", "127.5.0.1/24", "dev", "wire")},
			[]func(){ip("addr", "del", "127.5.0.1/24", "dev", "wire")},
			[]string{"10.0.0.2", "127.5.0.2"}},
		{"127.0.0.1/8 on the link, too",
			[]func(){ip("addr", "add", "127.0.0.1/8", "dev", "wire")},
			[]func(){ip("addr", "del", "127.0.0.1/8", "dev", "wire")},
			nil},
	} {
		for _, f := range tt.begin {
			f()
		}
		want := []netip.Addr{}
		for _, s := range tt.want {
			want = append(want, netip.MustParseAddr(s))
		}
		got := arrived(len(want))
		assert.ElementsMatch(t, want, got, "%s: datagrams", tt.name)
		r := diagnose(t)
		i := slices.IndexFunc(r.Wire, func(w loopback.WireReport) bool { return w.Interface == "wire" })
		require.GreaterOrEqual(t, i, 0)
		w := r.Wire[i]
		require.NotNil(t, w.Exposed, tt.name)
		assert.Equal(t, len(got) > 0, *w.Exposed, "%s: the report, which has %v", tt.name, w.From)
		if tt.name != "on another device" { // which nobody sends from
			assert.Equal(t, len(got) > 0, r.Verdict == loopback.VerdictWire, "%s: the verdict, %v", tt.name, r.Verdict)
		}
		for _, src := range w.From { // of those the report asked about
			assert.Contains(t, got, src, "%s: in the report, but no datagram came", tt.name)
		}
		for _, src := range []string{"10.0.0.2", "192.0.2.1", "127.0.0.2"} { // and those it always asks about
			src := netip.MustParseAddr(src)
			if slices.Contains(got, src) {
				assert.Contains(t, w.From, src, "%s: a datagram came, but it is not in the report", tt.name)
			}
		}
		if slices.Contains(got, netip.MustParseAddr("10.0.0.2")) {
			assert.True(t, connects(ln.Addr().String(), patience), "%s: a connection", tt.name)
			assert.Contains(t, r.Findings[0].Evidence, "wire from ")
		}
		for _, f := range tt.end {
			f()
		}
		for _, dev := range []string{"all", "default", "wire", "other", "lo"} {
			set(dev+"/route_localnet", "0", dev+"/rp_filter", "0")()
		}
	}

	// A redirection needs the same permission, and shows the same.
	t.Run("redirection", func(t *testing.T) {
		netnstest.NeedNFT(t)
		netnstest.Run(t, "nft", "add", "table", "ip", "nat")
		netnstest.Run(t, "nft", "add", "chain", "ip", "nat", "pre", "{ type nat hook prerouting priority -100; }")
		netnstest.Run(t, "nft", "add", "rule", "ip", "nat", "pre", "tcp", "dport", "80", "dnat", "to", ln.Addr().String())
		assert.False(t, connects("10.0.0.1:80", dropped))
		assert.NotEqual(t, loopback.VerdictWire, diagnose(t).Verdict)
		netnstest.Sysctl(t, "net/ipv4/conf/wire/route_localnet", "1")
		assert.True(t, connects("10.0.0.1:80", patience))
		r := diagnose(t)
		assert.Equal(t, loopback.VerdictWire, r.Verdict)

		// The fix fixes it.
		runFix(t, r.Findings[0])
		assert.False(t, connects("10.0.0.1:80", dropped))
		wantFindings(t, diagnose(t))
	})

	// What arrives at a port of a bridge arrives on the bridge.
	t.Run("bridge", func(t *testing.T) {
		netnstest.Run(t, "ip", "link", "add", "bridge", "type", "bridge")
		netnstest.Run(t, "ip", "link", "set", "wire", "master", "bridge")
		netnstest.Run(t, "ip", "addr", "del", "10.0.0.1/24", "dev", "wire")
		netnstest.Run(t, "ip", "addr", "add", "10.0.0.1/24", "dev", "bridge")
		netnstest.Run(t, "ip", "link", "set", "bridge", "address", strings.Fields(netnstest.Run(t, "ip", "-br", "link", "show", "wire"))[2])
		netnstest.Run(t, "ip", "link", "set", "bridge", "up")
		awaitCarrier(t, "bridge")
		for dev, want := range map[string]int{"wire": 0, "bridge": 1} {
			netnstest.Sysctl(t, "net/ipv4/conf/"+dev+"/route_localnet", "1")
			assert.Equal(t, want > 0, len(arrived(want)) > 0, "datagrams, on %s", dev)
			assert.Equal(t, want > 0, diagnose(t).Verdict == loopback.VerdictWire, "the verdict, on %s", dev)
			netnstest.Sysctl(t, "net/ipv4/conf/"+dev+"/route_localnet", "0")
		}
		netnstest.Run(t, "ip", "link", "set", "wire", "nomaster")
	})

	// A device that is down is not asked.
	netnstest.Sysctl(t, "net/ipv4/conf/wire/route_localnet", "1")
	netnstest.Run(t, "ip", "link", "set", "wire", "down")
	wantFindings(t, diagnose(t), "ROUTE-LOCALNET info")
}
