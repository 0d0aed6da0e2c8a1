package loopback

import (
	"fmt"
	"net/netip"
	"strings"

	"example.com/loopback/internal/enum"
	"example.com/loopback/internal/hosttext"
)

// Reach says whether a connection to a text would reach the machine that makes
// it, whatever addresses that machine has. The zero value is ReachMaybe.
type Reach uint8

const (
	ReachMaybe Reach = iota // programs read the text differently, or the hosts file, DNS or the network decides
	ReachNo                 // every program that reads the text connects to another machine, or to none
	ReachYes                // every program that reads the text connects to this machine
)

var reachNames = []string{ReachMaybe: "maybe", ReachNo: "no", ReachYes: "yes"}

// String returns maybe, no or yes.
func (r Reach) String() string { return enum.Text(r, "Reach", reachNames) }

// MarshalText returns the String of the answer. The error is always nil.
func (r Reach) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText sets the answer to the one that text names. Any other text is
// an error, and the answer stays as it is.
func (r *Reach) UnmarshalText(text []byte) error { return enum.Parse(r, text, "Reach", reachNames) }

// An Explanation is what [Explain] found out about a text.
type Explanation struct {
	// Input is the text, whole.
	Input string `json:"input"`

	// Form is how the text was read: "addr", "host" (a name), "hostport" or "url".
	Form string `json:"form"`

	// Valid reports whether the strict parsers accept the text. They are
	// [netip.ParseAddr] for an address, the rules of package net for a name
	// (whose last label is no number), [net.SplitHostPort] for a host and port,
	// and [url.Parse] for a URL. A URL must have a host or a port, an IPv6
	// address in brackets, and no more than 64 KiB before its path. A port is a
	// number up to 65535, a service name that package net knows on every
	// machine, or empty.
	Valid bool `json:"valid"`

	// Loopback reports whether the text is valid and [IsHost] accepts its host.
	Loopback bool `json:"loopback"`

	// Host is the host part, without brackets. In a text that is not valid it
	// is the host that a lenient parser finds.
	Host string `json:"host"`

	// Addr is the address that Host denotes for the programs that accept it,
	// among which net/netip need not be: "127.1" denotes 127.0.0.1. It is
	// unmapped, and keeps the zone of an IPv6 address. It is the zero Addr if
	// Host is a name or denotes nothing.
	Addr netip.Addr `json:"addr"`

	// Kind is the kind of Addr.
	Kind Kind `json:"kind"`

	// Reach says whether a connection to the text reaches this machine.
	Reach Reach `json:"reach"`

	// Reason says why in one sentence, which begins with the quoted input. A
	// long input is cut short there.
	Reason string `json:"reason"`
}

// String returns the explanation as two lines of text for a terminal.
func (e Explanation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s\n  %s", strings.ToUpper(e.Reach.String()), e.Reason, e.Form)
	for _, p := range []struct {
		is   bool
		what string
	}{{e.Valid, "valid"}, {e.Loopback, "loopback"}} {
		if b.WriteString(", "); !p.is {
			b.WriteString("not ")
		}
		b.WriteString(p.what)
	}
	if e.Addr.IsValid() {
		addr := e.Addr.WithZone("") // a zone may be as long as the input
		fmt.Fprintf(&b, ", %v (%v)", addr, e.Kind)
	}
	return b.String()
}

// MarshalJSON returns the explanation as a JSON object. A byte that is not UTF-8
// becomes the character U+FFFD, so that the object can be read back and written
// again without a difference.
func (e Explanation) MarshalJSON() ([]byte, error) {
	type plain Explanation // without this method
	e.Input, e.Host, e.Addr = inUTF8(e.Input), inUTF8(e.Host), e.Addr.WithZone(inUTF8(e.Addr.Zone()))
	return marshal(plain(e))
}

// Explain says how text is read as an address, a host name, a host and port or
// a URL, who reads it so, and where a connection to it leads. It does no I/O,
// so it asks neither the hosts file nor DNS nor the interfaces of this machine.
//
// Reach is ReachYes or ReachNo only for texts that every program reads alike.
// They are printable ASCII without a backslash, and have one of these forms:
//
//   - An address that [netip.ParseAddr] reads. An IPv6 address must not read
//     differently to programs that take a decimal number behind its last colon
//     for a port, and one that begins with 0 is never ReachNo. A zone must be lo
//     or one digit, and the address ::1, :: or IPv4-mapped.
//   - Such an address with a port number, or with an empty one. Here an IPv6
//     address is in brackets and has no zone. A port without an address is
//     ReachYes, and so is the empty text.
//   - scheme://user:password@HOST:PORT and what may follow, where user, password
//     and port are optional, and the host is written as in the second form. User
//     and password consist of letters, digits and "-._~", and neither is an
//     address or localhost. No @ follows a ? or # that comes right after the
//     host or the port. With schemes other than http, https, ws, wss and ftp
//     neither ? nor @ follows at all. The schemes of unix sockets (unix, ldapi,
//     http+unix and the like) are always ReachMaybe.
//
// Of these, a loopback or unspecified address is ReachYes, and 127.255.255.255
// and addresses of KindEmbedded are ReachMaybe. Any other address is ReachNo,
// although a machine may have it besides loopback. The URL file:///path is
// ReachNo as well. All other texts are ReachMaybe, among them every name, even
// localhost, and every text that is not valid, such as 0x7f.1, which the C
// library and browsers read as 127.0.0.1.
//
// Where programs find several hosts in a text, Host and Addr are the first that
// may be this machine.
//
// ReachNo is no protection against requests to this machine, because a client
// connects to an address that is found after this text is parsed and resolved.
// [Forbid] checks the address of the connection.
func Explain(text string) Explanation {
	t := hosttext.Parse(text)
	r := likeliest(t)
	e := Explanation{Input: text, Form: t.Form, Valid: t.Strict, Host: r.Host, Addr: r.Addr.Unmap(), Kind: KindOf(r.Addr.Unmap())}
	e.Loopback = e.Valid && IsHost(e.Host)
	switch {
	case text == "":
		e.Reach, e.Reason = ReachYes, "is empty, which Go's Dial takes for this machine and its Listen for every interface"
	case isFile(text):
		e.Reach, e.Reason = ReachNo, "is the path of a file, and nothing connects to it"
	case len(t.Readings) == 0:
		e.Reason = "names no host, and many clients then connect to this machine"
	case !t.Strict:
		e.Reason = "is refused by Go's parsers, but " + whoReads(text, t, r)
		if t.Form == hosttext.FormURL && hasNoAuthority(text) {
			e.Reason += ", and clients that find no host connect to this machine"
		}
	case r.Spelling == hosttext.Address:
		e.Reach, e.Reason = whereAddrLeads(text, t, r.Addr)
	case r.Spelling == hosttext.Name:
		e.Reason = subjectOf(text, r) + whatNameIs(r.Host)
	default:
		e.Reach, e.Reason = whereNoHostLeads(text, t.Form)
	}
	e.Reason = quote(text) + " " + e.Reason
	return e
}

// likeliest returns the only reading of a valid text. Of the others it returns the
// first that may lead to this machine, else the first.
func likeliest(t hosttext.Text) hosttext.Reading {
	if len(t.Readings) == 0 {
		return hosttext.Reading{}
	}
	if !t.Strict {
		for _, r := range t.Readings {
			if mayBeHere(r) {
				return r
			}
		}
	}
	return t.Readings[0]
}

// mayBeHere reports whether r may lead to this machine.
func mayBeHere(r hosttext.Reading) bool {
	if r.Addr.IsValid() {
		return destinationOf(r.Addr).reach != ReachNo
	}
	return r.Spelling != hosttext.Numbers && r.Spelling != hosttext.Colons
}

// subjectOf begins a sentence about the host of text, after the text itself.
func subjectOf(text string, r hosttext.Reading) string {
	if r.Host == text {
		return "is "
	}
	return "has the host " + quote(r.Host) + ", which is "
}

// A destination is where a connection to an address leads.
type destination struct {
	reach Reach
	what  string // the address is, as a noun
	where string // a connection to the address leads, as a sentence
}

func destinationOf(addr netip.Addr) destination {
	const stays = "a connection to it stays on this machine"
	linkLocal := addr.Unmap().Is6() && addr.IsLinkLocalUnicast()
	switch kind := KindOf(addr); {
	case kind.IsLoopback() && addr.Unmap() == broadcast4:
		return destination{reach: ReachMaybe, what: "the broadcast address of 127.0.0.0/8", where: "a socket can be bound to it, but Linux does not connect to it"}
	case kind == KindIPv4:
		return destination{reach: ReachYes, what: "an address of 127.0.0.0/8", where: stays}
	case kind == KindIPv6:
		return destination{reach: ReachYes, what: "the loopback address of IPv6", where: stays}
	case kind == KindMapped:
		return destination{reach: ReachYes, what: "an address of 127.0.0.0/8 in IPv4-mapped form", where: stays + ", but not every program takes it for loopback"}
	case kind == KindUnspecified:
		return destination{reach: ReachYes, what: "the unspecified address", where: "a connection to it reaches this machine, while a listener on it listens on every interface"}
	case kind == KindEmbedded:
		return destination{reach: ReachMaybe, what: "an address with an IPv4 address of this machine inside", where: "an ordinary machine sends it out to the network, but a translator or a tunnel may bring it back"}
	case addr.IsMulticast(): // RFC 1122, 4.2.3.10
		return destination{reach: ReachNo, what: "a multicast address", where: "TCP does not connect to it"}
	case linkLocal && addr.Zone() != "":
		return destination{reach: ReachMaybe, what: "a link-local address", where: "its zone may be the loopback interface"}
	case linkLocal:
		return destination{reach: ReachNo, what: "a link-local address without a zone", where: "a connection needs one"}
	}
	return destination{reach: ReachNo, what: "an address outside loopback", where: "a connection to it leaves this machine, unless the address is its own"}
}

// whereAddrLeads judges a valid text whose host is addr.
func whereAddrLeads(text string, t hosttext.Text, addr netip.Addr) (Reach, string) {
	to := destinationOf(addr)
	subject := subjectOf(text, t.Readings[0]) + to.what
	if doubt := doubtOf(text, t.Form, addr); doubt != "" && to.reach != ReachMaybe {
		return ReachMaybe, subject + ", but " + doubt
	}
	return to.reach, subject + ", and " + to.where
}

// whereNoHostLeads judges a valid text whose host is empty.
func whereNoHostLeads(text, form string) (Reach, string) {
	if form == hosttext.FormURL {
		return ReachMaybe, "has no host, which Go, Perl and Node take for this machine and browsers refuse"
	}
	const subject = "has no host, which Go's Dial takes for this machine and its Listen for every interface"
	if doubt := doubtOfAuthority(text); doubt != "" {
		return ReachMaybe, subject + ", but " + doubt
	}
	return ReachYes, subject
}

// whatNameIs says what a valid name is and who is asked for its address.
func whatNameIs(name string) string {
	switch {
	case !IsName(name):
		return "an ordinary name, and the hosts file or DNS may give an address of this machine for it"
	case strings.HasSuffix(name, "."):
		return "a name of loopback by RFC 6761, but Go and the C library do not find it with its final dot in the hosts file, and ask DNS"
	case strings.Contains(name, "."):
		return "a name of loopback by RFC 6761, and to browsers and systemd, but Go and the C library ask the hosts file and DNS"
	}
	return "the name of loopback by RFC 6761, but Go and the C library believe the hosts file, and without an entry there DNS"
}

// whoReads says which programs find the reading r in a text that Go refuses.
func whoReads(text string, t hosttext.Text, r hosttext.Reading) string {
	host := quote(r.Host)
	if r.Host == text {
		host = "it"
	}
	addr, what := r.Addr.WithZone("").String(), destinationOf(r.Addr).what
	reads := host + " as " + addr + ", " + what
	switch r.Spelling {
	case hosttext.Address:
		return "other programs find " + addr + " in it, " + what
	case hosttext.Legacy:
		return "the C library, Go through cgo, and browsers read " + reads
	case hosttext.FinalDot:
		return "browsers drop the final dot and read " + reads + ", while others ask DNS"
	case hosttext.LegacyV6:
		return "Chromium takes an old spelling of the IPv4 address at the end and reads " + reads
	case hosttext.JavaZeros:
		reads = "Java ignores the zeros in front of a number and reads " + reads
		if first := t.Readings[0]; first.Host == r.Host && first.Addr.IsValid() && first.Addr != r.Addr {
			reads += ", while the C library and browsers read " + first.Addr.String()
		}
		return reads
	case hosttext.Empty:
		return "other programs find an empty host in it, and some take that for this machine"
	case hosttext.Name:
		return "other programs find " + host + " in it, " + whatNameIs(r.Host)
	case hosttext.Unmapped:
		return "net/http and browsers map " + host + " by IDNA, which may give 127.0.0.1 or localhost"
	case hosttext.Numbers:
		return "other programs look " + host + " up in the hosts file and DNS, and some systems drop all but 32 bits of a number"
	case hosttext.Colons:
		return "other programs may find an address and a port in it"
	}
	return "other programs may look " + host + " up in the hosts file and DNS"
}

// doubtOf says what keeps a valid text whose host is addr from being one that
// every program reads alike. It is empty if nothing does.
func doubtOf(text, form string, addr netip.Addr) string {
	if !isPrintable(text) {
		return "programs differ about backslashes and what is not printable ASCII"
	}
	switch form {
	case hosttext.FormAddr:
		return doubtOfAddr(text, addr)
	case hosttext.FormHostPort:
		return doubtOfAuthority(text)
	}
	return doubtOfURL(text)
}

// doubtOfAddr is doubtOf for an address alone.
func doubtOfAddr(text string, addr netip.Addr) string {
	if addr.Is4() {
		return ""
	}
	if zone := addr.Zone(); zone != "" {
		here := addr.WithZone("") == IPv6() || addr.WithZone("") == netip.IPv6Unspecified() || addr.Is4In6()
		if !here || zone != "lo" && (len(zone) > 1 || !isDigits(zone)) {
			return "programs differ about its zone"
		}
	}
	reach := destinationOf(addr).reach
	colon := strings.LastIndexByte(text, ':')
	if port := text[colon+1:]; port != "" && isDigits(port) {
		if short, err := netip.ParseAddr(text[:colon]); err == nil && destinationOf(short).reach != reach {
			return "some programs take the number behind the last colon for a port and find " + short.String()
		}
	}
	if reach == ReachNo && text[0] == '0' {
		return "some programs take what is in front of the first colon for the address 0.0.0.0"
	}
	return ""
}

// doubtOfAuthority is doubtOf for a host and port.
func doubtOfAuthority(text string) string {
	host, port := text, ""
	if i := strings.LastIndexByte(text, ':'); i > strings.LastIndexByte(text, ']') {
		host, port = text[:i], text[i+1:]
	}
	inner, bracketed := strings.CutPrefix(host, "[")
	addr, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
	switch {
	case !isDigits(port):
		return "not every program knows a port by this name"
	case bracketed && (err != nil || addr.Is4()):
		return "not every program takes such brackets"
	case addr.Zone() != "":
		return "programs differ about a zone in brackets"
	}
	return ""
}

// doubtOfURL is doubtOf for a URL.
func doubtOfURL(text string) string {
	scheme, rest := hosttext.CutScheme(text)
	if scheme == "" {
		return "a program must know that the text is the reference of a web page"
	}
	if isUnixScheme(scheme) {
		return "its scheme is one of unix sockets, which are on this machine"
	}
	authority, rest := rest[len("//"):], ""
	if i := strings.IndexAny(authority, "/?#"); i >= 0 {
		authority, rest = authority[:i], authority[i:]
	}
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		user, password, _ := strings.Cut(authority[:i], ":")
		if !isPlainUser(user) || !isPlainUser(password) {
			return "some programs look for the host in the user name and password"
		}
		authority = authority[i+1:]
	}
	switch scheme {
	case "http", "https", "ws", "wss", "ftp":
		if rest != "" && rest[0] != '/' && strings.Contains(rest, "@") {
			return "some programs look for the host behind the last @"
		}
	default:
		if strings.ContainsAny(rest, "?@") {
			return "some clients of such a scheme look for the host behind a question mark or an @"
		}
	}
	return doubtOfAuthority(authority)
}

// hasNoAuthority reports whether the URL text has a scheme, but no host behind
// it by RFC 3986.
func hasNoAuthority(text string) bool {
	scheme, rest := hosttext.CutScheme(text)
	authority, ok := strings.CutPrefix(rest, "//")
	return scheme != "" && (!ok || authority == "" || strings.IndexByte("/?#", authority[0]) >= 0)
}

// isUnixScheme reports whether a URL of this scheme leads to a unix socket.
func isUnixScheme(scheme string) bool {
	return scheme == "unix" || scheme == "ldapi" || strings.HasSuffix(scheme, "+unix")
}

// isPlainUser reports whether s, a user name or a password, is one that no
// program takes for a host.
func isPlainUser(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c|0x20 && c|0x20 <= 'z', '0' <= c && c <= '9', strings.IndexByte("-._~", c) >= 0:
		default:
			return false
		}
	}
	return !IsName(s) && !hosttext.LooksLikeAddr(s)
}

// isFile reports whether text is file:///path, without a host.
func isFile(text string) bool {
	const prefix = "file:///"
	if len(text) < len(prefix) || !strings.EqualFold(text[:len(prefix)], prefix) {
		return false
	}
	path := text[len(prefix):]
	return isPrintable(path) && !strings.HasPrefix(path, "/") // a fourth slash begins a host to Windows
}

// isPrintable reports whether s is printable ASCII without a backslash.
func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' || s[i] == '\\' {
			return false
		}
	}
	return true
}

// isDigits reports whether s is decimal digits, or empty.
func isDigits(s string) bool { return strings.Trim(s, "0123456789") == "" }
