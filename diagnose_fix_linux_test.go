package loopback_test

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
	"example.com/loopback/internal/netnstest"
)

// A fault is a state that a machine may be in. What is done where that state
// cannot be had, beside another fault, is not done.
type fault struct {
	name   string
	nft    bool
	script string // a script
}

// faults are what TestFixesBreakNothing makes, alone and in pairs. The machine
// has eth0, with a default route, and loopback0; see mirror.
var faults = []fault{
	{name: "lo down", script: "ip link set lo down"},
	{name: "lo renamed", script: "ip link set lo down; ip link set lo name loop7; ip link set loop7 up"},
	{name: "another lo", script: "ip link set lo down; ip link set lo name loop7; ip link set loop7 up; ip link add lo type veth peer name ol"},
	{name: "no 127.0.0.1", script: "ip addr del 127.0.0.1/8 dev lo"},
	{name: "only 127.0.0.1", script: "ip addr add 127.0.0.1/32 dev lo; ip addr del 127.0.0.1/8 dev lo"},
	{name: "only 127.0.0.1/16", script: "ip addr add 127.0.0.1/16 dev lo; ip addr del 127.0.0.1/8 dev lo"},
	{name: "no local routes", script: "ip route del local 127.0.0.0/8 dev lo table local; ip route del local 127.0.0.1 dev lo table local"},
	{name: "AnyIP", script: "ip addr del 127.0.0.1/8 dev lo; ip route add local 127.0.0.0/8 dev lo"},
	{name: "no ::1", script: "ip addr del ::1/128 dev lo"},
	{name: "no route to ::1", script: "ip -6 route del local ::1 dev lo table local"},
	{name: "MTU", script: "ip link set lo mtu 1000"},
	{name: "disable_ipv6", script: "sysctl -w net.ipv6.conf.all.disable_ipv6=1"},
	{name: "disable_ipv6 of lo", script: "sysctl -w net.ipv6.conf.lo.disable_ipv6=1"},
	{name: "ip_nonlocal_bind", script: "sysctl -w net.ipv4.ip_nonlocal_bind=1 net.ipv6.ip_nonlocal_bind=1"},
	{name: "route_localnet of all", script: "sysctl -w net.ipv4.conf.all.route_localnet=1"},
	{name: "route_localnet of a device", script: "sysctl -w net.ipv4.conf.eth0.route_localnet=1"},
	{name: "route_localnet of many", script: "for i in 1 2 3; do ip link add many$i type veth peer name y$i; sysctl -w net.ipv4.conf.many$i.route_localnet=1 net.ipv4.conf.y$i.route_localnet=1; done"},
	{name: "strict rp_filter", script: "sysctl -w net.ipv4.conf.all.rp_filter=1"},
	{name: "foreign on lo", script: "ip addr add 203.0.113.5/24 dev lo; ip addr add 203.0.113.6/24 dev lo; ip addr add 2001:db8::7/128 dev lo"},
	{name: "127.5.0.1 off lo", script: "ip addr add 127.5.0.1/24 dev eth0; ip addr add 127.5.0.3/24 dev eth0"},
	{name: "127.0.0.1 off lo, too", script: "ip addr add 127.0.0.1/8 dev eth0"},
	{name: "127.0.0.1 off lo alone", script: "ip addr add 127.0.0.1/8 dev eth0; ip addr del 127.0.0.1/8 dev lo"},
	{name: "mirrored", nft: true, script: mirroring + "sysctl -w net.ipv4.conf.loopback0.route_localnet=1"},
	{name: "mirrored, by all", nft: true, script: mirroring + "sysctl -w net.ipv4.conf.all.route_localnet=1"},
	{name: "mirrored, in vain", nft: true, script: mirroring},
	{name: "masquerade", nft: true, script: "nft 'table inet m { chain c { type nat hook postrouting priority 100; masquerade; }; }'"},
	{name: "SNAT", nft: true, script: "nft 'table inet s { chain c { type nat hook postrouting priority 100; oif lo ip saddr 127.0.0.0/8 snat ip to 10.0.0.1; }; }'"},
	{name: "IPv4 dropped", nft: true, script: "nft 'table ip d4 { chain c { type filter hook input priority 0; ip daddr 127.0.0.1 drop; }; }'"},
	{name: "IPv6 dropped", nft: true, script: "nft 'table ip6 d6 { chain c { type filter hook input priority 0; iif lo drop; }; }'"},
	{name: "part dropped", nft: true, script: "nft 'table ip dp { chain c { type filter hook input priority 0; ip daddr 127.1.2.3 reject; }; }'"},
	{name: "rule against 127.0.0.1", script: "ip rule add pref 100 lookup local; ip rule add pref 5 to 127.0.0.1 unreachable; ip rule del pref 0"},
}

// mirroring makes local TCP and UDP for 127.0.0.1 leave by loopback0, where a
// neighbour sends them back as they are, as in the mirrored mode of WSL 2. They
// come back to 127.0.0.1 with route_localnet alone.
const mirroring = `
ip rule add pref 1 iif loopback0 ipproto 6 lookup local
ip rule add pref 1 iif loopback0 ipproto 17 lookup local
ip rule add pref 2 iif lo ipproto 6 lookup 127
ip rule add pref 2 iif lo ipproto 17 lookup 127
ip rule add pref 100 lookup local
ip rule del pref 0
ip route add 127.0.0.1 via 169.254.73.2 dev loopback0 table 127
`

// mirror makes loopback0, whose other end sends back what it gets.
func mirror(t *testing.T) {
	t.Helper()
	n := netnstest.NewNeighbour(t)
	n.Veth(t, "loopback0", "169.254.73.1/30", "theirs", "169.254.73.3/30")
	ours := strings.Fields(netnstest.Run(t, "ip", "-br", "link", "show", "loopback0"))[2]
	netnstest.Run(t, "ip", "neigh", "replace", "169.254.73.2", "lladdr", ours, "dev", "loopback0", "nud", "permanent")
	netnstest.Sysctl(t, "net/ipv4/conf/loopback0/accept_local", "1")
	n.Run(t, "nft", "table netdev back { chain c { type filter hook ingress device theirs priority 0; fwd to theirs; }; }")
}

// localClients returns which of the ways to reach a server of one's own work.
func localClients() map[string]bool {
	works := make(map[string]bool)
	for _, addr := range []string{"127.0.0.1", "127.1.2.3", "127.5.0.1", "::1"} {
		works["tcp "+addr] = tcpWorks(addr)
		works["udp "+addr] = udpWorks(addr)
	}
	return works
}

const soon = 250 * time.Millisecond

func tcpWorks(addr string) bool {
	ln, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
	if err != nil {
		return false
	}
	defer ln.Close()
	c, err := net.DialTimeout("tcp", ln.Addr().String(), soon)
	if err != nil {
		return false
	}
	defer c.Close()
	served, err := ln.Accept()
	return err == nil && served.Close() == nil
}

func udpWorks(addr string) bool {
	server, err := net.ListenPacket("udp", net.JoinHostPort(addr, "0"))
	if err != nil {
		return false
	}
	defer server.Close()
	c, err := net.Dial("udp", server.LocalAddr().String())
	if err != nil {
		return false
	}
	defer c.Close()
	for range 2 {
		if _, err := c.Write([]byte("x")); err != nil {
			return false
		}
	}
	if server.SetReadDeadline(time.Now().Add(soon)) != nil {
		return false
	}
	_, _, err = server.ReadFrom(make([]byte, 1))
	return err == nil
}

// isCommand reports whether a fix is a command to copy, and not a sentence.
func isCommand(fix string) bool {
	return slices.ContainsFunc([]string{"ip ", "sysctl ", "for "}, func(p string) bool { return strings.HasPrefix(fix, p) })
}

// What Diagnose advises is followed, in every state of the table and in every
// two of them: nothing that worked stops working, and what was found is gone.
func TestFixesBreakNothing(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	const marker = "LOOPBACK_TEST_FAULTS"
	if names, ok := os.LookupEnv(marker); ok {
		followFixes(t, strings.Split(names, "; "))
		return
	}
	healthyMachine(t)
	netnstest.NeedNFT(t)
	inOwnNamespace := func(t *testing.T, names ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestFixesBreakNothing$")
		cmd.Env = append(os.Environ(), marker+"="+strings.Join(names, "; "))
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
		out, err := cmd.CombinedOutput()
		assert.NoError(t, err, "%s", out)
	}
	_, all := os.LookupEnv("LOOPBACK_TEST_ALL_PAIRS") // which takes minutes
	for i, one := range faults {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			inOwnNamespace(t, one.name)
			for j, other := range faults[i+1:] {
				if strings.HasPrefix(one.name, "lo renamed") && strings.HasPrefix(other.name, "mirrored") {
					continue // the name gives force to rules that were without, as the fix says
				}
				if all || (i+j)%16 == 0 {
					inOwnNamespace(t, one.name, other.name)
				}
			}
		})
	}
}

// followFixes makes the faults, and does what Diagnose advises until it advises
// nothing that it has not advised before.
func followFixes(t *testing.T, names []string) {
	t.Helper()
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	netnstest.NewNeighbour(t).Veth(t, "eth0", "10.0.0.1/24", "theirs", "10.0.0.2/24")
	awaitCarrier(t, "eth0")
	netnstest.Run(t, "ip", "route", "add", "default", "via", "10.0.0.2")
	mirror(t)
	awaitCarrier(t, "loopback0")
	for _, name := range names {
		i := slices.IndexFunc(faults, func(f fault) bool { return f.name == name })
		require.GreaterOrEqual(t, i, 0, name)
		out, err := exec.CommandContext(t.Context(), "sh", "-c", "set -e; "+faults[i].script).CombinedOutput()
		if len(names) == 1 { // two may exclude each other
			require.NoError(t, err, "%s: %s", name, out)
		}
	}
	works := localClients()
	var done []string
	for {
		r := diagnose(t)
		i := slices.IndexFunc(r.Findings, func(f loopback.Finding) bool { return isCommand(f.Fix) && !slices.Contains(done, f.Fix) })
		if i < 0 {
			checkReport(t, names, r, works)
			return
		}
		f := r.Findings[i]
		done = append(done, f.Fix)
		require.Less(t, len(done), 12, "%q: it has no end: %q", names, done)
		out, _ := exec.CommandContext(t.Context(), "sh", "-c", f.Fix).CombinedOutput()
		if f.Verdict == loopback.VerdictNoIPv6 { // the kernel configures the address in the background
			for start := time.Now(); time.Since(start) < soon && !tcpWorks("::1"); {
			}
		}
		after := localClients()
		for way, worked := range works {
			assert.False(t, worked && !after[way], "%q: %s does not work any more after %v\n%s\n%s", names, way, f, f.Fix, out)
		}
		works = after
		if slices.Contains(names, "rule against 127.0.0.1") && f.Verdict == loopback.VerdictNoIPv4 {
			continue // one finding with two causes: the address is there now, and the rule is still against it
		}
		again := slices.ContainsFunc(diagnose(t).Findings, func(g loopback.Finding) bool {
			return g.Verdict == f.Verdict && g.Evidence == f.Evidence
		})
		assert.False(t, again, "%q: still found: %v\n%s\n%s", names, f, f.Fix, out)
	}
}

// checkReport compares what a report says with what works.
func checkReport(t *testing.T, names []string, r *loopback.Report, works map[string]bool) {
	t.Helper()
	for _, f := range []loopback.FamilyReport{r.IPv4, r.IPv6} {
		assert.Equal(t, works["tcp "+f.Addr.String()], f.Bind.OK() && f.TCP.OK(), "%q: TCP to %v\n%v", names, f.Addr, r)
		assert.Equal(t, works["udp "+f.Addr.String()], f.UDP.OK(), "%q: UDP to %v\n%v", names, f.Addr, r)
	}
	for _, s := range r.Range {
		if s.Addr == netip.MustParseAddr("127.1.2.3") {
			assert.Equal(t, works["tcp 127.1.2.3"], s.Bind.OK() && s.Connect.OK(), "%q: %v\n%v", names, s.Addr, r)
		}
	}
}
