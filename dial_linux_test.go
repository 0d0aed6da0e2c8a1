package loopback_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
	"example.com/loopback/internal/netnstest"
)

// Where a filter swallows what is sent to ::1, the other family is reached all
// the same.
func TestDialContextPassesByAFilteredFamily(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	netnstest.NeedNFT(t)
	four := greeter(t, "127.0.0.1:3000")
	netnstest.Run(t, "nft", "table inet f { chain in { type filter hook input priority 0; ip6 daddr ::1 drop; }; }")
	assert.Equal(t, four.String(), dialed(t, "tcp", "localhost:3000"))

	netnstest.Run(t, "nft", "add rule inet f in ip daddr 127.0.0.1 drop")
	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()
	before := descriptors(t)
	_, err := loopback.DialContext(ctx, "tcp", "localhost:3000")
	var op *net.OpError
	require.ErrorAs(t, err, &op)
	assert.True(t, op.Timeout(), "%v", err)
	assert.ErrorContains(t, err, "[::1]:3000: ")
	assert.ErrorContains(t, err, "127.0.0.1:3000: ")
	assert.Equal(t, before, descriptors(t), "nothing is left open")
}

// The connection is not of multipath TCP, whatever the environment says.
func TestDialContextIsOfTCPAlone(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0") // which is, where the kernel has it
	require.NoError(t, err)
	defer ln.Close()
	t.Setenv("GODEBUG", "multipathtcp=1")
	c, err := loopback.DialContext(t.Context(), "tcp", ln.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	multipath, err := c.(*net.TCPConn).MultipathTCP()
	require.NoError(t, err)
	assert.False(t, multipath)
}

// An address that this machine does not have must not be looked for elsewhere:
// the default route leads there.
func TestDialContextSendsNothingOut(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	netnstest.NeedNFT(t)
	n := netnstest.NewNeighbour(t)
	n.Veth(t, "eth0", "192.0.2.10/24", "theirs", "192.0.2.1/24")
	netnstest.Run(t, "ip", "addr", "add", "2001:db8::10/64", "dev", "eth0", "nodad")
	netnstest.Run(t, "ip", "route", "add", "default", "via", "192.0.2.1")
	netnstest.Run(t, "ip", "-6", "route", "add", "default", "via", "2001:db8::1", "dev", "eth0")
	netnstest.Run(t, "nft", `table inet f {
		counter out { }
		chain out { type filter hook output priority 0; oif eth0 ip daddr 127.0.0.0/8 counter name out; oif eth0 ip6 daddr ::1 counter name out; }
	}`)
	netnstest.Run(t, "ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
	netnstest.Run(t, "ip", "addr", "del", "::1/128", "dev", "lo")
	for _, nonlocal := range []string{"0", "1"} {
		netnstest.Sysctl(t, "net/ipv4/ip_nonlocal_bind", nonlocal)
		netnstest.Sysctl(t, "net/ipv6/ip_nonlocal_bind", nonlocal)
		for _, network := range []string{"tcp", "udp"} {
			for _, host := range []string{"localhost", "127.0.0.1", "127.5.5.5", "[::1]"} {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				c, err := loopback.DialContext(ctx, network, host+":3000")
				cancel()
				if err == nil {
					io.WriteString(c, "astray")
					c.Close()
				}
				assert.ErrorIs(t, err, syscall.EADDRNOTAVAIL, "%s %s, ip_nonlocal_bind=%s", network, host, nonlocal)
				if op, ok := err.(*net.OpError); assert.True(t, ok, "%T", err) && host != "localhost" {
					addr := net.Addr(&net.TCPAddr{IP: net.ParseIP(strings.Trim(host, "[]")), Port: 3000})
					if network == "udp" {
						addr = &net.UDPAddr{IP: net.ParseIP(strings.Trim(host, "[]")), Port: 3000}
					}
					assert.Equal(t, []string{"dial", network, addr.Network(), addr.String()}, []string{op.Op, op.Net, op.Addr.Network(), op.Addr.String()})
				}
			}
		}
	}
	assert.Contains(t, netnstest.Run(t, "nft", "list", "counter", "inet", "f", "out"), "packets 0 ")

	// With one family, localhost is that one, for UDP as well.
	netnstest.Run(t, "ip", "addr", "add", "127.0.0.1/8", "dev", "lo")
	four := greeter(t, "127.0.0.1:3000")
	assert.Equal(t, four.String(), dialed(t, "tcp", "localhost:3000"))
	c, err := loopback.DialContext(t.Context(), "udp", "localhost:3000")
	require.NoError(t, err)
	assert.Equal(t, "127.0.0.1:3000", c.RemoteAddr().String())
	c.Close()
}

// Connections to one server may take every port that the kernel chooses from.
// Another server can still be connected to, as ports are only in use towards the
// first.
func TestDialContextWhereEveryPortIsInUse(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	netnstest.Sysctl(t, "net/ipv4/ip_local_port_range", "40000 40020")
	for _, addr := range []string{"127.0.0.1", "[::1]"} {
		busy, err := net.Listen("tcp", addr+":3000")
		require.NoError(t, err)
		defer busy.Close()
		for {
			c, err := net.Dial("tcp", busy.Addr().String())
			if err != nil {
				require.ErrorIs(t, err, syscall.EADDRNOTAVAIL)
				break
			}
			defer c.Close()
		}
		other := greeter(t, addr+":3001")
		assert.Equal(t, other.String(), dialed(t, "tcp", other.String()))
		c, err := loopback.DialContext(t.Context(), "udp", other.String())
		require.NoError(t, err)
		c.Close()
	}
}

// A UDP socket that finds no port tells nothing of an address, and TCP has ports
// of its own.
func TestDialContextWhereEveryUDPPortIsInUse(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	fillPorts(t, "udp")
	for _, addr := range []string{"127.0.0.1:3000", "[::1]:3001"} {
		at := greeter(t, addr)
		assert.Equal(t, addr, dialed(t, "tcp", addr))
		r, err := loopback.Probe(t.Context(), at.Port())
		require.NoError(t, err)
		assert.Equal(t, loopback.VerdictSplit, r.Verdict, "the machine has both families")
	}
}

func TestIsSelfSeesTheRoutes(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	netnstest.NewNeighbour(t).Veth(t, "eth0", "192.0.2.10/24", "theirs", "192.0.2.1/24")
	netnstest.Run(t, "ip", "route", "add", "local", "198.51.100.0/24", "dev", "lo") // AnyIP
	netnstest.Run(t, "ip", "route", "add", "blackhole", "10.1.0.0/16")
	for addr, want := range map[string]bool{
		"192.0.2.10": true, "::ffff:192.0.2.10": true, "198.51.100.77": true,
		"192.0.2.1": false, "192.0.2.255": false, "10.1.0.1": false, "203.0.113.1": false, "2001:db8::1": false,
	} {
		self, err := loopback.IsSelf(netip.MustParseAddr(addr))
		require.NoError(t, err, addr)
		assert.Equal(t, want, self, addr)
	}
}

// A rule of policy routing may deliver one protocol, or one port, to this
// machine.
func TestForbidSelfSeesTheRulesOfAProtocol(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	run := func(args ...string) { t.Helper(); netnstest.Run(t, "ip", args...) }
	run("link", "set", "lo", "up")
	netnstest.NewNeighbour(t).Veth(t, "eth0", "192.0.2.10/24", "theirs", "192.0.2.1/24")
	run("addr", "add", "2001:db8::10/64", "dev", "eth0", "nodad")
	for _, family := range []string{"-4", "-6"} {
		run(family, "rule", "add", "ipproto", "tcp", "lookup", "100")
		run(family, "rule", "add", "ipproto", "udp", "dport", "53", "lookup", "101")
	}
	run("route", "add", "local", "198.51.100.0/24", "dev", "lo", "table", "100")
	run("route", "add", "local", "203.0.113.0/24", "dev", "lo", "table", "101")
	run("-6", "route", "add", "local", "2001:db8:1::/48", "dev", "lo", "table", "100")
	run("-6", "route", "add", "local", "2001:db8:2::/48", "dev", "lo", "table", "101")
	server, err := net.Listen("tcp6", "[::]:0")
	require.NoError(t, err)
	defer server.Close()
	at := fmt.Sprintf("[2001:db8:1::7]:%d", server.Addr().(*net.TCPAddr).Port)
	c, err := net.Dial("tcp", at)
	require.NoError(t, err, "the rule leads here")
	c.Close()
	_, err = (&net.Dialer{Control: loopback.ForbidSelf}).Dial("tcp", at)
	assert.ErrorIs(t, err, loopback.ErrSelf)

	for _, a := range []struct{ network, address string }{
		{"tcp4", "198.51.100.7:80"}, {"tcp6", "[::ffff:198.51.100.7]:80"}, {"udp4", "203.0.113.7:53"}, {"udp6", "[2001:db8:2::7]:53"},
	} {
		assert.ErrorIs(t, loopback.ForbidSelf(a.network, a.address, nil), loopback.ErrSelf, a.address)
	}
	for _, a := range []struct{ network, address string }{
		{"udp4", "198.51.100.7:80"}, {"udp4", "203.0.113.7:54"}, {"tcp4", "203.0.113.7:53"}, {"udp6", "[2001:db8:2::7]:54"},
		{"ip4:icmp", "198.51.100.7"}, {"tcp4", "192.0.2.1:80"}, {"udp4", "224.0.0.1:53"},
	} {
		assert.NoError(t, loopback.ForbidSelf(a.network, a.address, nil), a.address)
	}
}

const forbidChild = "LOOPBACK_TEST_FORBID"

// forbidden are the controls, and what each lets through of this machine.
var forbidden = map[string]func(string, string, syscall.RawConn) error{"Forbid": loopback.Forbid, "ForbidSelf": loopback.ForbidSelf}

// No text, no redirect and no name reaches a server of this machine through a
// client with Forbid or ForbidSelf, with either resolver of package net.
func TestForbidHolds(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	n := netnstest.NewNeighbour(t)
	n.Veth(t, "eth0", "10.213.0.10/24", "theirs", "10.213.0.1/24")
	netnstest.Run(t, "ip", "addr", "add", "fd12:3456::10/64", "dev", "eth0", "nodad")
	netnstest.Run(t, "ip", "addr", "add", "fe80::10/64", "dev", "eth0", "nodad")
	netnstest.Run(t, "ip", "route", "add", "local", "198.51.100.0/24", "dev", "lo") // AnyIP
	startEtc(t, "127.0.0.1 in-hosts\n::1 in-hosts6\n0.0.0.0 zero-in-hosts\n")
	writeEtc(t, "nsswitch.conf", nsswitch)
	writeEtc(t, "resolv.conf", "nameserver 127.0.0.53\noptions timeout:1 attempts:1\n")
	dns := newNameServer(t, "127.0.0.53:53")
	dns.set(map[string]string{
		"outside.test": "10.213.0.1", "here.test": "127.0.0.1", "here6.test": "::1", "mapped.test": "::ffff:127.0.0.1", "zero.test": "0.0.0.0",
		"zero6.test": "::", "nat64.test": "64:ff9b::7f00:1", "both.test": "203.0.113.9 127.0.0.1", "alias.test": "cname here.test",
		"lan.test": "10.213.0.10", "lan6.test": "fd12:3456::10", "anyip.test": "198.51.100.3", "mapped-lan.test": "::ffff:10.213.0.10",
	})

	// A server outside sends its visitors to this machine.
	var outside net.Listener
	var err error
	n.Do(func() { outside, err = net.Listen("tcp", "10.213.0.1:80") })
	require.NoError(t, err)
	redirecting := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if to := r.FormValue("to"); to != "" {
			http.Redirect(w, r, to, http.StatusFound)
			return
		}
		io.WriteString(w, "outside")
	})}
	go redirecting.Serve(outside)
	defer redirecting.Close()

	for _, resolver := range []string{"go", "cgo"} {
		t.Run(resolver, func(t *testing.T) {
			if resolver == "cgo" {
				needGlibc(t)
			}
			cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestForbidChild$", "-test.v", "-test.count=1", fmt.Sprintf("-test.short=%v", testing.Short()))
			cmd.Env = append(os.Environ(), forbidChild+"=1", "GODEBUG=netdns="+resolver)
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			require.Contains(t, string(out), "--- PASS: TestForbidChild")
		})
	}
}

func TestForbidChild(t *testing.T) {
	if os.Getenv(forbidChild) == "" {
		t.Skip("only of use to TestForbidHolds")
	}
	var reached atomic.Int32
	ln, err := net.Listen("tcp", ":3000") // both families, every address
	require.NoError(t, err)
	srv := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), ConnState: func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			reached.Add(1)
		}
	}}
	go srv.Serve(ln)
	defer srv.Close()

	get := func(t *testing.T, control func(string, string, syscall.RawConn) error, target string) error {
		t.Helper()
		d := net.Dialer{Control: control, Timeout: 2 * time.Second}
		client := http.Client{Transport: &http.Transport{Proxy: nil, DialContext: d.DialContext, DisableKeepAlives: true}, Timeout: 5 * time.Second}
		resp, err := client.Get(target)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	require.NoError(t, get(t, nil, "http://here.test:3000/"), "this is what has to be stopped")
	require.NoError(t, get(t, nil, "http://alias.test:3000/"))
	require.NoError(t, get(t, nil, "http://anyip.test:3000/"))
	require.NoError(t, get(t, nil, "http://10.213.0.1/?to="+url.QueryEscape("http://127.0.0.1:3000/")))
	require.EqualValues(t, 4, reached.Load())

	urls := []string{"http://in-hosts:3000/", "http://in-hosts6:3000/", "http://zero-in-hosts:3000/", "http://:3000/",
		"http://here.test:3000/", "http://here6.test:3000/", "http://mapped.test:3000/", "http://zero.test:3000/", "http://zero6.test:3000/",
		"http://nat64.test:3000/", "http://both.test:3000/", "http://alias.test:3000/"}
	own := []string{"http://lan.test:3000/", "http://lan6.test:3000/", "http://anyip.test:3000/", "http://mapped-lan.test:3000/", "http://10.213.0.10:3000/",
		"http://[fd12:3456::10]:3000/", "http://[fe80::10%25eth0]:3000/", "http://[fe80::10%25lo]:3000/", "http://198.51.100.200:3000/", "http://[::ffff:10.213.0.10]:3000/"}
	var texts []string
	for i, row := range readHostTexts(t) {
		if testing.Short() && i%8 != 0 {
			continue
		}
		texts = append(texts, row.input)
		switch {
		case strings.HasPrefix(row.input, "http"):
			urls = append(urls, row.input)
		case !strings.ContainsAny(row.input, "/?#@"):
			urls = append(urls, "http://"+row.input+":3000/", "http://["+row.input+"]:3000/")
		}
	}
	for name, control := range forbidden {
		t.Run(name, func(t *testing.T) {
			reached.Store(0)
			require.NoError(t, get(t, control, "http://outside.test/"), "another machine")
			check := func(what string) {
				if n := reached.Swap(0); n > 0 {
					t.Errorf("%s reached this machine", what)
				}
			}
			for _, target := range urls {
				get(t, control, target)
				check(target)
				get(t, control, "http://outside.test/?to="+url.QueryEscape(target))
				check("a redirect to " + target)
			}
			if name == "ForbidSelf" {
				for _, target := range own {
					assert.ErrorIs(t, get(t, control, target), loopback.ErrSelf, target)
					check(target)
				}
			}
			for _, text := range texts { // as they are, for a client that is no HTTP client
				for _, address := range []string{text, text + ":3000", "[" + text + "]:3000"} {
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
					for _, network := range []string{"tcp", "tcp4", "tcp6"} {
						d := net.Dialer{Control: control}
						if c, err := d.DialContext(ctx, network, address); err == nil {
							c.Close()
						}
					}
					cancel()
					check(fmt.Sprintf("dialling %q", address))
				}
			}
			d := net.Dialer{Control: control}
			_, err := d.DialContext(t.Context(), "unix", "/nowhere.sock")
			assert.ErrorIs(t, err, loopback.ErrSelf)
		})
	}
}

// A name that is somebody else's when it is looked up, and this machine when it
// is dialled.
func TestForbidHoldsThoughTheNameChanges(t *testing.T) {
	s := &nameServer{zone: map[string]string{"rebind.test": "192.0.2.1"}}
	resolver := s.resolver(t)
	ap := greeter(t, "127.0.0.1:0")
	addrs, err := resolver.LookupHost(t.Context(), "rebind.test")
	require.NoError(t, err)
	require.Equal(t, []string{"192.0.2.1"}, addrs)
	s.set(map[string]string{"rebind.test": "127.0.0.1"})
	for name, control := range forbidden {
		d := net.Dialer{Control: control, Resolver: resolver}
		_, err := d.DialContext(t.Context(), "tcp", "rebind.test:"+strconv.Itoa(int(ap.Port())))
		assert.ErrorIs(t, err, loopback.ErrSelf, name)
	}
}

// Where the kernel cannot be asked, no address passes ForbidSelf.
func TestForbidSelfRefusesWhereItCannotAsk(t *testing.T) {
	if runtime.GOARCH == "386" {
		t.Skip("on 386 sockets are made by socketcall(2), which no filter can look into")
	}
	if !inChild(t) {
		return
	}
	refuseSocket(t, syscall.AF_NETLINK)
	assert.ErrorIs(t, loopback.ForbidSelf("tcp", "203.0.113.1:80", nil), loopback.ErrSelf)
	assert.NoError(t, loopback.Forbid("tcp", "203.0.113.1:80", nil))
	_, err := loopback.IsSelf(netip.MustParseAddr("203.0.113.1"))
	_, ok := errors.AsType[syscall.Errno](err)
	assert.True(t, ok, "%v", err)
	assert.EqualError(t, err, "loopback: asking for the route to 203.0.113.1: socket: address family not supported by protocol")
	assert.EqualError(t, loopback.ForbidSelf("udp", "203.0.113.1:80", nil), `udp "203.0.113.1:80": `+loopback.ErrSelf.Error()+": socket: address family not supported by protocol")
}
