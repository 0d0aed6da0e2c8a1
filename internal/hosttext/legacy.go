// Package hosttext reads how a text spells a host: names, addresses, the old
// spellings of addresses, and the host inside a host:port or a URL. It works on
// strings alone, and judges none.
package hosttext

import (
	"net/netip"
	"strings"
)

// A Dialect is one of the ways to read a number in an IPv4 address.
type Dialect uint8

const (
	Common  Dialect = iota // 0 begins an octal number, 0x a hexadecimal one
	Decimal                // zeros in front mean nothing: Java reads 0127 as 127
)

// Legacy4 reads an IPv4 address the way inet_aton(3), getaddrinfo(3) and the
// URL standard do, and net/netip does not: one to four numbers, each decimal,
// octal (0177) or hexadecimal (0x7f), the last of which fills all the bytes
// that are left. So 127.1, 0x7f.0.0.1 and 2130706433 are 127.0.0.1.
//
// It takes what any of them takes: the URL standard reads "0x" as 0.
func Legacy4(s string, d Dialect) (addr netip.Addr, ok bool) {
	parts := strings.SplitN(s, ".", 5)
	if len(parts) > 4 {
		return addr, false
	}
	var v uint64
	for i, part := range parts {
		n, ok := legacyNumber(part, d)
		left := 8 * (4 - i) // bits that are left
		width := 8
		if i == len(parts)-1 {
			width = left
		}
		if !ok || n>>width != 0 {
			return addr, false
		}
		v |= n << (left - width)
	}
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}), true
}

// legacyNumber reads a number, which is 1<<32 if it is larger than that.
func legacyNumber(s string, d Dialect) (n uint64, ok bool) {
	base := uint64(10)
	switch {
	case s == "":
		return n, false
	case d == Decimal || s[0] != '0' || len(s) == 1:
	case s[1]|0x20 == 'x':
		base, s = 16, s[2:]
	default:
		base, s = 8, s[1:]
	}
	for i := range len(s) {
		digit := uint64(unhex(s[i]))
		if digit >= base {
			return n, false
		}
		n = min(n*base+digit, 1<<32)
	}
	return n, true
}

// endsInNumber reports whether the last label of host is a number. The URL
// standard takes such a host for an IPv4 address and for nothing else. As a
// name it would be in a top-level domain that cannot exist (RFC 3696, section 2).
func endsInNumber(host string) bool {
	host = strings.TrimSuffix(host, ".")
	return isNumber(host[strings.LastIndexByte(host, '.')+1:])
}

// isNumber reports whether s is digits, or 0x and hexadecimal digits, if any.
func isNumber(s string) bool {
	most := byte(9)
	if len(s) >= 2 && s[0] == '0' && s[1]|0x20 == 'x' {
		most, s = 15, s[2:]
	} else if s == "" {
		return false
	}
	for i := range len(s) {
		if unhex(s[i]) > most {
			return false
		}
	}
	return true
}
