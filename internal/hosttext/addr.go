package hosttext

import (
	"math"
	"strings"
)

// The scanners below accept what netip.ParseAddr accepts, and allocate nothing
// where it makes an error.

// Loopback4 reports whether s is an address of 127.0.0.0/8 in dotted form.
func Loopback4(s string) bool {
	if !strings.HasPrefix(s, "127.") {
		return false
	}
	_, ok := scan4(s)
	return ok
}

// scan4 reads an IPv4 address, which is four numbers up to 255 without leading
// zeros.
func scan4(s string) (addr uint32, ok bool) {
	if len(s) > len("255.255.255.255") {
		return addr, false
	}
	var n, digits, dots uint32
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c-'0' <= 9:
			if digits > 0 && n == 0 {
				return addr, false
			}
			if n = 10*n + uint32(c-'0'); n > math.MaxUint8 {
				return addr, false
			}
			digits++
		case c == '.' && digits > 0:
			addr = addr<<8 | n
			n, digits = 0, 0
			dots++
		default:
			return addr, false
		}
	}
	return addr<<8 | n, dots == 3 && digits > 0
}

// MaxAddr6 is the length of the longest IPv6 address, which ends in IPv4.
const MaxAddr6 = len("0000:0000:0000:0000:0000:ffff:255.255.255.255")

// Loopback6 reports whether s is, without a zone, ::1 or an address of
// 127.0.0.0/8 in IPv4-mapped form.
func Loopback6(s string) bool {
	if s == "::1" {
		return true
	}
	if len(s) > MaxAddr6 {
		return false
	}
	f, ok := scan6(s)
	if !ok || f[0]|f[1]|f[2]|f[3]|f[4] != 0 {
		return false
	}
	return f[5] == 0xffff && f[6]>>8 == 127 || f[5]|f[6] == 0 && f[7] == 1
}

// scan6 reads the eight fields of an IPv6 address without a zone.
func scan6(s string) (f [8]uint16, ok bool) {
	n, gap := 0, -1 // fields read; how many before the ::
	if strings.HasPrefix(s, "::") {
		gap, s = 0, s[2:]
	}
	for s != "" && n < len(f) {
		field, digits := scanField(s)
		f[n] = field
		if digits < len(s) && s[digits] == '.' { // IPv4 in the last two fields
			v4, ok := scan4(s)
			if !ok || n > 6 {
				return f, false
			}
			f[n], f[n+1] = uint16(v4>>16), uint16(v4)
			n, s = n+2, ""
			break
		}
		if digits == 0 || digits > 4 {
			return f, false
		}
		n, s = n+1, s[digits:]
		switch {
		case s == "":
		case s[0] != ':' || len(s) == 1 || s[1] == ':' && gap >= 0: // no other field, or a second ::
			return f, false
		case s[1] == ':':
			gap, s = n, s[2:]
		default:
			s = s[1:]
		}
	}
	if gap >= 0 {
		tail := n - gap
		copy(f[len(f)-tail:], f[gap:n])
		clear(f[gap : len(f)-tail])
	}
	return f, s == "" && (n < len(f)) == (gap >= 0) // :: is one field of zeros at least
}

// scanField reads the hexadecimal digits that s begins with. The value is that
// of the last four.
func scanField(s string) (value uint16, digits int) {
	for ; digits < len(s); digits++ {
		d := unhex(s[digits])
		if d > 15 {
			break
		}
		value = value<<4 | uint16(d)
	}
	return value, digits
}

// unhex returns the value of a hexadecimal digit, or more than 15.
func unhex(c byte) byte {
	switch {
	case c-'0' <= 9:
		return c - '0'
	case (c|0x20)-'a' <= 5:
		return (c | 0x20) - 'a' + 10
	}
	return math.MaxUint8
}
