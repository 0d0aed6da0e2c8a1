package loopback

import (
	"math"
	"strings"
)

// IsName reports whether name is a name for loopback by RFC 6761, section
// 6.3: localhost, or a name below it, in any mix of ASCII case, with or
// without one final dot.
//
// The labels have to be what package net takes for a host name: letters,
// digits, hyphens and underscores, no hyphen at either end, at most 63 bytes
// each, and at most 253 bytes in all. So "*.localhost" and "a..localhost" are
// not names, and neither is anything that is not ASCII.
//
// What this machine makes of such a name is another question: Go and the C
// library ask the hosts file and DNS.
func IsName(name string) bool {
	return endsLikeName(name) && isName(name)
}

// endsLikeName turns away most of what is not a name for loopback; it is small
// enough to be inlined.
func endsLikeName(s string) bool {
	return s != "" && (s[len(s)-1]|0x20 == 't' || s[len(s)-1] == '.')
}

func isName(name string) bool {
	const local = "localhost"
	n := len(name)
	if name[n-1] == '.' {
		n--
	}
	if n < len(local) || n > 253 {
		return false
	}
	below, last := name[:n-len(local)], name[n-len(local):n]
	if last != local {
		for i := range len(local) {
			if last[i]|0x20 != local[i] { // equal for the letter alone, in either case
				return false
			}
		}
	}
	return below == "" || below[len(below)-1] == '.' && validName(below)
}

// IsHost reports whether host is loopback: an address that [netip.ParseAddr]
// reads and [Is] accepts, or a name that [IsName] accepts. There are no
// brackets and no port in it; an IPv6 address may have a zone, which does not
// matter.
//
// Every other way to write an address, "127.1" or "0x7f.0.0.1", is false
// here, although some programs read it as 127.0.0.1: see [Explain].
func IsHost(host string) bool {
	if host == "" {
		return false
	}
	switch host[0] {
	case '1':
		if loopback4(host) {
			return true
		}
	case '0', ':':
		if addr, zone, zoned := strings.Cut(host[:min(len(host), maxAddr6+2)], "%"); zoned {
			return zone != "" && loopback6(addr)
		}
		if loopback6(host) {
			return true
		}
	}
	return endsLikeName(host) && isName(host)
}

// IsHostHeader reports whether value, the value of an HTTP Host header or of
// the :authority of HTTP/2, names loopback: uri-host [":" *DIGIT], as in RFC
// 9110, section 7.2, where the host is an IPv4 address, an IPv6 address in
// brackets, or a name, and [IsHost] accepts it.
//
// Brackets are for IPv6 only, and an address in them has no zone. The port
// may be any row of digits, and empty: it is not compared with anything, and
// no number is too large. An empty value is false.
func IsHostHeader(value string) bool {
	host := value
	i := len(value)
	for i > 0 && value[i-1]-'0' <= 9 {
		i--
	}
	if i > 0 && value[i-1] == ':' {
		host = value[:i-1]
	}
	if host == "" {
		return false
	}
	switch last := len(host) - 1; host[0] {
	case '[':
		// Only zeros can lead to an address that is loopback.
		return host[last] == ']' && (host[1] == ':' || host[1] == '0') && loopback6(host[1:last])
	case '1':
		if loopback4(host) {
			return true
		}
	}
	return endsLikeName(host) && isName(host)
}

// validName reports whether name, up to 253 bytes and perhaps a final dot, is
// what package net takes for a host name and looks up: its isDomainName, less
// the root. It does not tell names from IPv4 addresses.
func validName(name string) bool {
	name = strings.TrimSuffix(name, ".")
	if name == "" || len(name) > 253 {
		return false
	}
	label := 0 // its length so far
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case 'a' <= c|0x20 && c|0x20 <= 'z', c-'0' <= 9, c == '_', c == '-' && label > 0:
			if label++; label > 63 {
				return false
			}
		case c == '.' && label > 0 && name[i-1] != '-':
			label = 0
		default:
			return false
		}
	}
	return label > 0 && name[len(name)-1] != '-'
}

// The two scanners below read what netip.ParseAddr reads, and say no where it
// would allocate an error.

// loopback4 reports whether s is an address of 127.0.0.0/8 in dotted form.
func loopback4(s string) bool {
	if len(s) < 4 || s[:4] != "127." {
		return false
	}
	_, ok := scan4(s)
	return ok
}

// scan4 reads an IPv4 address: four numbers up to 255 without leading zeros.
func scan4(s string) (addr uint32, ok bool) {
	if len(s) > len("255.255.255.255") {
		return 0, false
	}
	var n, digits, dots uint32
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c-'0' <= 9:
			if digits > 0 && n == 0 {
				return 0, false
			}
			if n = 10*n + uint32(c-'0'); n > math.MaxUint8 {
				return 0, false
			}
			digits++
		case c == '.' && digits > 0 && dots < 3:
			addr = addr<<8 | n
			n, digits = 0, 0
			dots++
		default:
			return 0, false
		}
	}
	return addr<<8 | n, dots == 3 && digits > 0
}

// maxAddr6 is the length of the longest IPv6 address, which ends in IPv4.
const maxAddr6 = len("0000:0000:0000:0000:0000:ffff:255.255.255.255")

// loopback6 reports whether s is, without a zone, ::1 or an address of
// 127.0.0.0/8 in IPv4-mapped form.
func loopback6(s string) bool {
	if s == "::1" {
		return true
	}
	if len(s) > maxAddr6 {
		return false
	}
	var f [8]uint16
	n, gap := 0, -1 // fields read; how many before the ::
	if strings.HasPrefix(s, "::") {
		gap = 0
		s = s[2:]
	}
	for s != "" && n < len(f) {
		i := 0
		for ; i < len(s); i++ {
			d := unhex(s[i])
			if d > 15 {
				break
			}
			f[n] = f[n]<<4 | uint16(d)
		}
		if i < len(s) && s[i] == '.' { // IPv4 in the last two fields
			v4, ok := scan4(s)
			if !ok || n > 6 || gap < 0 && n != 6 {
				return false
			}
			f[n], f[n+1] = uint16(v4>>16), uint16(v4)
			n += 2
			s = ""
			break
		}
		if i == 0 || i > 4 {
			return false
		}
		n++
		if s = s[i:]; s == "" {
			break
		}
		// A colon and another field, or a colon and the only ::.
		if s[0] != ':' || len(s) == 1 {
			return false
		}
		if s = s[1:]; s[0] == ':' {
			if gap >= 0 {
				return false
			}
			gap = n
			s = s[1:]
		}
	}
	if s != "" || (n < len(f)) != (gap >= 0) { // :: is one field of zeros at least
		return false
	}
	if gap >= 0 {
		tail := n - gap
		copy(f[len(f)-tail:], f[gap:n])
		clear(f[gap : len(f)-tail])
	}
	if f[0]|f[1]|f[2]|f[3]|f[4] != 0 {
		return false
	}
	return f[5] == 0xffff && f[6]>>8 == 127 || f[5]|f[6] == 0 && f[7] == 1
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
