package loopback_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
)

func TestDialContextReachesEitherFamily(t *testing.T) {
	needIPv6(t)
	for _, addr := range []string{"127.0.0.1", "::1"} {
		ap := greeter(t, net.JoinHostPort(addr, "0"))
		port := strconv.Itoa(int(ap.Port()))
		for _, host := range []string{"localhost", "LocalHost.", "db.localhost", "", addr} {
			assert.Equal(t, ap.String(), dialed(t, "tcp", net.JoinHostPort(host, port)), host)
		}
	}
}

func TestDialContextPrefersIPv6(t *testing.T) {
	ln, err := new(loopback.ListenConfig).Listen(t.Context(), "tcp", ":0")
	require.NoError(t, err)
	defer ln.Close()
	if len(ln.AddrPorts()) != 2 {
		t.Skipf("needs both families: %v", ln.Bindings())
	}
	for network, want := range map[string]string{"tcp": "::1", "tcp4": "127.0.0.1", "tcp6": "::1"} {
		c, err := loopback.DialContext(t.Context(), network, "localhost:"+strconv.Itoa(int(ln.Port())))
		require.NoError(t, err)
		assert.Equal(t, want, c.RemoteAddr().(*net.TCPAddr).IP.String(), network)
		assert.IsType(t, (*net.TCPConn)(nil), c, "sendfile and splice")
		c.Close()
	}
}

func TestDialContextReadsLiterals(t *testing.T) {
	ap := greeter(t, "127.0.0.1:0")
	port := ":" + strconv.Itoa(int(ap.Port()))
	for _, host := range []string{"127.0.0.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1%lo]"} {
		assert.Equal(t, ap.String(), dialed(t, "tcp", host+port), host)
		assert.Equal(t, ap.String(), dialed(t, "tcp4", host+port), host)
	}
}

func TestDialContextRefusesWithoutAsking(t *testing.T) {
	for _, tt := range []struct{ network, address string }{
		{"tcp", "example.com:80"}, {"tcp", "localhost.example:80"}, {"tcp", "192.0.2.1:80"}, {"tcp", "0.0.0.0:80"}, {"tcp", "[::]:80"},
		{"tcp", "[::ffff:0.0.0.0]:80"}, {"tcp", "[64:ff9b::7f00:1]:80"}, {"tcp", "127.1:80"}, {"tcp", "0x7f.0.0.1:80"}, {"tcp", "2130706433:80"},
		{"tcp", "localhost..:80"}, {"tcp", "a..localhost:80"}, {"tcp", "[fe80::1%lo]:80"},
		{"udp", "192.0.2.1:53"}, {"udp", "255.255.255.255:53"}, {"udp", "224.0.0.1:53"},
		{"tcp6", "127.0.0.1:80"}, {"tcp4", "[::1]:80"}, {"tcp6", "[::ffff:127.0.0.1]:80"}, {"udp4", "[::1]:53"},
		{"unix", "/run/x.sock"}, {"ip", "127.0.0.1"}, {"ip4:icmp", "127.0.0.1"}, {"", "127.0.0.1:80"}, {"tcp5", "127.0.0.1:80"}, {"TCP", "127.0.0.1:80"}, {"tcpudp", "127.0.0.1:80"},
	} {
		c, err := loopback.DialContext(t.Context(), tt.network, tt.address)
		assert.Nil(t, c)
		assert.ErrorIs(t, err, loopback.ErrNotLoopback, "%s %s", tt.network, tt.address)
		op, ok := err.(*net.OpError)
		require.True(t, ok, "%s %s", tt.network, tt.address)
		assert.Equal(t, "dial", op.Op)
		assert.Equal(t, tt.network, op.Net)
	}
}

func TestDialContextNamesBadInput(t *testing.T) {
	for address, want := range map[string]string{
		"localhost":         `dial tcp: address "localhost": missing port`,
		"":                  `dial tcp: address "": missing port`,
		"localhost:99999":   `address "99999": invalid port`,
		"localhost:no-such": "unknown port",
		"127.0.0.1:-1":      "invalid port",
		"localhost:\n\x1b":  `\n\x1b": unknown port`,
	} {
		c, err := loopback.DialContext(t.Context(), "tcp", address)
		assert.Nil(t, c)
		assert.ErrorContains(t, err, want, address)
		assert.IsType(t, (*net.OpError)(nil), err)
	}
	long := strings.Repeat("1", 10_000)
	for _, address := range []string{long, "localhost:" + long, "localhost:x" + long} {
		_, err := loopback.DialContext(t.Context(), "tcp", address)
		require.Error(t, err)
		assert.Less(t, len(err.Error()), 300)
		_, err = loopback.Listen("tcp", address)
		require.Error(t, err)
		assert.Less(t, len(err.Error()), 300)
	}
}

// What comes from outside is quoted and cut off, not within a character.
func TestErrorsQuoteTheirInput(t *testing.T) {
	a := strings.Repeat("a", 60)
	for input, want := range map[string]string{
		a + "aaaa":                        `"` + a + `aaaa"`,
		a + "aaaaa":                       `"` + a + `aaaa"...`,
		a + "aaa\u00e9":                   `"` + a + `aaa"...`,
		a + "aa\u00e9":                    `"` + a + `aaé"`,
		a + "aa\u00e9a":                   `"` + a + `aaé"...`,
		a + "aa\U0001f600":                `"` + a + `aa"...`,
		a + "a\U0001f600":                 `"` + a + `a"...`,
		a + strings.Repeat("\x80", 9):     `"` + a + `"...`,
		"\x00\n" + a + "\x1b[1maaaaaaaaa": `"\x00\n` + a + `\x1b["...`,
	} {
		_, err := loopback.DialContext(t.Context(), "tcp", input)
		assert.EqualError(t, err, "dial tcp: address "+want+": missing port")
		assert.EqualError(t, loopback.Require("tcp", input, nil), "tcp "+want+": loopback: not a loopback address")
	}
}

// The texts of the errors that callers tell apart.
func TestErrorTexts(t *testing.T) {
	for want, err := range map[string]error{
		"loopback: not a loopback address":                         loopback.ErrNotLoopback,
		"loopback: the address is, or may be, one of this machine": loopback.ErrSelf,
		"loopback: not enough addresses":                           loopback.ErrFewAddrs,
		"loopback: the peer is gone":                               loopback.ErrPeerGone,
		"loopback: the user of the peer is not known":              loopback.ErrPeerUnknown,
		"loopback: connection refused by policy":                   loopback.ErrRefused,
	} {
		assert.EqualError(t, err, want)
	}
}

func TestDialContextNamesEveryAttempt(t *testing.T) {
	needIPv6(t)
	port := strconv.Itoa(int(freePort(t)))
	_, err := loopback.DialContext(t.Context(), "tcp", "localhost:"+port)
	if runtime.GOOS == "windows" {
		t.Skip("Winsock has a number and a text of its own for a refused connection")
	}
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	op, ok := err.(*net.OpError)
	require.True(t, ok)
	assert.Equal(t, "dial tcp: [::1]:"+port+": connect: connection refused; 127.0.0.1:"+port+": connect: connection refused", err.Error())
	assert.False(t, op.Timeout())
	list, ok := op.Err.(interface{ Unwrap() []error })
	require.True(t, ok)
	var addrs []string
	for _, err := range list.Unwrap() {
		addrs = append(addrs, err.(*net.OpError).Addr.String())
	}
	assert.Equal(t, []string{"[::1]:" + port, "127.0.0.1:" + port}, addrs)

	_, err = loopback.DialContext(t.Context(), "tcp", "127.0.0.1:"+port)
	assert.EqualError(t, err, "dial tcp 127.0.0.1:"+port+": connect: connection refused", "a literal needs no list")
}

func TestDialContextEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, address := range []string{"localhost:80", "127.0.0.1:80"} {
		c, err := loopback.DialContext(ctx, "tcp", address)
		assert.Nil(t, c)
		assert.ErrorContains(t, err, "operation was canceled", address)
		assert.IsType(t, (*net.OpError)(nil), err)
	}
}

func TestDialContextUDP(t *testing.T) {
	pc, err := loopback.ListenPacket("udp", ":0")
	require.NoError(t, err)
	defer pc.Close()
	c, err := loopback.DialContext(t.Context(), "udp", "localhost:"+strconv.Itoa(int(pc.Port())))
	require.NoError(t, err)
	defer c.Close()
	want := "::1"
	if len(pc.AddrPorts()) == 1 {
		want = pc.AddrPorts()[0].Addr().String()
	}
	assert.Equal(t, want, c.RemoteAddr().(*net.UDPAddr).IP.String())
	_, err = io.WriteString(c, "hello")
	require.NoError(t, err)
	pc.SetDeadline(time.Now().Add(patience))
	b := make([]byte, 16)
	n, _, err := pc.ReadFrom(b)
	require.NoError(t, err)
	assert.Equal(t, "hello", string(b[:n]))
}

// The functions that it is made to fit.
func TestDialContextFits(t *testing.T) {
	var _ func(context.Context, string, string) (net.Conn, error) = loopback.DialContext // pgx, go-redis, mysql.Config.DialFunc
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "here") }))
	defer srv.Close()
	client := http.Client{Transport: &http.Transport{DialContext: loopback.DialContext}}
	defer client.CloseIdleConnections()
	_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	require.NoError(t, err)
	resp, err := client.Get("http://app.localhost:" + port)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Equal(t, "here", string(body))
	_, err = client.Get("http://192.0.2.1:" + port)
	assert.ErrorIs(t, err, loopback.ErrNotLoopback)
}

func TestForbidRefusesLoopbackAlone(t *testing.T) {
	for _, tt := range []struct {
		network, address string
		refused          bool
	}{
		{"tcp4", "127.0.0.1:80", true}, {"tcp4", "127.255.255.255:80", true}, {"tcp6", "[::1]:80", true}, {"tcp6", "[::1%lo]:80", true},
		{"tcp6", "[::ffff:127.0.0.1]:80", true}, {"tcp6", "[::ffff:127.9.9.9%eth0]:80", true},
		{"tcp4", "0.0.0.0:80", true}, {"tcp6", "[::]:80", true}, {"tcp6", "[::%1]:80", true}, {"tcp6", "[::ffff:0.0.0.0]:80", true},
		{"tcp6", "[::127.0.0.1]:80", true}, {"tcp6", "[64:ff9b::7f00:1]:80", true}, {"tcp6", "[2002:7f00:1::]:80", true},
		{"tcp6", "[64:ff9b::]:80", true}, {"tcp6", "[::ffff:0:127.0.0.1]:80", true},
		{"udp4", "127.0.0.1:53", true}, {"udp6", "[::1]:53", true},
		{"ip4", "127.0.0.1", true}, {"ip4:icmp", "127.0.0.1", true}, {"ip6", "::1", true}, {"ip6", "::1%lo", true}, {"ip4", "192.0.2.1", false},
		{"unix", "/run/docker.sock", true}, {"unix", "192.0.2.1:80", true}, {"unixgram", "@x", true}, {"unixpacket", "", true},
		{"tcp4", "", true}, {"tcp4", ":80", true}, {"tcp4", "127.0.0.1", true}, {"tcp4", "localhost:80", true}, {"tcp4", "example.com:80", true},
		{"tcp4", "127.1:80", true}, {"tcp4", "192.0.2.1", true}, {"tcp4", "1.2.3.4.5:80", true}, {"", "", true}, {"ip4", "", true}, {"ip4", "192.0.2.1:80", true},
		{"tcp4", "192.0.2.1:80", false}, {"tcp4", "10.0.0.1:80", false}, {"tcp4", "169.254.169.254:80", false}, {"tcp4", "128.0.0.1:80", false},
		{"tcp6", "[2001:db8::1]:80", false}, {"tcp6", "[fe80::1%eth0]:80", false}, {"tcp6", "[::2]:80", false}, {"tcp6", "[64:ff9b::192.0.2.1]:80", false},
		{"udp4", "255.255.255.255:9", false}, {"udp4", "224.0.0.1:9", false},
	} {
		err := loopback.Forbid(tt.network, tt.address, nil)
		if !tt.refused {
			assert.NoError(t, err, "%s %s", tt.network, tt.address)
			continue
		}
		assert.ErrorIs(t, err, loopback.ErrSelf, "%s %s", tt.network, tt.address)
		assert.ErrorIs(t, loopback.ForbidSelf(tt.network, tt.address, nil), loopback.ErrSelf, "%s %s", tt.network, tt.address)
	}
	const refused = `loopback: the address is, or may be, one of this machine: `
	assert.EqualError(t, loopback.Forbid("tcp4", "a\nb", nil), `tcp4 "a\nb": `+refused+"no IP address")
	assert.EqualError(t, loopback.ForbidSelf("unix", "/run/\x00", nil), `unix "/run/\x00": `+refused+"no IP address")
	for address, kind := range map[string]string{"127.0.0.1:80": "IPv4", "[::1]:80": "IPv6", "[::ffff:127.0.0.1]:80": "mapped", "0.0.0.0:80": "unspecified", "[::127.0.0.1]:80": "embedded"} {
		assert.EqualError(t, loopback.Forbid("tcp", address, nil), "tcp "+strconv.Quote(address)+": "+refused+"its kind is "+kind)
	}
	long := loopback.Forbid("tcp", strings.Repeat("x", 1<<20), nil)
	assert.Less(t, len(long.Error()), 300, "no error grows with its input")
}

func TestForbidSelfRefusesOwnAddresses(t *testing.T) {
	n := 0
	for _, addr := range ownAddrs(t) {
		if loopback.KindOf(addr) != loopback.KindNone {
			continue
		}
		n++
		self, err := loopback.IsSelf(addr)
		require.NoError(t, err)
		assert.True(t, self, "%v", addr)
		ap := netip.AddrPortFrom(addr, 80).String()
		assert.NoError(t, loopback.Forbid("tcp", ap, nil), "%v", addr)
		assert.ErrorIs(t, loopback.ForbidSelf("tcp", ap, nil), loopback.ErrSelf, "%v", addr)
		mapped := netip.AddrPortFrom(netip.AddrFrom16(addr.As16()), 80).String()
		assert.EqualError(t, loopback.ForbidSelf("tcp", mapped, nil), "tcp "+strconv.Quote(mapped)+": "+loopback.ErrSelf.Error()+": routing delivers it here")
		self, err = loopback.IsSelf(netip.AddrFrom16(addr.As16()))
		require.NoError(t, err)
		assert.True(t, self, "%v", mapped)
	}
	t.Logf("%d addresses that are not loopback", n)
	assert.NoError(t, loopback.ForbidSelf("tcp", "203.0.113.99:80", nil))
}

// ownAddrs returns the addresses of the interfaces that are up.
func ownAddrs(t *testing.T) (addrs []netip.Addr) {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Skipf("package net cannot ask: %v", err)
	}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			addrs = append(addrs, p.Addr().Unmap())
		}
	}
	return addrs
}

func TestIsSelfOfWhatNeedsNoAsking(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1": true, "127.200.0.9": true, "::1": true, "::1%lo": true, "::ffff:127.0.0.1": true,
		"0.0.0.0": true, "::": true, "::ffff:0.0.0.0": true,
		"224.0.0.1": false, "::ffff:224.0.0.1": false, "ff02::1%lo": false,
	} {
		self, err := loopback.IsSelf(netip.MustParseAddr(addr))
		assert.NoError(t, err, addr)
		assert.Equal(t, want, self, addr)
	}
	self, err := loopback.IsSelf(netip.Addr{})
	assert.False(t, self)
	assert.EqualError(t, err, "loopback: the zero Addr is no address")
}

func TestForbidIsADialControl(t *testing.T) {
	ap := greeter(t, "127.0.0.1:0")
	for name, control := range map[string]func(string, string, syscall.RawConn) error{"Forbid": loopback.Forbid, "ForbidSelf": loopback.ForbidSelf} {
		d := net.Dialer{Control: control}
		c, err := d.DialContext(t.Context(), "tcp", ap.String())
		assert.Nil(t, c)
		assert.ErrorIs(t, err, loopback.ErrSelf, name)
		_, ok := errors.AsType[*net.OpError](err)
		assert.True(t, ok, name)
	}
}

func BenchmarkForbid(b *testing.B) {
	for name, control := range map[string]func(string, string, syscall.RawConn) error{"Forbid": loopback.Forbid, "ForbidSelf": loopback.ForbidSelf} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if control("tcp4", "203.0.113.99:443", nil) != nil {
					b.Fatal("refused")
				}
			}
		})
	}
	ap := netip.MustParseAddrPort("127.0.0.1:9")
	b.Run("dial that is refused", func(b *testing.B) { // what a Control is a part of
		for b.Loop() {
			c, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(ap))
			if err == nil {
				c.Close()
			}
		}
	})
}

// An attempt is what comes of connecting to an address.
type attempt struct {
	takes time.Duration
	fails error
}

// raced is a connection of a race.
type raced struct {
	net.Conn
	to     string
	closed bool
}

func (c *raced) Close() error {
	c.closed = true
	return nil
}

// The first address that answers wins. Where one is slow, or fails, the next is
// tried, TCP beside it. What connects too late is closed, and nothing goes on.
func TestRace(t *testing.T) {
	const six, four = "[::1]:80", "127.0.0.1:80"
	const delay = 100 * time.Millisecond
	refused, other := errors.New("refused"), errors.New("other")
	for _, tt := range []struct {
		name     string
		network  string
		attempts map[string]attempt
		winner   string
		takes    time.Duration
		started  map[string]time.Duration
		errs     []error // if there is no winner
	}{
		{"at once", "tcp", map[string]attempt{six: {}, four: {}}, six, 0, map[string]time.Duration{six: 0}, nil},
		{"just in time", "tcp", map[string]attempt{six: {takes: delay - 1}, four: {}}, six, delay - 1, map[string]time.Duration{six: 0}, nil},
		{"slow", "tcp", map[string]attempt{six: {takes: time.Hour}, four: {takes: 1}}, four, delay + 1,
			map[string]time.Duration{six: 0, four: delay}, nil},
		{"the other is slower", "tcp6", map[string]attempt{six: {takes: 2 * delay}, four: {takes: time.Hour}}, six, 2 * delay,
			map[string]time.Duration{six: 0, four: delay}, nil},
		{"refused", "tcp", map[string]attempt{six: {takes: 1, fails: refused}, four: {takes: 2}}, four, 3,
			map[string]time.Duration{six: 0, four: 1}, nil},
		{"refused, by UDP", "udp4", map[string]attempt{six: {takes: 1, fails: refused}, four: {takes: 2}}, four, 3,
			map[string]time.Duration{six: 0, four: 1}, nil},
		{"refused late", "tcp", map[string]attempt{six: {takes: 2 * delay, fails: refused}, four: {takes: 2 * delay}}, four, 3 * delay,
			map[string]time.Duration{six: 0, four: delay}, nil},
		{"both fail", "tcp", map[string]attempt{six: {takes: time.Hour, fails: refused}, four: {fails: other}}, "", time.Hour,
			map[string]time.Duration{six: 0, four: delay}, []error{refused, other}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				started := map[string]time.Duration{}
				addrs := []netip.AddrPort{netip.MustParseAddrPort(six), netip.MustParseAddrPort(four)}
				var mu sync.Mutex
				running := 0
				count := func(n int) {
					mu.Lock()
					defer mu.Unlock()
					running += n
				}
				won, errs := loopback.Race(t.Context(), tt.network, addrs, func(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
					assert.Equal(t, tt.network, network)
					mu.Lock()
					started[to.String()] = time.Since(begin)
					mu.Unlock()
					count(1)
					defer count(-1)
					a := tt.attempts[to.String()]
					select {
					case <-ctx.Done():
						return nil, ctx.Err()
					case <-time.After(a.takes):
					}
					if a.fails != nil {
						return nil, a.fails
					}
					return &raced{to: to.String()}, nil
				})
				if tt.winner == "" {
					assert.Nil(t, won)
					assert.Equal(t, tt.errs, errs)
				} else if c, ok := won.(*raced); assert.True(t, ok) {
					assert.Equal(t, tt.winner, c.to)
					assert.False(t, c.closed)
				}
				assert.Equal(t, tt.takes, time.Since(begin))
				assert.Equal(t, tt.started, started)
				assert.Zero(t, running, "an attempt goes on")
			})
		})
	}
}

// Of two connections at the same time, one is closed.
func TestRaceClosesWhatIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var conns []*raced
		addrs := []netip.AddrPort{netip.MustParseAddrPort("[::1]:80"), netip.MustParseAddrPort("127.0.0.1:80")}
		won, _ := loopback.Race(t.Context(), "tcp", addrs, func(context.Context, string, netip.AddrPort) (net.Conn, error) {
			c := &raced{}
			mu.Lock()
			conns = append(conns, c)
			first := len(conns) == 1
			mu.Unlock()
			if first {
				time.Sleep(time.Hour) // and does not look at its context
			}
			return c, nil
		})
		if assert.Len(t, conns, 2) {
			assert.Same(t, conns[1], won)
			assert.False(t, conns[1].closed)
			assert.True(t, conns[0].closed)
		}
	})
}
