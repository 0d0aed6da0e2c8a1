package hosttext

import (
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"
)

// A Text is a text that names a host, and all that parsers find in it.
type Text struct {
	// Form is how the text is read: FormAddr, FormHost, FormHostPort or FormURL.
	Form string

	// Strict reports whether the strict parsers accept the whole text: net/netip
	// an address, package net a name, net.SplitHostPort and net/url the rest.
	Strict bool

	// Readings are the hosts that parsers find in the text, the likeliest
	// first. A Strict text has one, and a text without a host has none.
	Readings []Reading
}

// A Reading is one way to read a host.
type Reading struct {
	Host     string
	Addr     netip.Addr // that Host denotes, which may be IPv4-mapped; the zero Addr if none
	Spelling Spelling
}

// A Spelling says who reads a host as an address, or what else it is.
type Spelling uint8

// The spellings of an address, from the one that all read to those of a few.
const (
	Address   Spelling = iota // net/netip reads it
	Legacy                    // inet_aton(3) and the URL standard read it: 0x7f.1
	FinalDot                  // the URL standard reads it without its final dot
	JavaZeros                 // Java reads it, to which zeros in front mean nothing
	LegacyV6                  // Chromium reads it, an IPv6 address that ends in a Legacy one
)

// The spellings of what is no address.
const (
	Empty    Spelling = iota + LegacyV6 + 1
	Name              // package net looks it up
	Unmapped          // it is not ASCII: IDNA may make an address or a name of it
	Numbers           // it looks like an IPv4 address; some look it up, BSDs keep the lower 32 bits of a number
	Colons            // it looks like an IPv6 address
	Other
)

// Parse returns how text is read, first by the strict parsers and, where these
// refuse it, by all others.
func Parse(text string) Text {
	clean := withoutBlanks(text)
	t := Text{Form: formOf(clean)}
	host, split := splitStrictly(text, t.Form)
	if split {
		t.Readings = read(host)
		first := t.Readings[0]
		switch first.Spelling {
		case Address, Name:
			t.Strict = first.Host == host // the whole of it
		case Empty:
			t.Strict = host == "" && text != ""
		}
	}
	switch {
	case t.Strict:
		t.Readings = t.Readings[:1]
	case text != "":
		t.Readings = readLeniently(text, clean, t.Form)
	}
	return t
}

// readLeniently returns what lenient parsers find in text; clean is text
// without blanks.
func readLeniently(text, clean, form string) (readings []Reading) {
	var hosts []string
	if form == FormAddr || form == FormHost {
		if strings.Contains(text, "@") {
			hosts = hostsInAuthority(text)
		}
		hosts = append(hosts, text)
	} else {
		for _, s := range slices.Compact([]string{clean, strings.TrimFunc(text, isBlank)}) {
			hosts = append(hosts, hostsOf(s, form)...)
		}
	}
	add := func(host string) {
		for _, r := range read(host) {
			if !slices.Contains(readings, r) {
				readings = append(readings, r)
			}
		}
	}
	for _, host := range hosts {
		// The URL standard decodes a host first. Others take it as it stands,
		// or know a percent sign only in front of a zone.
		if plain := unescape(host); plain != host {
			add(plain)
			if !strings.Contains(host, ":") {
				continue
			}
		}
		add(host)
	}
	return readings
}

// read returns the readings of host, one at least: of the strict parsers, or of
// the lenient ones where those fail.
func read(host string) []Reading {
	if host == "" {
		return []Reading{{Spelling: Empty}}
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		readings := []Reading{{Host: host, Addr: addr, Spelling: Address}}
		if len(host) <= len("%xx")*MaxAddr6 {
			if plain := unescape(host); plain != host {
				readings = append(readings, read(plain)...)
			}
		}
		return readings
	}
	if (ValidName(host) || host == ".") && !endsInNumber(host) {
		return []Reading{{Host: host, Spelling: Name}}
	}
	if !isASCII(host) {
		return []Reading{{Host: host, Spelling: Unmapped}}
	}

	// A character that cannot be in a host ends it for some parsers, such as
	// inet_aton. Others leave the character out, or refuse the host.
	if strings.IndexFunc(host, isBlank) >= 0 {
		return append(read(untilBlank(host)), read(untilBlank(withoutBlanks(host)))...)
	}
	if host[0] == '[' {
		inner, _, _ := strings.Cut(strings.TrimLeft(host, "["), "]")
		return read(inner)
	}
	if i := strings.IndexAny(host, "]%/"); i >= 0 {
		return read(host[:i])
	}
	return readNumbers(host)
}

// readNumbers returns the readings of host, one at least, which is ASCII and
// neither an address to net/netip nor a valid name.
func readNumbers(host string) (readings []Reading) {
	add := func(addr netip.Addr, s Spelling) {
		if !slices.ContainsFunc(readings, func(r Reading) bool { return r.Addr == addr }) {
			readings = append(readings, Reading{Host: host, Addr: addr, Spelling: s})
		}
	}
	plain, dotted := strings.CutSuffix(host, ".")
	if addr, ok := Legacy4(plain, Common); ok && dotted {
		add(addr, FinalDot)
	} else if ok {
		add(addr, Legacy)
	}
	if addr, ok := Legacy4(plain, Decimal); ok {
		add(addr, JavaZeros)
	}
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		if tail := host[i+1:]; strings.Count(tail, ".") == 3 {
			if v4, ok := Legacy4(tail, Common); ok {
				if addr, err := netip.ParseAddr(host[:i+1] + v4.String()); err == nil {
					add(addr, LegacyV6)
				}
			}
		}
		if addr, err := netip.ParseAddr(trimZeros(host)); err == nil {
			add(addr, JavaZeros)
		}
	}
	if len(readings) > 0 {
		return readings
	}
	switch {
	case strings.Contains(host, ":") && strings.Trim(host, "0123456789abcdefABCDEF:.") == "":
		return []Reading{{Host: host, Spelling: Colons}}
	case isNumbers(host):
		return []Reading{{Host: host, Spelling: Numbers}}
	}
	return []Reading{{Host: host, Spelling: Other}}
}

// LooksLikeAddr reports whether any program may take s, which is a word of
// ASCII, for an address in some spelling.
func LooksLikeAddr(s string) bool {
	switch read(s)[0].Spelling {
	case Empty, Name, Unmapped, Other:
		return false
	}
	return true
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

// untilBlank returns the first part of s without blanks.
func untilBlank(s string) string {
	s = strings.TrimLeftFunc(s, isBlank)
	if i := strings.IndexFunc(s, isBlank); i >= 0 {
		s = s[:i]
	}
	return s
}

// isNumbers reports whether host is numbers and dots.
func isNumbers(host string) bool {
	for label := range strings.SplitSeq(host, ".") {
		if label != "" && !isNumber(label) {
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
		if begin && s[i] == '0' && i+1 < len(s) && unhex(s[i+1]) <= 15 {
			continue
		}
		begin = unhex(s[i]) > 15
		b = append(b, s[i])
	}
	return string(b)
}
