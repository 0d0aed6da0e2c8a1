package loopback

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"example.com/loopback/internal/hosttext"
)

// The values of Explanation.Form.
const (
	formAddr     = "addr"
	formHost     = "host"
	formHostPort = "hostport"
	formURL      = "url"
)

// formOf decides how s is read.
func formOf(s string) string {
	if _, err := netip.ParseAddr(s); err == nil {
		return formAddr
	}
	if len(s) <= hosttext.MaxAddr6+len("/128") { // ParsePrefix quotes what it refuses, several times over
		if _, err := netip.ParsePrefix(s); err == nil {
			return formAddr // as nearly as one can tell
		}
	}
	scheme, rest := cutScheme(s)
	if strings.ContainsAny(s, `/\?#`) || isSpecial(scheme) && !isPort(rest) {
		return formURL
	}
	if strings.HasPrefix(s, "[") {
		if strings.Contains(s, "]:") {
			return formHostPort
		}
		return formAddr
	}
	if host, port, ok := strings.Cut(s, ":"); ok {
		if !strings.Contains(port, ":") || strings.Trim(host, "0123456789abcdefABCDEF") != "" {
			return formHostPort
		}
		return formAddr
	}
	host, _, _ := strings.Cut(s, "%")
	switch {
	case host == "" || hosttext.EndsInNumber(strings.TrimRight(host, ".")):
		return formAddr
	case !isASCII(host) && strings.IndexFunc(host, unicode.IsLetter) < 0:
		return formAddr // digits of some kind
	}
	return formHost
}

// maxAuthority is the length of what Explain lets url.Parse read before the path.
const maxAuthority = 64 << 10

// splitStrictly returns the host of text, which net.SplitHostPort or url.Parse
// find for a host and port or for a URL. It reports whether they accept text,
// so that only the host is left to be looked at.
func splitStrictly(text, form string) (host string, ok bool) {
	switch form {
	case formAddr, formHost:
		return text, true
	case formHostPort:
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

// readLeniently reads text in the ways that lenient parsers do, and returns the
// reading that leads to this machine, if there is one. clean is text without
// blanks. It reports whether there is a host at all.
func readLeniently(text, clean, form string) (r hostReading, ok bool) {
	var hosts []string
	if form == formAddr || form == formHost {
		if strings.Contains(text, "@") {
			hosts = hostsInAuthority(text)
		}
		hosts = append(hosts, text)
	} else {
		for _, s := range slices.Compact([]string{clean, strings.TrimFunc(text, isBlank)}) {
			hosts = append(hosts, hostsOf(s, form)...)
		}
	}
	var readings []hostReading
	for _, host := range hosts {
		// The URL standard decodes a host before it looks at it. Others take
		// it as it stands, or have no use for a percent sign but a zone's.
		if plain := unescape(host); plain != host {
			r := readHost(plain)
			if r.strict && isExample(plain) {
				r.reach, r.why = ReachNo, "is a name in a domain for examples, where nothing is"
			}
			readings = append(readings, r)
			if !strings.Contains(host, ":") {
				continue
			}
		}
		readings = append(readings, readHost(host))
	}
	if len(readings) == 0 {
		return hostReading{reach: ReachNo}, false
	}
	return firstLocal(readings...), true
}

// hostsOf returns what parsers may take for the host in s, a host and port or
// a URL, the likeliest first.
func hostsOf(s, form string) (hosts []string) {
	if form == formHostPort {
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
	// To curl a third slash is one too many, and to Windows a file behind four
	// of them is on another host. To all others this is a path: an ordinary
	// name in it is no host.
	scheme, rest := cutScheme(s)
	path := strings.TrimLeft(rest, `/\`)
	if slashes := len(rest) - len(path); slashes < 3 || scheme == "file" && slashes == 3 {
		return nil
	}
	for _, authority := range authoritiesAt(path) {
		for _, host := range hostsInAuthority(authority) {
			if plain := unescape(host); readHost(plain).addr.IsValid() || IsName(plain) || !isASCII(plain) {
				hosts = append(hosts, host)
			}
		}
	}
	return hosts
}

// authoritiesOf returns what parsers may take for the authority of the URL s,
// [userinfo "@"] host [":" port], first the URL standard: it takes any
// number of slashes after the special schemes, and backslashes for slashes.
// RFC 3986 does not. A URL without a scheme may be a reference to another
// host, or begin with its host, as people write it.
func authoritiesOf(s string) (found []string) {
	scheme, rest := cutScheme(s)
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

// cutScheme cuts the scheme off a URL, in lower case: RFC 3986, 3.1.
func cutScheme(s string) (scheme, rest string) {
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
		if s[i] == '%' && i+2 < len(s) && hosttext.Unhex(s[i+1]) <= 15 && hosttext.Unhex(s[i+2]) <= 15 {
			b = append(b, hosttext.Unhex(s[i+1])<<4|hosttext.Unhex(s[i+2]))
			i += 2
		} else {
			b = append(b, s[i])
		}
	}
	return string(b)
}

// isExample reports whether name is in a domain for examples, RFC 6761, 6.5:
// nobody can have it, so that a text which only some parsers read as such a
// name, and Go refuses, leads nowhere.
func isExample(name string) bool {
	name = "." + strings.ToLower(strings.TrimSuffix(name, "."))
	for _, domain := range []string{".example", ".example.com", ".example.net", ".example.org"} {
		if strings.HasSuffix(name, domain) {
			return true
		}
	}
	return false
}
