package loopbacktest_test

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
	"example.com/loopback/loopbacktest"
)

// skipSlow skips what shows the same on every system where it takes minutes: on
// Windows an audit of the process is slow if the table names no owners.
func skipSlow(t *testing.T) {
	t.Helper()
	if testing.Short() && runtime.GOOS == "windows" {
		t.Skip("takes minutes here, and shows the same on every system")
	}
}

func TestTestIsAcceptsRightOnes(t *testing.T) {
	requireNothingLeft(t)
	assert.NoError(t, loopbacktest.TestIs(loopback.Is))
	assert.NoError(t, loopbacktest.TestIs(netip.Addr.IsLoopback))
	assert.NoError(t, loopbacktest.TestIs(func(a netip.Addr) bool { return a.IsValid() && net.IP(a.AsSlice()).IsLoopback() }))
	assert.NoError(t, loopbacktest.TestIs(func(a netip.Addr) bool { // by its bytes
		if !a.IsValid() {
			return false
		}
		if a = a.Unmap(); a.Is4() {
			return a.As4()[0] == 127
		}
		return a.As16() == [16]byte{15: 1}
	}))
	text := regexp.MustCompile(`^((::ffff:)?127\.\d+\.\d+\.\d+|::1)(%.*)?$`)
	assert.NoError(t, loopbacktest.TestIs(func(a netip.Addr) bool { return text.MatchString(a.String()) }))
}

// The addresses of this machine are those of the loopback interface, too.
func TestTestIsFindsOwnAddresses(t *testing.T) {
	own := func(a netip.Addr) bool {
		all, err := net.InterfaceAddrs()
		assert.NoError(t, err)
		return slices.ContainsFunc(all, func(n net.Addr) bool {
			p, err := netip.ParsePrefix(n.String())
			return err == nil && p.Addr() == a.WithZone("")
		})
	}
	all, err := net.InterfaceAddrs()
	require.NoError(t, err)
	if !slices.ContainsFunc(all, func(n net.Addr) bool { return !loopback.IsNetAddr(n) }) {
		t.Skip("needs an address that is not loopback")
	}
	const found = "an address of this machine that other machines reach"
	assert.ErrorContains(t, loopbacktest.TestIs(func(a netip.Addr) bool { return a.IsLoopback() || own(a) }), found)
	assert.ErrorContains(t, loopbacktest.TestIsHost(func(h string) bool {
		a, err := netip.ParseAddr(h)
		return byHand(h) || err == nil && own(a)
	}), found)
}

func TestTestIsFindsFaults(t *testing.T) {
	skipSlow(t)
	four := netip.MustParsePrefix("127.0.0.0/8")
	for _, tt := range []faulty[func(netip.Addr) bool]{
		{"a text that begins with 127.", func(a netip.Addr) bool { return strings.HasPrefix(a.String(), "127.") || a == loopback.IPv6() }, "::ffff:127.0.0.1: got false, want true"},
		{"127.0.0.1 and ::1 alone", func(a netip.Addr) bool { return a == loopback.IPv4() || a == loopback.IPv6() }, "127.0.0.2: got false"},
		{"a prefix, without unmapping", func(a netip.Addr) bool { return four.Contains(a) || a == loopback.IPv6() }, "::ffff:127.0.0.1: got false"},
		{"zones are not taken away", func(a netip.Addr) bool { return four.Contains(a.Unmap()) || a == loopback.IPv6() }, "::1%lo: got false"},
		{"IPv4 alone", func(a netip.Addr) bool { return four.Contains(a.Unmap()) }, "::1: got false"},
		{"private addresses for loopback", func(a netip.Addr) bool { return a.IsLoopback() || a.IsPrivate() }, "10.0.0.1: got true, want false"},
		{"unspecified addresses, too", func(a netip.Addr) bool { return a.IsLoopback() || a.IsUnspecified() }, "0.0.0.0: got true"},
		{"all of 0.0.0.0/8 of IPv6", func(a netip.Addr) bool {
			return a.IsLoopback() || a.Is6() && netip.MustParsePrefix("::/96").Contains(a)
		}, "::2: got true"},
		{"the first byte of any address", func(a netip.Addr) bool { return a.IsLoopback() || a.IsValid() && a.AsSlice()[0] == 127 }, "7f00::1: got true"},
		{"the last four bytes of any address", func(a netip.Addr) bool {
			b := a.AsSlice()
			return a.IsLoopback() || len(b) == 16 && b[12] == 127
		}, "64:ff9b::7f00:1"},
		{"127.0.0.0/9", func(a netip.Addr) bool { return a.IsLoopback() && (!a.Unmap().Is4() || a.Unmap().As4()[1] < 128) }, "127.255.255.255: got false"},
		{"link-local addresses of lo", func(a netip.Addr) bool { return a.IsLoopback() || a.Zone() == "lo0" }, "fe80::1%lo0: got true"},
		{"whatever has the zone of lo", func(a netip.Addr) bool { return a.IsLoopback() || a.Zone() == "lo" }, "%lo: got true"},
		{"all of 0.0.0.0/8", func(a netip.Addr) bool { return a.IsLoopback() || a.Is4() && a.As4()[0] == 0 && !a.IsUnspecified() }, "0.0.0.1: got true"},
		{"mapped private addresses", func(a netip.Addr) bool { return a.IsLoopback() || a.Is4In6() && a.Unmap().IsPrivate() }, "::ffff:10.0.0.1: got true"},
		{"benchmarking addresses", func(a netip.Addr) bool {
			return a.IsLoopback() || netip.MustParsePrefix("198.18.0.0/15").Contains(a)
		}, "198.18.0.1: got true"},
		{"site-local addresses", func(a netip.Addr) bool {
			return a.IsLoopback() || netip.MustParsePrefix("fec0::/10").Contains(a)
		}, "fec0::1: got true"},
		{"one more block", func(a netip.Addr) bool { return a.IsLoopback() || a.Is4() && a.As4()[0] == 44 }, "44.0.0.1: got true"},
		{"NAT64 of an operator", func(a netip.Addr) bool {
			return a.IsLoopback() || netip.MustParsePrefix("64:ff9b:1::/48").Contains(a) && a.As16()[12] == 127
		}, "64:ff9b:1::7f00:1: got true"},
		{"always", func(netip.Addr) bool { return true }, "8.8.8.8: got true"},
		{"never", func(netip.Addr) bool { return false }, "127.0.0.1: got false"},
		{"As4 of any address", func(a netip.Addr) bool { return a.As4()[0] == 127 }, "got a panic"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			requireNothingLeft(t)
			err := loopbacktest.TestIs(tt.impl)
			failuresOf(t, err)
			assert.ErrorContains(t, err, tt.find)
		})
	}
}

// byHand is IsHost without package loopback.
func byHand(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.IsLoopback()
	}
	name := strings.TrimSuffix(host, ".")
	if len(name) > 253 {
		return false
	}
	labels := strings.Split(name, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || strings.Trim(l, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			return false
		}
	}
	last := labels[len(labels)-1]
	for _, c := range []byte(last) {
		if c >= 0x80 {
			return false
		}
	}
	return strings.EqualFold(last, "localhost")
}

func TestTestIsHostAcceptsRightOnes(t *testing.T) {
	requireNothingLeft(t)
	assert.NoError(t, loopbacktest.TestIsHost(loopback.IsHost))
	assert.NoError(t, loopbacktest.TestIsHost(byHand))
	name := regexp.MustCompile(`^(?i:([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.)*localhost)\.?$`) // RFC 1123, section 2.1
	assert.NoError(t, loopbacktest.TestIsHost(func(h string) bool {
		if a, err := netip.ParseAddr(h); err == nil {
			return a.IsLoopback()
		}
		return len(strings.TrimSuffix(h, ".")) <= 253 && !strings.ContainsAny(h, "\u017f\u212a") && name.MatchString(h)
	}))
}

func TestTestIsHostFindsFaults(t *testing.T) {
	skipSlow(t)
	isAddr := func(host string) bool {
		addr, err := netip.ParseAddr(host)
		return err == nil && addr.IsLoopback()
	}
	for _, tt := range []faulty[func(string) bool]{
		{"a prefix 127.", func(h string) bool { return byHand(h) || strings.HasPrefix(h, "127.") }, "127.evil.example: got true"},
		{"a suffix localhost", func(h string) bool { return isAddr(h) || strings.HasSuffix(strings.ToLower(h), "localhost") }, "evillocalhost: got true"},
		{"a prefix localhost", func(h string) bool { return byHand(h) || strings.HasPrefix(h, "localhost") }, "localhost.evil.example: got true"},
		{"the names as they are", func(h string) bool { return isAddr(h) || h == "localhost" }, "LOCALHOST: got false"},
		{"a list of three", func(h string) bool { return h == "localhost" || h == "127.0.0.1" || h == "::1" }, "127.0.0.2: got false"},
		{"brackets of a URL", func(h string) bool { return byHand(strings.Trim(h, "[]")) }, "[::1]: got true"},
		{"net.ParseIP, which knows no zone", func(h string) bool {
			if ip := net.ParseIP(h); ip != nil {
				return ip.IsLoopback()
			}
			return !strings.Contains(h, ":") && byHand(h)
		}, "::1%lo: got false"},
		{"a port", func(h string) bool {
			if host, _, err := net.SplitHostPort(h); err == nil {
				h = host
			}
			return byHand(h)
		}, "127.0.0.1:80: got true"},
		{"a URL", func(h string) bool {
			if u, err := url.Parse(h); err == nil && u.Host != "" {
				h = u.Hostname()
			}
			return byHand(h)
		}, "http://localhost: got true"},
		{"white space is cut off", func(h string) bool { return byHand(strings.TrimSpace(h)) }, `" localhost": got true`},
		{"all dots are cut off", func(h string) bool { return byHand(strings.Trim(h, ".")) }, "localhost..: got true"},
		{"Unicode case", func(h string) bool { return byHand(h) || strings.EqualFold(h, "localhost") }, "localho\u017ft: got true"},
		{"Unicode lower case", func(h string) bool { return byHand(strings.ToLower(h)) }, "\u212aapp.localhost: got true"},
		{"other names of hosts files", func(h string) bool { return byHand(h) || h == "localhost.localdomain" || h == "ip6-localhost" }, "ip6-localhost: got true"},
		{"0.0.0.0", func(h string) bool { return byHand(h) || h == "0.0.0.0" }, "0.0.0.0: got true"},
		{"labels of any form", func(h string) bool { return byHand(h) || strings.HasSuffix(h, ".localhost") }, ".localhost: got true"},
		{".localhost within", func(h string) bool {
			return byHand(h) || strings.Contains(h, ".localhost.") && !strings.Contains(h, "..")
		}, "app.localhost.evil.example: got true"},
		{"a zone of names", func(h string) bool {
			name, _, cut := strings.Cut(h, "%")
			return byHand(h) || cut && !isAddr(name) && byHand(name)
		}, "localhost%: got true"},
		{"up to the query", func(h string) bool { h, _, _ = strings.Cut(h, "?"); return byHand(h) }, "localhost?: got true"},
		{"up to the fragment", func(h string) bool { h, _, _ = strings.Cut(h, "#"); return byHand(h) }, "localhost#: got true"},
		{"up to the backslash", func(h string) bool { h, _, _ = strings.Cut(h, `\`); return byHand(h) }, `localhost\: got true`},
		{"an empty port", func(h string) bool { return byHand(h) || byHand(strings.TrimSuffix(h, ":")) }, "localhost:: got true"},
		{"brackets round names", func(h string) bool { return byHand(h) || h == "[localhost]" }, "[localhost]: got true"},
		{"tabs are taken out, as from a URL", func(h string) bool { return byHand(h) || !isAddr(h) && byHand(strings.ReplaceAll(h, "\t", "")) }, `"\tlocalhost": got true`},
		{"characters that IDNA drops", func(h string) bool { return byHand(strings.ReplaceAll(h, "\u00ad", "")) }, `"\u00adlocalhost": got true`},
		{"other dots", func(h string) bool { return byHand(h) || !isAddr(h) && byHand(strings.ReplaceAll(h, "\uff61", ".")) }, "localhost\uff61: got true"},
		{"any character in a label", func(h string) bool {
			name, below := strings.CutSuffix(h, ".localhost")
			return byHand(h) || below && name != "" && !strings.ContainsAny(name, ". */") && utf8.ValidString(name) && len(name) < 64
		}, "@app.localhost: got true"},
		{"no hyphens", func(h string) bool { return byHand(h) && !strings.Contains(h, "-") }, "my-app.localhost: got false"},
		{"no numbers", func(h string) bool { return byHand(h) && !strings.HasPrefix(h, "8080.") }, "8080.localhost: got false"},
		{"zeros in front", func(h string) bool { return isAddr(strings.TrimPrefix(h, "0")) || byHand(h) }, "0127.0.0.1: got true"},
		{"the name of the machine", func(h string) bool { name, _ := os.Hostname(); return byHand(h) || h == name }, "the name of this machine"},
		{"prefixes", func(h string) bool { return byHand(h) || h == "::1/128" }, "::1/128: got true"},
		{"up to the NUL", func(h string) bool { h, _, _ = strings.Cut(h, "\x00"); return byHand(h) }, `"localhost\x00": got true`},
		{"a panic", func(h string) bool { return h[0] == '1' }, "got a panic"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			requireNothingLeft(t)
			err := loopbacktest.TestIsHost(tt.impl)
			failuresOf(t, err)
			assert.ErrorContains(t, err, tt.find)
		})
	}
}

// One that never returns is given up, and one that ends its goroutine too.
func TestPredicatesThatDoNotReturn(t *testing.T) {
	block := make(chan struct{})
	requireNothingLeft(t)
	defer close(block)
	err := loopbacktest.TestIs(func(netip.Addr) bool { <-block; return true })
	assert.Len(t, failuresOf(t, err), 1)
	assert.ErrorContains(t, err, "127.0.0.1: got no answer within 5s, want true")
}

// One that takes its time is tested for a minute.
func TestPredicatesThatAreSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const callTime = 5 * time.Second
		calls := 0
		slow := func(answer bool) bool { time.Sleep(callTime - time.Millisecond); calls++; return answer }
		want := "loopbacktest: all calls: got more than 1m0s, want less: the rest is not tested"
		start := time.Now()
		assert.EqualError(t, loopbacktest.TestIs(func(a netip.Addr) bool { return slow(loopback.Is(a)) }), want)
		assert.Equal(t, 13, calls)
		assert.EqualError(t, loopbacktest.TestIsHost(func(h string) bool { return slow(loopback.IsHost(h)) }), want)
		assert.Equal(t, 26, calls)
		assert.Equal(t, 26*(callTime-time.Millisecond), time.Since(start))
	})
}

func TestPredicatesOfNothing(t *testing.T) {
	assert.EqualError(t, loopbacktest.TestIs(nil), "loopbacktest: TestIs: the function is nil")
	assert.EqualError(t, loopbacktest.TestIsHost(nil), "loopbacktest: TestIsHost: the function is nil")
	f := &loopbacktest.Failure{Input: "a\nb", Got: "true", Want: "false", Why: "no"}
	assert.EqualError(t, f, `loopbacktest: "a\nb": got true, want false: no`)
	assert.EqualError(t, &loopbacktest.Failure{Got: "1", Want: "2"}, `loopbacktest: "": got 1, want 2`)
	_, ok := errors.AsType[*loopbacktest.Failure](loopbacktest.TestIs(func(netip.Addr) bool { return false }))
	assert.True(t, ok)
}
