package loopback_test

import (
	"math"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go4.org/netipx"

	"example.com/loopback"
)

func TestRangeConstants(t *testing.T) {
	assert.Equal(t, netip.MustParsePrefix("127.0.0.0/8"), loopback.Prefix4())
	assert.Equal(t, netip.MustParsePrefix("::1/128"), loopback.Prefix6())
	assert.Equal(t, netipx.MustParseIPRange("127.0.0.0-127.255.255.255"), loopback.Range())

	p, ok := loopback.Range().Prefix()
	assert.True(t, ok)
	assert.Equal(t, loopback.Prefix4(), p)
	assert.Equal(t, []netip.Prefix{loopback.Prefix4(), loopback.Prefix6()}, loopback.Set().Prefixes())
}

func TestSet(t *testing.T) {
	for _, tt := range []struct {
		addr string
		want bool
	}{
		{"126.255.255.255", false},
		{"127.0.0.0", true},
		{"127.0.0.1", true},
		{"127.255.255.255", true},
		{"128.0.0.0", false},
		{"0.0.0.0", false},
		{"::", false},
		{"::1", true},
		{"::2", false},
		// As documented: in no IPSet, although Is is true for them.
		{"::ffff:127.0.0.1", false},
		{"::1%lo", false},
	} {
		assert.Equal(t, tt.want, loopback.Set().Contains(netip.MustParseAddr(tt.addr)), tt.addr)
	}
	assert.False(t, loopback.Set().Contains(netip.Addr{}))

	// It is shared, and using it as documented does not change it.
	assert.Same(t, loopback.Set(), loopback.Set())
	var b netipx.IPSetBuilder
	b.AddPrefix(netip.MustParsePrefix("64.0.0.0/2"))
	b.RemoveSet(loopback.Set())
	rest, err := b.IPSet()
	require.NoError(t, err)
	assert.False(t, rest.Overlaps(loopback.Set()))
	assert.True(t, rest.Contains(netip.MustParseAddr("126.255.255.255")))
	assert.True(t, loopback.Set().ContainsPrefix(loopback.Prefix4()))

	var wg sync.WaitGroup // the race detector looks on
	for range 4 {
		wg.Go(func() {
			assert.True(t, loopback.Set().ContainsRange(loopback.Range()))
		})
	}
	wg.Wait()
}

func TestRangeAllocs(t *testing.T) {
	loopback.Set()
	mapped := netip.MustParseAddr("::ffff:127.1.2.3%eth0")
	name, long := "billing", strings.Repeat("x", 1<<16)
	for what, f := range map[string]func(){
		"Prefix4":  func() { loopback.Prefix4() },
		"Prefix6":  func() { loopback.Prefix6() },
		"Range":    func() { loopback.Range() },
		"Set":      func() { loopback.Set() },
		"AddrAt":   func() { loopback.AddrAt(1 << 20) },
		"Index":    func() { loopback.Index(mapped) },
		"For":      func() { loopback.For(name) },
		"For long": func() { loopback.For(long[:len(long)-1]) },
		"Addrs": func() {
			for a := range loopback.Addrs() {
				if a.As4()[2] == 1 {
					break
				}
			}
		},
	} {
		want := 0.0
		if what == "For long" {
			want = 1 // the copy as bytes
		}
		assert.LessOrEqual(t, allocs(10, f), want, what)
	}
}

// The whole range: Addrs, AddrAt, Index and plain arithmetic agree, and so do
// they with Is.
func TestAddrsAll(t *testing.T) {
	var i uint32
	for a := range loopback.Addrs() {
		n, ok := loopback.Index(a)
		if a != loopback.AddrAt(i) || n != i || !ok || !loopback.Is(a) ||
			a.As4() != [4]byte{127, byte(i >> 16), byte(i >> 8), byte(i)} {
			t.Fatalf("number %d: Addrs yields %v, AddrAt is %v, Index is %d, %v", i, a, loopback.AddrAt(i), n, ok)
		}
		i++
	}
	assert.EqualValues(t, 1<<24, i)
}

func TestAddrsStops(t *testing.T) {
	seq := loopback.Addrs()
	for range 2 { // an iterator begins anew each time
		var got []netip.Addr
		for a := range seq {
			if got = append(got, a); len(got) == 3 {
				break
			}
		}
		assert.Equal(t, "[127.0.0.0 127.0.0.1 127.0.0.2]", netipString(got))
	}
	seq(func(a netip.Addr) bool { // and stops where it is told to
		assert.Equal(t, loopback.AddrAt(0), a)
		return false
	})
}

func netipString(addrs []netip.Addr) string {
	s := make([]string, len(addrs))
	for i, a := range addrs {
		s[i] = a.String()
	}
	return "[" + strings.Join(s, " ") + "]"
}

func TestAddrAt(t *testing.T) {
	for _, tt := range []struct {
		n    uint32
		want string
	}{
		{0, "127.0.0.0"},
		{1, "127.0.0.1"},
		{255, "127.0.0.255"},
		{256, "127.0.1.0"},
		{1 << 16, "127.1.0.0"},
		{0x010203, "127.1.2.3"},
		{1<<24 - 1, "127.255.255.255"},
	} {
		assert.Equal(t, tt.want, loopback.AddrAt(tt.n).String())
	}
	for _, n := range []uint32{1 << 24, 1<<24 + 1, 127<<24 | 1, 1 << 31, math.MaxUint32} {
		assert.Equal(t, netip.Addr{}, loopback.AddrAt(n), n)
	}
}

func TestIndex(t *testing.T) {
	for _, tt := range []struct {
		addr string
		n    uint32
		ok   bool
	}{
		{"127.0.0.0", 0, true},
		{"127.0.0.1", 1, true},
		{"127.1.2.3", 0x010203, true},
		{"127.255.255.255", 1<<24 - 1, true},
		{"::ffff:127.0.0.1", 1, true},
		{"::ffff:127.255.255.255", 1<<24 - 1, true},
		{"::ffff:127.0.0.1%lo", 1, true},
		{"126.255.255.255", 0, false},
		{"128.0.0.0", 0, false},
		{"0.0.0.0", 0, false},
		{"255.255.255.255", 0, false},
		{"::", 0, false},
		{"::1", 0, false},
		{"::1%lo", 0, false},
		{"::ffff:128.0.0.1", 0, false},
		{"::127.0.0.1", 0, false},
		{"64:ff9b::127.0.0.1", 0, false},
		{"fe80::7f00:1%lo", 0, false},
		{"7f00:1::", 0, false},
	} {
		n, ok := loopback.Index(netip.MustParseAddr(tt.addr))
		assert.Equal(t, tt.n, n, tt.addr)
		assert.Equal(t, tt.ok, ok, tt.addr)
	}
	n, ok := loopback.Index(netip.Addr{})
	assert.Zero(t, n)
	assert.False(t, ok)
}

// The golden table of For. It must never change: other programs, scripts and
// configuration files hold these addresses. It was not made with this package
// but follows the rule in the doc comment, in Python:
//
//	n = int.from_bytes(hashlib.sha256(name).digest()[:8], "big") % (255*256*254)
//	"127.%d.%d.%d" % (1 + n//(256*254), n//254 % 256, 1 + n%254)
func TestForGolden(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"", "127.251.72.165"},
		{"a", "127.39.193.77"},
		{"b", "127.49.35.145"},
		{"db", "127.221.223.67"},
		{"DB", "127.253.62.22"},
		{"db ", "127.184.204.184"},
		{"localhost", "127.43.32.169"},
		{"billing", "127.231.8.168"},
		{"postgres-17", "127.66.130.232"},
		{"example.com/service/api", "127.74.112.86"},
		{"\x00", "127.79.200.41"},
		{"a\x00", "127.191.89.183"},
		{"\xff\xfe", "127.36.53.19"},
		{"\ufffd", "127.146.163.158"},
		{"grüße", "127.241.123.219"},
		{"日本語", "127.26.225.102"},
		{strings.Repeat("x", 1_000_000), "127.121.115.82"},
	} {
		got := loopback.For(tt.name)
		assert.Equal(t, tt.want, got.String(), "%.20q", tt.name)
		assert.True(t, loopback.Is(got))
	}
}

// Many names of the kinds people give: every one lands within the limits, all
// octets are used to their limits, evenly, and no more names collide than
// should by chance. The input is fixed, so this cannot fail now and then.
func TestForSpread(t *testing.T) {
	const perKind = 1 << 16
	for _, kind := range []string{"", "service-", "db.internal.example.com:", strings.Repeat("long/", 20), "\xff\x00"} {
		var octets [4][256]int
		seen := make(map[netip.Addr]bool, perKind)
		for i := range perKind {
			a := loopback.For(kind + strconv.Itoa(i))
			seen[a] = true
			for o, v := range a.As4() {
				octets[o][v]++
			}
		}
		require.Equal(t, perKind, octets[0][127])
		for o, limits := range [][2]int{1: {1, 255}, 2: {0, 255}, 3: {1, 254}} {
			if o == 0 {
				continue
			}
			used := octets[o][limits[0] : limits[1]+1]
			chi2, total, want := 0.0, 0, perKind/float64(len(used))
			for _, n := range used {
				chi2 += (float64(n) - want) * (float64(n) - want) / want
				total += n
			}
			assert.Equal(t, perKind, total, "%q: octet %d is outside of %d", kind, o, limits)
			assert.NotZero(t, slices.Min(used), "%q: octet %d has a value never used", kind, o)
			// Chi-square has the mean df and the variance 2 df: five sigma
			// either way, since a spread too even is no chance either.
			df := float64(len(used) - 1)
			assert.InDelta(t, df, chi2, 5*math.Sqrt(2*df), "%q: octet %d", kind, o)
		}
		same := float64(perKind) * perKind / 2 / (255 * 256 * 254)
		assert.InDelta(t, same, perKind-len(seen), 5*math.Sqrt(same), "%q: names that share an address", kind)
	}
}

func FuzzFor(f *testing.F) {
	for _, s := range []string{"", "db", "\x00", "\xff\xfe", "日本語"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		a := loopback.For(name)
		n, ok := loopback.Index(a)
		last := n & 0xff
		if !ok || n < 1<<16 || last == 0 || last == 255 || a != loopback.For(strings.Clone(name)) {
			t.Fatalf("For(%q) = %v", name, a)
		}
	})
}

// The address of a name is one that this machine can use.
func TestForListens(t *testing.T) {
	a := loopback.For("billing")
	ln, err := net.Listen("tcp4", netip.AddrPortFrom(a, 0).String())
	if err != nil && runtime.GOOS != "linux" && runtime.GOOS != "windows" {
		t.Skipf("this system has not all of 127.0.0.0/8: %v", err)
	}
	require.NoError(t, err)
	defer ln.Close()
	c, err := net.Dial("tcp4", ln.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	assert.Equal(t, a.String(), c.RemoteAddr().(*net.TCPAddr).IP.String())
}
