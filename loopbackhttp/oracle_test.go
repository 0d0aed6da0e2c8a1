package loopbackhttp_test

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"example.com/loopback/loopbackhttp"
)

// The rules of a Guard once more, slow and word for word.

func slowCheck(guard *loopbackhttp.Guard, r *http.Request) bool {
	if slowMalformed(guard) {
		return false
	}
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		if strings.HasPrefix(local.Network(), "unix") {
			return slices.Contains([]string{"unix", "unixgram", "unixpacket"}, local.Network())
		}
		if !slowLocal(local.String()) {
			return false
		}
	}
	if !slowHost(guard, r.Host) {
		return false
	}
	for name, values := range r.Header {
		if (name == "Origin" || strings.HasPrefix(name, "Sec-Fetch-")) && len(values) > 1 {
			return false
		}
	}
	origin, site := r.Header.Get("Origin"), r.Header.Get("Sec-Fetch-Site")
	hasOrigin, hasSite := len(r.Header["Origin"]) == 1, len(r.Header["Sec-Fetch-Site"]) == 1
	listed := hasOrigin && slices.Contains(guard.Origins, origin)
	if hasSite {
		return site == "same-origin" || site == "none" || listed ||
			slices.Contains([]string{"GET", "HEAD"}, r.Method) &&
				r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
	}
	return !hasOrigin || listed || slices.Contains([]string{"http://" + lower(r.Host), "https://" + lower(r.Host)}, lower(origin))
}

// lower is strings.ToLower for ASCII.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

func slowLocal(text string) bool {
	for _, parse := range []func() (netip.Addr, error){
		func() (netip.Addr, error) { return netip.ParseAddr(text) },
		func() (netip.Addr, error) { p, err := netip.ParseAddrPort(text); return p.Addr(), err },
		func() (netip.Addr, error) { p, err := netip.ParsePrefix(text); return p.Addr(), err },
	} {
		if addr, err := parse(); err == nil {
			return addr.IsLoopback()
		}
	}
	return false
}

var (
	hostAndPort = regexp.MustCompile(`(?s)^(.*?)(:[0-9]*)?$`)
	label       = `[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?`
	hostName    = regexp.MustCompile(`^` + label + `(\.` + label + `)*$`)
	number      = regexp.MustCompile(`(^|\.)([0-9]+|0x[^.]*)$`)
	schemeHost  = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9+.-]*://[^/?#@*:\[\]%<>"\\^{|}` + "`" + `\x00-\x20\x7f-\x{10ffff}]+(:[0-9]+)?$`)
)

func slowHost(guard *loopbackhttp.Guard, value string) bool {
	host := hostAndPort.FindStringSubmatch(value)[1]
	addr, isAddr := slowAddr(host)
	if isAddr {
		return addr.IsLoopback() || slices.ContainsFunc(guard.Hosts, func(entry string) bool {
			listed, err := netip.ParseAddr(strings.Trim(entry, "[]"))
			return err == nil && listed.Unmap() == addr
		})
	}
	name := strings.TrimSuffix(lower(host), ".")
	if !hostName.MatchString(name) || len(name) > 253 {
		return false
	}
	return name == "localhost" || slices.ContainsFunc(guard.Hosts, func(entry string) bool {
		if _, err := netip.ParseAddr(strings.Trim(entry, "[]")); err == nil {
			return false
		}
		entry = strings.TrimSuffix(lower(entry), ".")
		return name == entry || entry[0] == '.' && strings.HasSuffix(name, entry)
	})
}

// slowAddr reads the address of a Host header.
func slowAddr(host string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	if err != nil || addr.Zone() != "" || addr.Is4() && host != addr.String() {
		return netip.Addr{}, false
	}
	if addr.Is6() && !(strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]")) {
		return netip.Addr{}, false
	}
	return addr.Unmap(), true
}

// slowMalformed reports whether a list of guard is malformed.
func slowMalformed(guard *loopbackhttp.Guard) bool {
	for _, entry := range guard.Hosts {
		name := strings.TrimPrefix(strings.TrimSuffix(lower(entry), "."), ".")
		addr, err := netip.ParseAddr(entry)
		if inner, ok := strings.CutPrefix(entry, "["); ok && err != nil {
			if addr, err = netip.ParseAddr(strings.TrimSuffix(inner, "]")); err == nil && fmt.Sprintf("[%s]", strings.TrimSuffix(inner, "]")) != entry {
				return true
			}
			if err == nil && addr.Is4() {
				return true
			}
		}
		if err == nil {
			if addr.Zone() != "" {
				return true
			}
			continue
		}
		if !hostName.MatchString(name) || len(name) > 253 || number.MatchString(name) {
			return true
		}
	}
	for _, entry := range guard.Origins {
		if !slowOrigin(entry) {
			return true
		}
	}
	return false
}

func slowOrigin(entry string) bool {
	if _, rest, ok := strings.Cut(entry, "://["); ok { // an IPv6 address
		addr, port, _ := strings.Cut(rest, "]")
		if a, err := netip.ParseAddr(addr); err != nil || a.Zone() != "" || a.Is4() {
			return false
		}
		entry = strings.Replace(entry, "["+addr+"]"+port, "address"+port, 1)
	}
	_, err := url.Parse(entry)
	return err == nil && schemeHost.MatchString(entry)
}
