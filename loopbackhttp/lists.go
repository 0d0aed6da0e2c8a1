package loopbackhttp

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"example.com/loopback"
)

// compile reads the lists at the first call, and returns an error that names the
// first entry that is malformed.
func (g *Guard) compile() error {
	g.once.Do(func() {
		for _, entry := range g.Hosts {
			if reason := g.addHost(entry); reason != "" {
				g.err = fmt.Errorf("Guard.Hosts: entry %s: %s", quote(entry), reason)
				return
			}
		}
		for _, entry := range g.Origins {
			if !isOrigin(entry) {
				g.err = fmt.Errorf("Guard.Origins: entry %s: not a scheme, \"://\" and a host, with a port or without", quote(entry))
				return
			}
		}
	})
	return g.err
}

// addHost adds an entry of Hosts, or returns why it is malformed.
func (g *Guard) addHost(entry string) (reason string) {
	addr, bracketed := parseAddr(entry)
	name := strings.TrimSuffix(entry, ".")
	switch {
	case addr.Zone() != "":
		return "has a zone"
	case addr.IsValid() && bracketed && addr.Is4():
		return "has brackets around an IPv4 address"
	case addr.IsValid():
		g.addrs = append(g.addrs, addr.Unmap())
	case withoutPort(entry) != entry:
		return "has a port"
	case !isHostName(strings.TrimPrefix(name, ".")), isNumber(name[strings.LastIndexByte(name, '.')+1:]):
		return "neither a host name nor an IP address"
	default:
		g.names = append(g.names, name)
	}
	return ""
}

// admitsHost reports whether value, that of a Host header, is loopback or listed.
func (g *Guard) admitsHost(value string) bool {
	host := withoutPort(value)
	switch host {
	case "localhost", "127.0.0.1", "[::1]": // most requests
		return true
	}
	name := strings.TrimSuffix(host, ".")
	switch {
	case name == "":
		return false
	case len(name) == len("localhost") && strings.EqualFold(name, "localhost"):
		return true
	case name[len(name)-1]|0x20 != 't' && loopback.IsHostHeader(value): // an address, not a name below localhost
		return true
	}
	for _, listed := range g.names {
		n := len(name) - len(listed)
		switch {
		case n < 0 || !strings.EqualFold(name[n:], listed): // of one length, so ASCII if listed is
		case n == 0 && listed[0] != '.', listed[0] == '.' && len(name) <= maxName && isHostName(name[:n]):
			return true
		}
	}
	if len(g.addrs) == 0 {
		return false
	}
	addr, bracketed := parseAddr(host)
	return addr.Zone() == "" && bracketed == addr.Is6() && slices.Contains(g.addrs, addr.Unmap())
}

// withoutPort returns value without a final colon and the digits behind it.
func withoutPort(value string) string {
	i := len(value)
	for i > 0 && value[i-1]-'0' <= 9 {
		i--
	}
	if i > 0 && value[i-1] == ':' {
		return value[:i-1]
	}
	return value
}

// parseAddr returns the address that host is, perhaps in brackets, and the zero
// Addr if it is none.
func parseAddr(host string) (addr netip.Addr, bracketed bool) {
	bracketed = strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]")
	if bracketed {
		host = host[1 : len(host)-1]
	}
	addr, _ = netip.ParseAddr(host) // the zero Addr with an error
	return addr, bracketed
}

// maxName is the length of the longest name in DNS, without a final dot.
const maxName = 253

// isHostName reports whether name, which has no final dot, consists of labels
// that package net takes for those of a host name.
func isHostName(name string) bool {
	if len(name) > maxName {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if (c|0x20)-'a' > 'z'-'a' && c-'0' > 9 && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

// isNumber reports whether browsers take a host that ends in label for an IPv4
// address: the "ends in a number" of the URL standard.
func isNumber(label string) bool {
	return strings.Trim(label, "0123456789") == "" || strings.HasPrefix(strings.ToLower(label), "0x")
}

// isOrigin reports whether entry is an origin as a browser sends it: RFC 6454,
// section 6.2.
func isOrigin(entry string) bool {
	if strings.ContainsFunc(entry, func(c rune) bool { return c == '*' || c >= utf8.RuneSelf }) {
		return false
	}
	u, err := url.Parse(entry)
	return err == nil && u.Scheme != "" && u.Hostname() != "" && !strings.HasSuffix(entry, ":") &&
		(u.Host[0] == '[' || !strings.Contains(u.Hostname(), ":")) && // which package url minds for http alone
		strings.EqualFold(u.Scheme+"://"+u.Host, entry)
}
