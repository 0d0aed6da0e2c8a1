package netif_test

import (
	"net/netip"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/loopback/internal/netif"
)

// prefixes and addrs make the tables of this file short.
func prefixes(texts ...string) (ps []netip.Prefix) {
	for _, text := range texts {
		ps = append(ps, netip.MustParsePrefix(text))
	}
	return ps
}

func addrs(texts ...string) (as []netip.Addr) {
	for _, text := range texts {
		as = append(as, netip.MustParseAddr(text))
	}
	return as
}

func TestSourcesAreOneOfEachNetwork(t *testing.T) {
	always := addrs("192.0.2.1", "127.0.0.2")
	for _, tt := range []struct {
		name     string
		networks []netip.Prefix
		own      []netip.Addr
		want     []netip.Addr
	}{
		{"none", nil, nil, nil},
		{"the first address of a network", prefixes("10.0.0.0/24"), nil, addrs("10.0.0.1")},
		{"not the broadcast address behind an address at the end", prefixes("10.0.0.254/24"), addrs("10.0.0.254"), addrs("10.0.0.1")},
		{"not this machine's own", prefixes("10.0.0.1/24"), addrs("10.0.0.1", "10.0.0.2"), addrs("10.0.0.3")},
		{"two networks", prefixes("10.0.0.1/24", "10.1.0.0/16"), addrs("10.0.0.1"), addrs("10.0.0.2", "10.1.0.1")},
		{"one network twice", prefixes("10.0.0.7/24", "10.0.0.0/24"), nil, addrs("10.0.0.1")},
		{"both ends of a point-to-point link", prefixes("10.7.0.0/31"), addrs("10.7.0.0"), addrs("10.7.0.1")},
		{"a single address", prefixes("10.7.0.2/32"), nil, addrs("10.7.0.2")},
		{"the single address of this machine", prefixes("10.7.0.2/32"), addrs("10.7.0.2"), nil},
		{"the end of all addresses", prefixes("255.255.255.255/32"), addrs("255.255.255.255"), nil},
		{"the default route", prefixes("0.0.0.0/0"), nil, nil},
		{"IPv6", prefixes("2001:db8::1/64"), nil, nil},
	} {
		own := make(map[netip.Addr]bool)
		for _, a := range tt.own {
			own[a] = true
		}
		assert.Equal(t, append(tt.want, always...), netif.Sources(tt.networks, own), tt.name)
	}
}

func TestSourcesAreBounded(t *testing.T) {
	var many []netip.Prefix
	for i := range 100 {
		many = append(many, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 16))
	}
	got := netif.Sources(many, nil)
	assert.Len(t, got, netif.MaxSources+2)
	assert.Equal(t, netip.AddrFrom4([4]byte{10, netif.MaxSources - 1, 0, 1}), got[netif.MaxSources-1])
}

func TestExposuresAreKnownOnLinuxAlone(t *testing.T) {
	if runtime.GOOS == "linux" {
		t.Skip("Linux can be asked")
	}
	_, err := netif.Exposures(netip.AddrFrom4([4]byte{127, 0, 0, 1}), nil)
	assert.ErrorContains(t, err, "only Linux")
}
