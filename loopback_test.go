package loopback_test

import (
	"encoding"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
)

func TestAddresses(t *testing.T) {
	assert.Equal(t, netip.MustParseAddr("127.0.0.1"), loopback.IPv4())
	assert.Equal(t, netip.MustParseAddr("::1"), loopback.IPv6())
}

// edges4 are the IPv4 addresses on both sides of every border.
var edges4 = []string{
	"0.0.0.0", "0.0.0.1", "0.0.0.127", "1.0.0.127", "10.0.0.1", "126.255.255.255", "127.0.0.0", "127.0.0.1", "127.1.2.3",
	"127.255.255.254", "127.255.255.255", "128.0.0.0", "128.0.0.1", "255.255.255.254", "255.255.255.255",
}

// An embedding puts an IPv4 address into an IPv6 address, whose form it is.
type embedding struct {
	prefix string
	at     []int // the bytes that hold the IPv4 address
	invert bool
	always bool // 0.0.0.0 counts wherever it is
}

// embeddings is KindOf in the words of the RFCs, for the slow oracle.
var embeddings = map[string]embedding{
	"IPv4-compatible":      {"::/96", []int{12, 13, 14, 15}, false, false},
	"IPv4-translated":      {"::ffff:0:0:0/96", []int{12, 13, 14, 15}, false, true},
	"NAT64":                {"64:ff9b::/96", []int{12, 13, 14, 15}, false, true},
	"NAT64 local /48":      {"64:ff9b:1::/48", []int{6, 7, 9, 10}, false, false},
	"NAT64 local /56":      {"64:ff9b:1::/48", []int{7, 9, 10, 11}, false, false},
	"NAT64 local /64":      {"64:ff9b:1::/48", []int{9, 10, 11, 12}, false, false},
	"NAT64 local /96":      {"64:ff9b:1::/48", []int{12, 13, 14, 15}, false, false},
	"6to4":                 {"2002::/16", []int{2, 3, 4, 5}, false, true},
	"Teredo server":        {"2001::/32", []int{4, 5, 6, 7}, false, true},
	"Teredo client":        {"2001::/32", []int{12, 13, 14, 15}, true, true},
	"ISATAP":               {"::/0", []int{12, 13, 14, 15}, false, true}, // and bytes 8 to 11, see has
	"ISATAP global bit":    {"::/0", []int{12, 13, 14, 15}, false, true},
	"NAT64 local all zero": {"64:ff9b:1::/128", nil, false, false},
}

func (e embedding) has(name string, a [16]byte) bool {
	id, addr := fmt.Sprintf("%x", a[8:12]), netip.AddrFrom16(a)
	if netip.MustParsePrefix("64:ff9b:1::/48").Contains(addr) && strings.HasPrefix(name, "ISATAP") {
		return false // the rules for NAT64 take care of it
	}
	return netip.MustParsePrefix(e.prefix).Contains(addr) &&
		(name != "ISATAP" || id == "00005efe") && (name != "ISATAP global bit" || id == "02005efe")
}

// put returns the address of this form, with v4 inside, that fill leaves the
// other bytes of.
func (e embedding) put(name string, v4 netip.Addr, fill byte) netip.Addr {
	p := netip.MustParsePrefix(e.prefix)
	a, b := p.Addr().As16(), v4.As4()
	for i := p.Bits() / 8; i < 16; i++ {
		a[i] = fill
	}
	for i, at := range e.at {
		if a[at] = b[i]; e.invert {
			a[at] = ^b[i]
		}
	}
	switch name {
	case "ISATAP":
		copy(a[8:], "\x00\x00\x5e\xfe")
	case "ISATAP global bit":
		copy(a[8:], "\x02\x00\x5e\xfe")
	}
	return netip.AddrFrom16(a)
}

func slowKindOf(addr netip.Addr) loopback.Kind {
	addr = addr.WithZone("")
	in := func(prefix string, addr netip.Addr) bool { return netip.MustParsePrefix(prefix).Contains(addr) }
	switch {
	case in("127.0.0.0/8", addr):
		return loopback.KindIPv4
	case addr == netip.MustParseAddr("::1"):
		return loopback.KindIPv6
	case addr.Is4In6() && in("127.0.0.0/8", addr.Unmap()):
		return loopback.KindMapped
	case addr.String() == "0.0.0.0", addr.String() == "::", addr.String() == "::ffff:0.0.0.0":
		return loopback.KindUnspecified
	case !addr.Is6() || addr.Is4In6():
		return loopback.KindNone
	}
	a := addr.As16()
	for name, e := range embeddings {
		if !e.has(name, a) {
			continue
		}
		if e.at == nil {
			return loopback.KindEmbedded
		}
		var b [4]byte
		for i, at := range e.at {
			if b[i] = a[at]; e.invert {
				b[i] = ^b[i]
			}
		}
		v4 := netip.AddrFrom4(b)
		if in("127.0.0.0/8", v4) || e.always && v4.IsUnspecified() {
			return loopback.KindEmbedded
		}
	}
	return loopback.KindNone
}

// edgeAddrs are the addresses at the edges of everything KindOf knows.
func edgeAddrs() (addrs []netip.Addr) {
	for _, s := range edges4 {
		v4 := netip.MustParseAddr(s)
		addrs = append(addrs, v4, netip.AddrFrom16(v4.As16()))
		for name, e := range embeddings {
			for _, fill := range []byte{0x00, 0x01, 0x7f, 0xff} {
				addrs = append(addrs, e.put(name, v4, fill))
			}
		}
	}
	for _, s := range []string{
		"::", "::1", "::2", "::ffff", "::1:0:0", "0:0:0:1::1", "100::1", "fe80::1", "fe80::5efe:127.0.0.1", "fe80::200:5efe:127.0.0.1",
		"fe80::100:5efe:127.0.0.1", "fe80::300:5efe:127.0.0.1", "fe80::5eff:127.0.0.1", "2001:db8::5efe:0:0", "::ffff:0:0", "::fffe:127.0.0.1",
		"::1:127.0.0.1", "::ffff:1:127.0.0.1", "::1:ffff:0:127.0.0.1", "64:ff9a::127.0.0.1", "64:ff9b::1:127.0.0.1", "64:ff9b:0:1::127.0.0.1",
		"64:ff9b:1::", "64:ff9b:1::1", "64:ff9b:1:1::", "64:ff9b:2::127.0.0.1", "64:ff9b:1:7f00:1::", "64:ff9b:1:7f:0:100::", "64:ff9b:1:0:7f:0:100::",
		"2001:1:7f00:1::", "2001:0:1::", "2001:0:7f00:1::80ff:fffe", "2001::ffff:ffff", "2001:0:c000:204::5efe:127.0.0.1",
		"2002:c000:204::5efe:127.0.0.1", "2002:c000:204::200:5efe:0:0", "2002:c000:204::5efe:128.0.0.1", "64:ff9b:1::5efe:0:0", "2001::", "2002::", "2002:7f00:1::", "2003:7f00:1::", "ff02::1",
	} {
		addrs = append(addrs, netip.MustParseAddr(s))
	}
	for _, addr := range addrs {
		if addr.IsValid() {
			addrs = append(addrs, addr.Next(), addr.Prev())
		}
	}
	for _, addr := range addrs {
		if addr.Is6() {
			addrs = append(addrs, addr.WithZone("lo"))
		}
	}
	return append(addrs, netip.Addr{})
}

func TestKindOfAtEveryEdge(t *testing.T) {
	seen := map[loopback.Kind]int{}
	for _, addr := range edgeAddrs() {
		want := slowKindOf(addr)
		seen[want]++
		assert.Equal(t, want, loopback.KindOf(addr), "%v", addr)
		assert.Equal(t, want.IsLoopback(), loopback.Is(addr), "%v", addr)
	}
	for k := loopback.KindNone; k <= loopback.KindEmbedded; k++ {
		assert.NotZero(t, seen[k], "%v", k)
	}
}

// Random addresses hit few embeddings: take one, and change a bit or a byte.
func TestKindOfNearEveryEdge(t *testing.T) {
	addrs := edgeAddrs()
	rng := rand.New(rand.NewPCG(127, 1))
	for range 100_000 {
		a := addrs[rng.IntN(len(addrs)-1)].As16()
		if i := rng.IntN(16); rng.IntN(2) == 0 {
			a[i] ^= 1 << rng.IntN(8)
		} else {
			a[i] = []byte{0, 1, 127, 128, 255}[rng.IntN(5)]
		}
		addr := netip.AddrFrom16(a)
		if got, want := loopback.KindOf(addr), slowKindOf(addr); got != want {
			t.Fatalf("KindOf(%v) = %v, want %v", addr, got, want)
		}
	}
}

// The rows of the shared table that are addresses.
func TestKindOfTable(t *testing.T) {
	n := 0
	for _, row := range readHostTexts(t) {
		addr, err := netip.ParseAddr(row.input)
		if err != nil {
			continue
		}
		n++
		kind := loopback.KindOf(addr)
		assert.Equal(t, row.strict == "yes", kind.IsLoopback(), "%q", row.input)
		if row.strict == "no" && row.reach == "yes" {
			assert.Equal(t, loopback.KindUnspecified, kind, "%q", row.input)
		}
		if row.reach == "no" {
			assert.Equal(t, loopback.KindNone, kind, "%q", row.input)
		}
	}
	assert.Greater(t, n, 40)
}

func TestKindText(t *testing.T) {
	for k, want := range map[loopback.Kind]string{
		loopback.KindNone:        "none",
		loopback.KindIPv4:        "IPv4",
		loopback.KindIPv6:        "IPv6",
		loopback.KindMapped:      "mapped",
		loopback.KindUnspecified: "unspecified",
		loopback.KindEmbedded:    "embedded",
		loopback.Kind(200):       "Kind(200)",
	} {
		assert.Equal(t, want, k.String())
		text, err := encoding.TextMarshaler(k).MarshalText()
		require.NoError(t, err)
		assert.Equal(t, want, string(text))
		back := loopback.KindMapped
		if err := encoding.TextUnmarshaler(&back).UnmarshalText(text); k == 200 {
			assert.EqualError(t, err, `loopback: unknown Kind "Kind(200)"`)
			assert.Equal(t, loopback.KindMapped, back)
		} else {
			require.NoError(t, err)
			assert.Equal(t, k, back)
		}
	}
	var zero loopback.Kind
	assert.Equal(t, loopback.KindNone, zero)
	assert.False(t, loopback.Kind(200).IsLoopback())
}

// addr is a net.Addr of a type that the package does not know.
type addr struct{ network, text string }

func (a addr) Network() string { return a.network }
func (a addr) String() string  { return a.text }

func TestIsNetAddr(t *testing.T) {
	mapped := net.ParseIP("127.0.0.1") // 16 bytes
	for _, tt := range []struct {
		addr net.Addr
		want bool
	}{
		{nil, false},
		{(*net.TCPAddr)(nil), false},
		{(*net.UDPAddr)(nil), false},
		{(*net.IPAddr)(nil), false},
		{(*net.IPNet)(nil), false},
		{(*net.UnixAddr)(nil), false},
		{&net.TCPAddr{}, false}, // the wildcard
		{&net.TCPAddr{IP: net.IP{127, 0, 0, 1}}, true},
		{&net.TCPAddr{IP: mapped, Port: 80}, true},
		{&net.TCPAddr{IP: net.IPv6loopback, Zone: "lo"}, true},
		{&net.TCPAddr{IP: net.IPv6zero}, false},
		{&net.TCPAddr{IP: net.IP{127}}, false}, // no length of an address
		{&net.UDPAddr{IP: mapped}, true},
		{&net.UDPAddr{IP: net.IP{128, 0, 0, 1}}, false},
		{&net.IPAddr{IP: net.IPv6loopback}, true},
		{&net.IPAddr{}, false},
		{&net.IPNet{IP: net.IP{127, 0, 0, 1}, Mask: net.CIDRMask(8, 32)}, true},
		{&net.IPNet{IP: net.IP{10, 0, 0, 1}, Mask: net.CIDRMask(0, 32)}, false},
		{&net.UnixAddr{Name: "127.0.0.1:80", Net: "unix"}, false},
		{addr{"tcp", "127.0.0.1:80"}, true},
		{addr{"tcp", "[::1]:80"}, true},
		{addr{"tcp", "[::1%lo]:80"}, true},
		{addr{"tcp", "[::ffff:127.0.0.1]:80"}, true},
		{addr{"ip+net", "127.0.0.1/8"}, true},
		{addr{"ip", "::1"}, true},
		{addr{"tcp", "10.0.0.1:80"}, false},
		{addr{"tcp", "0.0.0.0:80"}, false},
		{addr{"tcp", "localhost:80"}, false}, // a name is no address
		{addr{"pipe", "pipe"}, false},
		{addr{"", ""}, false},
		{addr{"unix", "127.0.0.1:80"}, false},
		{addr{"unixgram", "::1"}, false},
		{addr{"unixpacket", "127.0.0.1/8"}, false},
	} {
		assert.Equal(t, tt.want, loopback.IsNetAddr(tt.addr), "%#v", tt.addr)
	}
}

func TestIsNetAddrOfSockets(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	assert.True(t, loopback.IsNetAddr(ln.Addr()))

	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	assert.False(t, loopback.IsNetAddr(client.LocalAddr()))

	path := t.TempDir() + "/s"
	unix, err := net.Listen("unix", path)
	if err != nil {
		t.Skipf("needs unix sockets: %v", err)
	}
	defer unix.Close()
	assert.False(t, loopback.IsNetAddr(unix.Addr()))
}

func TestAddrsAllocateNothing(t *testing.T) {
	tcp := &net.TCPAddr{IP: net.ParseIP("127.0.0.1"), Port: 80}
	udp := &net.UDPAddr{IP: net.IPv6loopback}
	ipnet := &net.IPNet{IP: net.IP{127, 0, 0, 1}, Mask: net.CIDRMask(8, 32)}
	addrs := edgeAddrs()
	assert.Zero(t, allocs(10, func() {
		for _, a := range addrs {
			loopback.Is(a)
			loopback.KindOf(a)
		}
		loopback.IsNetAddr(tcp)
		loopback.IsNetAddr(udp)
		loopback.IsNetAddr(ipnet)
	}))
}

// Is costs its callers nothing over Addr.IsLoopback, which it is.
func TestIsInlines(t *testing.T) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skipf("needs the go command: %v", err)
	}
	out, err := exec.CommandContext(t.Context(), goTool, "build", "-gcflags=-m", ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, f := range []string{"Is", "IPv4", "IPv6", "Kind.IsLoopback"} {
		assert.Regexp(t, "(?m): can inline "+regexp.QuoteMeta(f)+"$", string(out))
	}
}
