package hosttext

import "strings"

// EndsLikeLocalhost reports whether the last byte of name is one that a name
// for localhost can end in. It is small enough to be inlined, and turns away
// most other texts before [IsLocalhost].
func EndsLikeLocalhost(name string) bool {
	return name != "" && (name[len(name)-1]|0x20 == 't' || name[len(name)-1] == '.')
}

// IsLocalhost reports whether name is localhost or a name below it, in any mix
// of ASCII case and with or without one final dot, of labels that [ValidName]
// accepts: RFC 6761, section 6.3.
func IsLocalhost(name string) bool {
	const local = "localhost"
	n := len(name)
	if n > 0 && name[n-1] == '.' {
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
	return below == "" || below[len(below)-1] == '.' && ValidName(below)
}

// ValidName reports whether name, up to 253 bytes and perhaps a final dot, is
// what package net takes for a host name and looks up: its isDomainName, less
// the root. It does not tell names from IPv4 addresses.
func ValidName(name string) bool {
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
