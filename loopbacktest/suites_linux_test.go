package loopbacktest_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
	"example.com/loopback/internal/netnstest"
	"example.com/loopback/loopbacktest"
)

// addAddrs gives the loopback interface addresses.
func addAddrs(t *testing.T, addrs ...string) {
	t.Helper()
	for _, addr := range addrs {
		netnstest.Run(t, "ip", "addr", "add", addr, "dev", "lo")
	}
}

// The resolver of package net puts a loopback address before all but the IPv6
// addresses of a machine that has such an address.
func TestTestForbidFindsACheckOfTheFirstAnswerAlone(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	addAddrs(t, "2001:db8::1/128", "fd00::1/128", "10.1.2.3/32")
	first := checkThenDial(func(ips []net.IP) bool { return !isLocal(ips[0]) }, byIP)
	assert.ErrorContains(t, loopbacktest.TestForbid(t.Context(), first), "tcp own6.loopbacktest.test")
	assert.NoError(t, loopbacktest.TestForbid(t.Context(), checkThenDial(all(isLocal), byIP)))
	own := ""
	assert.NoError(t, loopbacktest.TestForbid(t.Context(), func(ctx context.Context, network, address string) (net.Conn, error) {
		if host, _, _ := net.SplitHostPort(address); strings.HasPrefix(host, "own") {
			for range 2 {
				addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
				require.NoError(t, err)
				slices.SortFunc(addrs, netip.Addr.Compare)
				own += fmt.Sprint(network, " ", host, addrs, "\n")
			}
		}
		return nil, net.ErrClosed
	}))
	assert.Equal(t, `tcp own.loopbacktest.test[10.1.2.3]
tcp own.loopbacktest.test[127.0.0.1]
udp own.loopbacktest.test[10.1.2.3]
udp own.loopbacktest.test[127.0.0.1]
tcp own6.loopbacktest.test[127.0.0.1 2001:db8::1]
tcp own6.loopbacktest.test[127.0.0.1 2001:db8::1]
udp own6.loopbacktest.test[127.0.0.1 2001:db8::1]
udp own6.loopbacktest.test[127.0.0.1 2001:db8::1]
`, own)
}

// Linux has a route to 0.0.0.1 as to any other address. What a dial function may
// connect to sends nothing there, and a hole is found all the same.
func TestNothingIsSentOut(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	netnstest.NeedNFT(t)
	netnstest.NewNeighbour(t).Veth(t, "eth0", "10.1.2.3/24", "theirs", "10.1.2.1/24")
	netnstest.Run(t, "ip", "addr", "add", "fd00::10/64", "dev", "eth0", "nodad")
	netnstest.Run(t, "ip", "route", "add", "default", "via", "10.1.2.1")
	netnstest.Run(t, "ip", "-6", "route", "add", "default", "via", "fd00::1", "dev", "eth0")
	addAddrs(t, "10.9.9.9/32") // an address of this machine, to which there is no local route, as of a VRF
	netnstest.Run(t, "ip", "route", "del", "table", "local", "local", "10.9.9.9", "dev", "lo")
	netnstest.Run(t, "nft", "table inet f { counter out { }; chain out { type filter hook output priority 0; oif eth0 meta l4proto { tcp, udp } counter name out; }; }")
	public := func(ip net.IP) bool { return ip.IsGlobalUnicast() && !ip.IsPrivate() }
	others := all(func(ip net.IP) bool { return !public(ip) })
	for _, dial := range []dialFunc{(&net.Dialer{Control: loopback.Forbid}).DialContext, checkThenDial(all(isLocal), byIP), checkThenDial(others, byIP)} {
		assert.NoError(t, loopbacktest.TestForbid(t.Context(), dial))
	}
	assert.ErrorContains(t, loopbacktest.TestForbid(t.Context(), plain.DialContext), "tcp 127.0.0.1:")
	assert.ErrorContains(t, loopbacktest.TestForbid(t.Context(), checkThenDial(all(isLocal), byName)), "tcp rebind.loopbacktest.test")
	assert.ErrorContains(t, loopbacktest.TestForbid(t.Context(), checkThenDial(others, byName)), "udp rebind.loopbacktest.test")
	assert.NoError(t, loopbacktest.TestListener(loopbacktest.Listen(t)))
	assert.Contains(t, netnstest.Run(t, "nft", "list", "counter", "inet", "f", "out"), "packets 0 ")
}

// Linux has all of 127.0.0.0/8, and there is a server of the suite on each
// address that it dials.
func TestTestForbidHasAServerOnEachAddress(t *testing.T) {
	requireNothingLeft(t)
	found := map[string]string{}
	for _, f := range failuresOf(t, loopbacktest.TestForbid(t.Context(), (&net.Dialer{}).DialContext)) {
		at := strings.LastIndex(f.Input, ":")
		got, ok := strings.CutSuffix(f.Got, f.Input[at+1:])
		assert.True(t, ok, "%v", f)
		found[f.Input[:at]] = got
	}
	for host, at := range map[string]string{
		"127.0.0.1": "127.0.0.1", "127.0.0.2": "127.0.0.2", "127.0.1.1": "127.0.1.1", "127.255.255.254": "127.255.255.254",
		"[::ffff:127.0.0.2]": "127.0.0.2", "0.0.0.0": "127.0.0.1", "[::1]": "[::1]", "[::1%lo]": "[::1]",
		"other.loopbacktest.test": "127.0.0.2", "moved.loopbacktest.test": "127.0.0.1",
	} {
		if at == "[::1]" && !haveIPv6() {
			continue
		}
		assert.Equal(t, "a connection to "+at+":", found["tcp "+host], host)
		if host != "moved.loopbacktest.test" {
			assert.Equal(t, "a connection to UDP port ", found["udp "+host], host)
		}
	}
}

func haveIPv6() bool {
	ln, err := net.Listen("tcp", "[::1]:0")
	if err == nil {
		ln.Close()
	}
	return err == nil
}

// A server of the suite that no longer works ends it: it would see nothing.
func TestTestForbidNoticesThatItsServersAreGone(t *testing.T) {
	requireNothingLeft(t)
	calls := 0
	err := loopbacktest.TestForbid(t.Context(), func(_ context.Context, _, address string) (net.Conn, error) {
		calls++
		own, err := loopback.Sockets()
		require.NoError(t, err)
		for _, s := range own {
			if s.Network == "tcp" && strings.HasSuffix(address, fmt.Sprint(":", s.Addr.Port())) {
				require.NoError(t, syscall.Shutdown(s.FD, syscall.SHUT_RD))
			}
		}
		return nil, net.ErrClosed
	})
	assert.Equal(t, 1, calls)
	assert.ErrorIs(t, err, syscall.ECONNREFUSED)
	assert.Regexp(t, `^loopbacktest: TestForbid: not all was dialled: dial tcp 127\.0\.0\.1:\d+: connect: connection refused$`, err.Error())
}

// A fatal is a testing.TB that ends with a text in place of the test. It counts
// the calls of Helper.
type fatal struct {
	testing.TB
	text    string
	helpers int
	cleanup func()
}

func (f *fatal) Helper()                { f.helpers++ }
func (f *fatal) Cleanup(cleanup func()) { f.cleanup = cleanup }
func (f *fatal) Fatalf(format string, args ...any) {
	f.text = "fatal: " + fmt.Sprintf(format, args...)
	panic(f)
}
func (f *fatal) Skipf(format string, args ...any) {
	f.text = "skip: " + fmt.Sprintf(format, args...)
	panic(f)
}

func TestOnAMachineWithoutLoopbackAddresses(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	netnstest.Run(t, "ip", "addr", "flush", "dev", "lo")
	requireNothingLeft(t)
	const none = "listen tcp: listen tcp4 127.0.0.1:0: bind: cannot assign requested address; listen tcp6 [::1]:0: bind: cannot assign requested address"
	assert.EqualError(t, loopbacktest.TestHandler(hello), "loopbacktest: TestHandler: "+none)
	assert.EqualError(t, loopbacktest.TestForbid(t.Context(), (&net.Dialer{}).DialContext), "loopbacktest: TestForbid: "+none)
	for want, use := range map[string]func(t testing.TB){
		"fatal: loopbacktest: " + none:                                   func(t testing.TB) { loopbacktest.Listen(t) },
		"fatal: loopbacktest: " + strings.ReplaceAll(none, "tcp", "udp"): func(t testing.TB) { loopbacktest.ListenPacket(t) },
		"skip: loopbacktest: needs an address of 127.0.0.0/8 to lease: loopback: acquire 1 addresses: loopback: not enough addresses: 0 available; of those tried, " +
			"256 are not configured on this machine (bind: cannot assign requested address)": func(t testing.TB) { loopbacktest.Addr(t) },
	} {
		f := &fatal{TB: t}
		assert.PanicsWithValue(t, f, func() { use(f) })
		assert.Equal(t, want, f.text)
		assert.Equal(t, 1, f.helpers)
		assert.Nil(t, f.cleanup)
	}
}

// A failure is shown at the line of the test that called.
func TestHelpersAreMarked(t *testing.T) {
	requireNothingLeft(t)
	for _, use := range []func(t testing.TB){
		func(t testing.TB) { loopbacktest.Listen(t) }, func(t testing.TB) { loopbacktest.ListenPacket(t) }, func(t testing.TB) { loopbacktest.Addr(t) },
	} {
		f := &fatal{TB: t}
		use(f)
		assert.Equal(t, 2, f.helpers)
		f.cleanup()
	}
}

// Where a socket is bound to every interface, the suite names each address of the
// machine that it answers at.
func TestTestListenerNamesTheAddresses(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	requireNothingLeft(t)
	hidden := wrapped{Listener: listenOn(t, "tcp", ":0")}
	got := append([]string{"every interface, hidden, where there is no other address:"}, withoutNumbers(loopbacktest.TestListener(hidden))...)
	addAddrs(t, "192.0.2.1/32", "2001:db8::1/128", "fe80::1/64")
	for _, tt := range listenerFaults() {
		if !strings.HasPrefix(tt.name, "every interface") {
			continue
		}
		ln := tt.impl(t)
		said := withoutNumbers(loopbacktest.TestListener(ln))
		slices.Sort(said) // the kernel lists addresses in any order
		got = append(append(got, tt.name+":"), said...)
		ln.Close()
	}
	ln := loopbacktest.Listen(t)
	for _, other := range []string{"192.0.2.1", "[2001:db8::1]"} { // of this process, so that it counts
		listenOn(t, "tcp", fmt.Sprint(other, ":", ln.Port()))
	}
	said := withoutNumbers(loopbacktest.TestListener(ln))
	slices.Sort(said)
	got = append(append(got, "others with the port:"), said...)
	assertAsked(t, "wildcard_failures.txt", got, none)

	// A port of another program is not the listener's.
	netnstest.NeedNFT(t)
	ln = loopbacktest.Listen(t)
	other := listenOn(t, "tcp", "192.0.2.1:0")
	udp, err := net.ListenPacket("udp4", fmt.Sprint("192.0.2.1:", ln.Port()))
	require.NoError(t, err)
	defer udp.Close()
	netnstest.Run(t, "nft", fmt.Sprintf("table ip nat { chain out { type nat hook output priority -100; ip daddr 192.0.2.1 tcp dport %d dnat to 192.0.2.1:%d; }; }",
		ln.Port(), other.Addr().(*net.TCPAddr).Port))
	c, err := net.Dial("tcp", fmt.Sprint("192.0.2.1:", ln.Port()))
	require.NoError(t, err)
	c.Close()
	assert.NoError(t, loopbacktest.TestListener(ln))
}

// A lack of descriptors does not make the suite pass over an address.
func TestTestListenerWithoutDescriptors(t *testing.T) {
	if testing.Short() {
		t.Skip("waits until Accept is given up")
	}
	ln := listenOn(t, "tcp", "127.0.0.1:0")
	var before syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before))
	few := before
	few.Cur = uint64(max(64, 2*descriptors()))
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few))
	var open []*os.File
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			break
		}
		open = append(open, f)
	}
	none := loopbacktest.TestListener(ln)
	open[0].Close()
	one := loopbacktest.TestListener(ln)
	for _, f := range open[1:] {
		f.Close()
	}
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before))
	assert.ErrorContains(t, none, "too many open files, want a connection")
	assert.ErrorContains(t, one, "want a connection")
}
