package loopback

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"example.com/loopback/internal/hosttext"
)

// A hostReading is what a host is, taken for itself.
type hostReading struct {
	host   string
	strict bool       // netip.ParseAddr reads it, or it is a name to package net
	addr   netip.Addr // what it denotes, unmapped
	reach  Reach
	why    string // the predicate of a sentence whose subject is the host
}

// readHost reads host as the strict parsers do, and as the lenient ones do
// where those fail.
func readHost(host string) hostReading {
	r := hostReading{host: host}
	if host == "" {
		r.reach, r.why = ReachYes, "is empty: Go's Dial takes that for this machine, and its Listen for every interface"
		return r
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		r.strict, r.addr = true, addr.Unmap()
		r.reach, r.why = reachAddr(addr)
		if r.reach == ReachNo && len(host) <= len("%xx")*hosttext.MaxAddr6 {
			if plain := unescape(host); plain != host {
				if p := readHost(plain); p.addr.IsValid() && p.reach != ReachNo {
					r.reach, r.why = ReachMaybe, "is an address with a zone, but Chromium takes the percent sign for an escape, and reads "+quote(plain)
				}
			}
		}
		return r
	}
	if (hosttext.ValidName(host) || host == ".") && !hosttext.EndsInNumber(host) {
		r.strict, r.why = true, whyName(host)
		return r
	}
	if !isASCII(host) {
		r.why = "is not ASCII: package net refuses it, but net/http and browsers map it by IDNA first, and that may give 127.0.0.1 or localhost"
		return r
	}

	// What is no part of a host ends it for some parsers, inet_aton and what
	// is written in C among them, and is left out or refused by others.
	if strings.IndexFunc(host, isBlank) >= 0 {
		untilBlank := func(s string) string {
			s = strings.TrimLeftFunc(s, isBlank)
			if i := strings.IndexFunc(s, isBlank); i >= 0 {
				s = s[:i]
			}
			return s
		}
		return firstLocal(readHost(untilBlank(host)), readHost(untilBlank(withoutBlanks(host))))
	}
	if host[0] == '[' {
		inner, _, _ := strings.Cut(strings.TrimLeft(host, "["), "]")
		return firstLocal(readHost(inner))
	}
	if i := strings.IndexAny(host, "]%/"); i >= 0 {
		return firstLocal(readHost(host[:i]))
	}

	r.addr, r.reach, r.why = readLegacy(host)
	return r
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// isBlank reports whether c is white space or a control character.
func isBlank(c rune) bool { return c <= ' ' }

// withoutBlanks returns s the way the URL standard begins: without blanks at
// the ends, and without tabs and line ends anywhere.
func withoutBlanks(s string) string {
	s = strings.TrimFunc(s, isBlank)
	if strings.ContainsAny(s, "\t\r\n") {
		s = strings.Map(func(c rune) rune {
			if c == '\t' || c == '\r' || c == '\n' {
				return -1
			}
			return c
		}, s)
	}
	return s
}

// firstLocal returns the first reading that may reach this machine, or the
// first of all. None of them is strict: they are not of the whole text.
func firstLocal(readings ...hostReading) hostReading {
	i := max(0, slices.IndexFunc(readings, func(r hostReading) bool { return r.reach != ReachNo }))
	readings[i].strict = false
	return readings[i]
}

// reachAddr says where a connection to addr ends up.
func reachAddr(addr netip.Addr) (reach Reach, why string) {
	kind, zone := KindOf(addr), addr.Zone()
	switch {
	case (kind.IsLoopback() || kind == KindUnspecified) && zone != "" && !isUsualZone(zone):
		return ReachMaybe, "is an address of this machine with a zone that it does not need: " +
			"Go and Node ignore the zone, the C library and Java refuse the text"
	case kind.IsLoopback() && addr.Unmap() == netip.AddrFrom4([4]byte{127, 255, 255, 255}):
		return ReachMaybe, "is the broadcast address of 127.0.0.0/8: a socket can be bound to it, but Linux does not connect to it"
	case kind == KindIPv4:
		return ReachYes, "is an address of 127.0.0.0/8: a connection to it stays on this machine"
	case kind == KindIPv6:
		return ReachYes, "is the loopback address of IPv6: a connection to it stays on this machine"
	case kind == KindMapped:
		return ReachYes, "is an address of 127.0.0.0/8 in IPv4-mapped form: a connection to it stays on this machine, " +
			"but not every program takes it for loopback"
	case kind == KindUnspecified:
		return ReachYes, "is the unspecified address: who connects to it reaches this machine, who listens on it listens on every interface"
	case kind == KindEmbedded:
		return ReachMaybe, "has an IPv4 address of this machine inside: an ordinary machine sends it out to the network, " +
			"a translator or tunnel may bring it back"
	case addr.IsMulticast(): // a connection to it is an error: RFC 1122, 4.2.3.10
		return ReachNo, "is a multicast address: nothing connects to it"
	case addr.Unmap().Is6() && addr.IsLinkLocalUnicast() && zone != "":
		return ReachMaybe, "is a link-local address: whether its zone is the loopback interface cannot be told from the text"
	case addr.Unmap().Is6() && addr.IsLinkLocalUnicast():
		return ReachNo, "is a link-local address without a zone: nothing connects to it"
	}
	return ReachNo, "is an address outside loopback: a connection to it leaves this machine, unless the address is its own"
}

// isUsualZone reports whether zone, of an address that needs none, is one that
// is taken everywhere, a number, or the name of the interface itself.
func isUsualZone(zone string) bool {
	_, err := strconv.ParseUint(zone, 10, 32)
	return err == nil || zone == "lo"
}

// whyName says what a valid name is.
func whyName(name string) string {
	switch {
	case !IsName(name):
		return "is an ordinary name: it leads where the hosts file or DNS says, and that may be this machine"
	case strings.HasSuffix(name, "."):
		return "is loopback by RFC 6761, but for its final dot Go and the C library do not find it in the hosts file, and ask DNS"
	case strings.Contains(name, "."):
		return "is loopback by RFC 6761, as browsers and systemd have it, but Go and the C library ask the hosts file and DNS"
	}
	return "is the name of loopback by RFC 6761, but Go and the C library believe the hosts file, and without an entry there DNS"
}

// readLegacy reads host, which is ASCII and neither an address to netip nor a
// valid name, as an address in one of the forms that others take.
func readLegacy(host string) (addr netip.Addr, reach Reach, why string) {
	plain, dotted := strings.CutSuffix(host, ".")
	octal, isOctal := hosttext.Legacy4(plain, hosttext.Common)
	java, isDecimal := hosttext.Legacy4(plain, hosttext.Decimal)
	switch {
	case isDecimal && !isOctal:
		reach, why = reachAddr(java)
		return java, reach, fmt.Sprintf("is nothing to the C library and to browsers, for which 0 begins an octal number, "+
			"but %v to Java; %[1]v %s", java, why)
	case isDecimal && isHere(java) && !isHere(octal):
		return octal, ReachMaybe, fmt.Sprintf("is %v to the C library and to browsers, for which 0 begins an octal number, "+
			"but %v to Java, and so reaches this machine", octal, java)
	case isOctal && dotted:
		reach, why = reachAddr(octal)
		return octal, reach, fmt.Sprintf("is %v with a final dot, which browsers drop and others refuse; %[1]v %s", octal, why)
	case isOctal:
		reach, why = reachAddr(octal)
		return octal, reach, fmt.Sprintf("is an old spelling of %v, which Go's own parsers refuse, "+
			"but the C library, Go through cgo, and browsers read; %[1]v %s", octal, why)
	}

	if r, ok := readLegacy6(host); ok {
		return r.addr, r.reach, r.why
	}
	if strings.Contains(host, ":") && strings.Trim(host, "0123456789abcdefABCDEF:.") == "" {
		return addr, ReachNo, "looks like an IPv6 address and is none: nothing connects to it"
	}
	if isNumbers(host) {
		if low, ok := hosttext.Legacy4(host, hosttext.Modulo); ok && isHere(low) {
			return addr, ReachMaybe, fmt.Sprintf("looks like an IPv4 address and is none, but the C library of macOS and FreeBSD "+
				"leaves out what is above 32 bits, and comes to %v", low)
		}
		return addr, ReachNo, "looks like an IPv4 address and is none: nothing connects to it"
	}
	return addr, ReachMaybe, "is neither an address nor a valid host name: Go refuses it, but others may look it up"
}

// readLegacy6 reads host, which netip refuses, as an IPv6 address.
func readLegacy6(host string) (r hostReading, ok bool) {
	colon := strings.LastIndexByte(host, ':')
	if colon < 0 {
		return r, false
	}
	var readings []hostReading
	read := func(text, who string) {
		if addr, err := netip.ParseAddr(text); err == nil {
			reach, why := reachAddr(addr)
			readings = append(readings, hostReading{addr: addr.Unmap(), reach: reach,
				why: fmt.Sprintf("is %v to %s, but not to others; %[1]v %[3]s", addr, who, why)})
		}
	}
	if tail := host[colon+1:]; strings.Count(tail, ".") == 3 {
		if v4, ok := hosttext.Legacy4(tail, hosttext.Common); ok {
			read(host[:colon+1]+v4.String(), "Chromium, which takes an old spelling of the IPv4 address at the end")
		}
	}
	read(trimZeros(host), "Java, which takes any number of zeros in front")
	if len(readings) == 0 {
		return r, false
	}
	return firstLocal(readings...), true
}

// isHere reports whether a connection to addr is one to this machine.
func isHere(addr netip.Addr) bool { return Is(addr) || addr.IsUnspecified() }

// isNumbers reports whether host is numbers and dots.
func isNumbers(host string) bool {
	for label := range strings.SplitSeq(host, ".") {
		if label != "" && !hosttext.IsNumber(label) {
			return false
		}
	}
	return strings.Trim(host, ".") != ""
}

// trimZeros returns s without the zeros that its numbers begin with.
func trimZeros(s string) string {
	b := make([]byte, 0, len(s))
	begin := true // of a number
	for i := range len(s) {
		if begin && s[i] == '0' && i+1 < len(s) && hosttext.Unhex(s[i+1]) <= 15 {
			continue
		}
		begin = hosttext.Unhex(s[i]) > 15
		b = append(b, s[i])
	}
	return string(b)
}
