package hosttext

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// The values of Text.Form.
const (
	FormAddr     = "addr"
	FormHost     = "host" // a name
	FormHostPort = "hostport"
	FormURL      = "url"
)

// formOf decides how s is read.
func formOf(s string) string {
	if _, err := netip.ParseAddr(s); err == nil {
		return FormAddr
	}
	if len(s) <= MaxAddr6+len("/128") { // ParsePrefix quotes what it refuses, several times over
		if _, err := netip.ParsePrefix(s); err == nil {
			return FormAddr // as nearly as one can tell
		}
	}
	scheme, rest := CutScheme(s)
	if strings.ContainsAny(s, `/\?#`) || isSpecial(scheme) && !isPort(rest) {
		return FormURL
	}
	if strings.HasPrefix(s, "[") {
		if strings.Contains(s, "]:") {
			return FormHostPort
		}
		return FormAddr
	}
	if host, port, ok := strings.Cut(s, ":"); ok {
		if !strings.Contains(port, ":") || strings.Trim(host, "0123456789abcdefABCDEF") != "" {
			return FormHostPort
		}
		return FormAddr
	}
	host, _, _ := strings.Cut(s, "%")
	switch {
	case host == "" || endsInNumber(strings.TrimRight(host, ".")):
		return FormAddr
	case !isASCII(host) && strings.IndexFunc(host, unicode.IsLetter) < 0:
		return FormAddr // digits of some kind
	}
	return FormHost
}

// maxAuthority is the length of what url.Parse is given to read before the path.
const maxAuthority = 64 << 10

// splitStrictly returns the host that net.SplitHostPort finds in a host and port,
// or url.Parse in a URL, and reports whether they accept text. Whether the host is
// one remains to be seen.
func splitStrictly(text, form string) (host string, ok bool) {
	switch form {
	case FormAddr, FormHost:
		return text, true
	case FormHostPort:
		host, port, err := net.SplitHostPort(text)
		if err != nil || !isPort(port) && !isService(port) {
			return "", false
		}
		return host, true // brackets may be round anything: not so in RFC 3986, 3.2.2
	}
	// What url.Parse refuses it quotes, several times over.
	if _, rest, _ := strings.Cut(text, "//"); len(rest) > maxAuthority && !strings.ContainsAny(rest[:maxAuthority+1], "/?#") {
		return "", false
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || !isPort(u.Port()) {
		return "", false
	}
	host = u.Hostname()
	return host, !strings.Contains(host, ":") || u.Host[0] == '['
}

// isPort reports whether s is a port number, or is empty, which is port 0.
func isPort(s string) bool {
	n := 0
	for i := range len(s) {
		d := int(s[i] - '0')
		if n = 10*n + d; d > 9 || n > 65535 {
			return false
		}
	}
	return true
}

// isService reports whether s is the name of a port that package net knows on
// every machine.
func isService(s string) bool {
	switch strings.ToLower(s) {
	case "domain", "ftp", "ftps", "gopher", "http", "https", "imap2", "imap3", "imaps", "pop3", "pop3s",
		"smtp", "ssh", "submissions", "telnet":
		return true
	}
	return false
}

// hostsOf returns what parsers may take for the host in s, a host and port or
// a URL, the likeliest first.
func hostsOf(s, form string) (hosts []string) {
	if form == FormHostPort {
		hosts = hostsInAuthority(s)
		if host, _, err := net.SplitHostPort(s); err == nil { // whatever the port is
			hosts = append(hosts, host)
		}
		return hosts
	}
	for _, authority := range authoritiesOf(s) {
		hosts = append(hosts, hostsInAuthority(authority)...)
	}
	if len(hosts) > 0 {
		return hosts
	}
	// Curl ignores a third slash, and Windows takes a file behind four slashes
	// for one of another host. For all others this is a path, so an ordinary name
	// in it is no host.
	scheme, rest := CutScheme(s)
	path := strings.TrimLeft(rest, `/\`)
	if slashes := len(rest) - len(path); slashes < 3 || scheme == "file" && slashes == 3 {
		return nil
	}
	for _, authority := range authoritiesAt(path) {
		for _, host := range hostsInAuthority(authority) {
			plain := unescape(host)
			if IsLocalhost(plain) || !isASCII(plain) || slices.ContainsFunc(read(plain), func(r Reading) bool { return r.Addr.IsValid() }) {
				hosts = append(hosts, host)
			}
		}
	}
	return hosts
}

// authoritiesOf returns what parsers may take for the authority of the URL s,
// [userinfo "@"] host [":" port]. The URL standard, other than RFC 3986, takes
// any number of slashes after the special schemes, and backslashes for slashes.
// A URL without a scheme may be a reference to another host, or begin with its
// host, as people write it.
func authoritiesOf(s string) (found []string) {
	scheme, rest := CutScheme(s)
	afterSlashes := strings.TrimLeft(rest, `/\`)
	slashes := len(rest) - len(afterSlashes)
	begin := s
	switch {
	case scheme == "file" && slashes == 0: // file:user@host
	case scheme == "file" && slashes == 2, scheme != "file" && isSpecial(scheme), scheme == "":
		begin = afterSlashes
	case strings.HasPrefix(rest, "//"):
		begin = rest[2:]
	case scheme == "file":
		return nil // a path
	}
	found = authoritiesAt(begin)
	if isSpecial(scheme) && slashes == 0 { // "http:80/" is also a host named http
		if port, _, _ := strings.Cut(rest, "/"); isPort(port) {
			found = append(found, s[:len(scheme)])
		}
	}
	return found
}

// authoritiesAt returns the authority that s begins with, where a backslash
// ends it and where it does not.
func authoritiesAt(s string) (found []string) {
	for _, end := range []string{`/\?#`, `/?#`} {
		authority := s
		if i := strings.IndexAny(s, end); i >= 0 {
			authority = s[:i]
		}
		if authority != "" && !slices.Contains(found, authority) {
			found = append(found, authority)
		}
	}
	return found
}

// hostsInAuthority returns what parsers may take for the host in an authority.
func hostsInAuthority(authority string) (hosts []string) {
	for _, at := range []int{strings.LastIndexByte(authority, '@'), strings.IndexByte(authority, '@')} {
		s := authority[at+1:]
		if strings.Contains(s, `\`) {
			continue // at most in userinfo
		}
		first, last := strings.IndexByte(s, ':'), strings.LastIndexByte(s, ':')
		switch {
		case first < 0 || s[0] == '[':
			hosts = append(hosts, s)
		case first == last:
			hosts = append(hosts, s[:first])
		default:
			if first > 0 {
				hosts = append(hosts, s[:first])
			}
			hosts = append(hosts, s[:last], s)
		}
	}
	return slices.Compact(hosts)
}

// CutScheme cuts the scheme off a URL, in lower case: RFC 3986, 3.1.
func CutScheme(s string) (scheme, rest string) {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c|0x20 && c|0x20 <= 'z':
		case i > 0 && (c-'0' <= 9 || c == '+' || c == '-' || c == '.'):
		case i > 0 && c == ':':
			return strings.ToLower(s[:i]), s[i+1:]
		default:
			return "", s
		}
	}
	return "", s
}

// isSpecial reports whether the URL standard treats scheme in a way of its own.
func isSpecial(scheme string) bool {
	switch scheme {
	case "http", "https", "ws", "wss", "ftp", "file":
		return true
	}
	return false
}

// unescape decodes %XX, and leaves alone what is not well formed.
func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && unhex(s[i+1]) <= 15 && unhex(s[i+2]) <= 15 {
			b = append(b, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		} else {
			b = append(b, s[i])
		}
	}
	return string(b)
}
