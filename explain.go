package loopback

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Reach says whether a connection to a text would reach the machine that makes
// it, whatever other addresses that machine has. The zero value is ReachMaybe.
type Reach uint8

const (
	ReachMaybe Reach = iota // it depends: on who reads the text, on the hosts file, on DNS, on the network
	ReachNo                 // it goes to another machine, or to none
	ReachYes                // whoever connects to it connects to this machine
)

// String returns maybe, no or yes.
func (r Reach) String() string {
	switch r {
	case ReachMaybe:
		return "maybe"
	case ReachNo:
		return "no"
	case ReachYes:
		return "yes"
	}
	return "Reach(" + strconv.Itoa(int(r)) + ")"
}

// MarshalText returns the String of the answer. The error is always nil.
func (r Reach) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// An Explanation is what [Explain] found out about a text.
type Explanation struct {
	// Input is the text, whole.
	Input string `json:"input"`

	// Form is how the text was read: "addr", "host" (a name), "hostport" or "url".
	Form string `json:"form"`

	// Valid reports whether the strict parsers accept the text: for an
	// address [netip.ParseAddr], for a name the rules of package net (and
	// its last label is not a number), for a host and port
	// [net.SplitHostPort], which takes brackets round anything, and a port that
	// can be one, for a URL [url.Parse], with a host in it and no more than
	// 64 KiB before the path.
	Valid bool `json:"valid"`

	// Loopback reports whether the text is valid and [IsHost] accepts its host.
	Loopback bool `json:"loopback"`

	// Host is the host part, without brackets. Where the text is not valid
	// it is what a lenient parser would take for the host.
	Host string `json:"host"`

	// Addr is the address that Host denotes for whoever accepts it, not
	// necessarily for net/netip: 127.0.0.1 for "127.1". It is unmapped, and
	// keeps the zone of an IPv6 address. It is the zero Addr for a name.
	Addr netip.Addr `json:"addr"`

	// Kind is the kind of Addr.
	Kind Kind `json:"kind"`

	// Reach says whether a connection to the text reaches this machine.
	Reach Reach `json:"reach"`

	// Reason says why, in one sentence that names the input, shortened if
	// it is long.
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

// Explain says what text is, an address, a host name, a host and port or a
// URL, who accepts it, and where a connection to it ends up. It does no I/O:
// it asks neither the hosts file, nor DNS, nor the interfaces of this machine.
//
// Reach is the answer for the most lenient parser in use. A text that the
// strict ones refuse is ReachMaybe if another one could find this machine in
// it: the C library and browsers read 0x7f.1 as 127.0.0.1, browsers drop a
// final dot, browsers and net/http map full-width digits to plain ones, Java
// reads 0127.0.0.1 in decimal, Chromium takes old spellings at the end of an
// IPv6 address, macOS and FreeBSD leave out what a number has above 32 bits.
// ReachMaybe are also all names, even localhost, because of the hosts file and
// DNS; every zoned address of fe80::/10, which may be on a loopback interface;
// 127.255.255.255, which can be bound but not connected to; and whatever leaves
// a doubt. Addresses that a machine may have besides loopback are ReachNo.
//
// ReachNo is no protection from requests to this machine: what a client
// connects to is decided after this text is parsed and resolved. Check the
// address of the connection.
func Explain(text string) Explanation {
	e := Explanation{Input: text}
	clean := withoutBlanks(text)
	e.Form = formOf(clean)

	host, split := splitStrictly(text, e.Form)
	r := readHost(host)
	e.Valid = split && (r.strict || host == "" && text != "")
	hasHost := true
	if !e.Valid && text != "" {
		r, hasHost = readLeniently(text, clean, e.Form)
	}

	e.Host, e.Addr, e.Kind, e.Reach = r.host, r.addr, KindOf(r.addr), r.reach
	e.Loopback = e.Valid && IsHost(e.Host)
	if !e.Valid && text != "" && e.Reach == ReachYes {
		e.Reach = ReachMaybe // only for those who put up with the rest
	}
	e.Reason = quote(text)
	switch {
	case !hasHost:
		e.Reason += " names no host: nothing connects to it"
	case e.Host == text:
		e.Reason += " " + r.why
	case split && e.Host == host:
		e.Reason += ": the host " + quote(host) + " " + r.why
	default:
		e.Reason += " is refused by Go's parsers; to those that read it all the same, the host is " + quote(e.Host) + ", which " + r.why
	}
	return e
}
