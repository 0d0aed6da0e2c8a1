package loopback

import (
	"crypto/sha256"
	"encoding/binary"
	"iter"
	"net/netip"
	"sync"

	"go4.org/netipx"
)

// numAddrs is the number of addresses in 127.0.0.0/8.
const numAddrs = 1 << 24

// Prefix4 returns the IPv4 loopback block, 127.0.0.0/8 (RFC 1122, section
// 3.2.1.3).
//
// [netip.Prefix.Contains] is false for IPv4-mapped addresses and for addresses
// with a zone. [Is] answers for those too, and is faster.
func Prefix4() netip.Prefix { return netip.PrefixFrom(AddrAt(0), 8) }

// Prefix6 returns the IPv6 loopback block, which is one address: ::1/128
// (RFC 4291, section 2.5.3).
func Prefix6() netip.Prefix { return netip.PrefixFrom(IPv6(), 128) }

// Range returns the addresses of [Prefix4] as a range, 127.0.0.0 to
// 127.255.255.255. IPv6 has a single loopback address and needs none.
func Range() netipx.IPRange { return netipx.IPRangeFrom(AddrAt(0), AddrAt(numAddrs-1)) }

// Set returns the set of all loopback addresses, 127.0.0.0/8 and ::1, to be
// combined with other sets: [netipx.IPSetBuilder.RemoveSet] leaves what is not
// loopback. The set is immutable, and every call returns the same one; it may
// be used by several goroutines.
//
// As in every [netipx.IPSet], IPv4-mapped addresses and addresses with a zone
// are not in it. To classify an address use [Is].
func Set() *netipx.IPSet { return set() }

var set = sync.OnceValue(func() *netipx.IPSet {
	var b netipx.IPSetBuilder
	b.AddPrefix(Prefix4())
	b.AddPrefix(Prefix6())
	s, err := b.IPSet()
	if err != nil {
		panic(err) // only for an invalid prefix
	}
	return s
})

// Addrs returns an iterator over the 16,777,216 addresses of 127.0.0.0/8, from
// 127.0.0.0 to 127.255.255.255. It may be used any number of times.
//
// Not all of them are good to listen on. Linux before 5.14 does not deliver to
// 127.0.0.0. A connection to 127.255.255.255, a broadcast address, fails. macOS
// has only 127.0.0.1 configured.
func Addrs() iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		for n := range uint32(numAddrs) {
			if !yield(AddrAt(n)) {
				return
			}
		}
	}
}

// AddrAt returns the address 127.0.0.0 + n, and the zero Addr if n is past
// 127.255.255.255, which is the one at 1<<24 - 1.
func AddrAt(n uint32) netip.Addr {
	if n >= numAddrs {
		return netip.Addr{}
	}
	return netip.AddrFrom4([4]byte{127, byte(n >> 16), byte(n >> 8), byte(n)})
}

// Index is the inverse of [AddrAt]: it returns the n for which AddrAt(n) is
// addr, and whether there is one. An IPv4-mapped address has the index of the
// IPv4 address it stands for, whatever its zone. For everything else, ::1 and
// the zero Addr included, Index returns 0, false.
func Index(addr netip.Addr) (n uint32, ok bool) {
	addr = addr.Unmap()
	if !addr.Is4() || !Is(addr) {
		return 0, false
	}
	a := addr.As4()
	return binary.BigEndian.Uint32(a[:]) % numAddrs, true
}

// For returns the address of a name: always the same one for the same name, on
// every platform and in every release of this package. It lets each service of
// a development setup have its port on an address of its own, as in
// net.JoinHostPort(loopback.For("billing").String(), "5432").
//
// The name is any string, the empty one included, and is taken byte by byte:
// "db" and "DB" are two names. Two names can share an address. That happens to
// a given pair once in 16.6 million times, to some two of 100 names once in
// 3,350 times, and to some two of 1,000 names in 3 % of cases.
//
// The address is never in 127.0.0.0/16, where system services live, and never
// ends in 0 or 255: it is neither the first nor the last address of the range
// or of any /9 to /24 within it, as networks and broadcasts are. Linux has
// all of them. On macOS the address must be configured first (ifconfig lo0
// alias 127.1.2.3); until then, to listen on it fails with EADDRNOTAVAIL.
//
// The rule is part of the contract, so that other programs can follow it: with
// h, the first eight bytes of the SHA-256 of the name as a big-endian number,
// and n = h mod (255*256*254), the address is
//
//	127 . (1 + n/(256*254)) . (n/254 mod 256) . (1 + n mod 254)
func For(name string) netip.Addr {
	sum := sha256.Sum256([]byte(name))
	// 2^64 is no multiple of the number of addresses, which prefers some of
	// them by one in 10^12.
	return freeAddr(uint32(binary.BigEndian.Uint64(sum[:]) % numFree))
}

// numFree is how many addresses of 127.0.0.0/8 are outside 127.0.0.0/16 and end
// in neither 0 nor 255.
const numFree = 255 * 256 * 254

// freeIndex is the inverse of freeAddr.
func freeIndex(addr netip.Addr) (n uint32, ok bool) {
	i, ok := Index(addr)
	last := i & 0xff
	if !ok || i < 1<<16 || last == 0 || last == 255 {
		return 0, false
	}
	return (i>>8-256)*254 + last - 1, true
}

// freeAddr returns the n-th of those addresses, counted from 0.
func freeAddr(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{127, byte(1 + n/(256*254)), byte(n / 254), byte(1 + n%254)})
}
