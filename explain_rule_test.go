package loopback_test

import (
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
)

// The rule of Reach once more, slow and by patterns.

var (
	agreedText     = regexp.MustCompile(`^[ -\[\]-~]*$`)
	agreedHostPort = regexp.MustCompile(`^(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::([0-9]*))?$`)
	agreedPort     = regexp.MustCompile(`^:([0-9]*)$`)
	agreedURL      = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*)://(?:([A-Za-z0-9._~-]*)(?::([A-Za-z0-9._~-]*))?@)?(\[[0-9A-Fa-f:.]+\]|[0-9.]+)(:[0-9]*)?([/?#].*)?$`)
	agreedZone     = regexp.MustCompile(`^([^%]*)%(?:lo|[0-9])$`)
	portOfIPv6     = regexp.MustCompile(`^(.*):[0-9]+$`)
	filePath       = regexp.MustCompile(`^(?i:file):///([^/].*)?$`)
	webScheme      = regexp.MustCompile(`^(?i:https?|wss?|ftp)$`)
	unixScheme     = regexp.MustCompile(`^(?i:unix|.*\+unix|ldapi)$`)
	numbers        = regexp.MustCompile(`^(?i:[0-9.]|0x[0-9a-f]*)*$`)
)

// slowReach is the answer for a text that is valid, or is not.
func slowReach(text string, valid bool) loopback.Reach {
	switch {
	case text == "":
		return loopback.ReachYes
	case !agreedText.MatchString(text):
		return loopback.ReachMaybe
	case filePath.MatchString(text):
		return loopback.ReachNo
	case !valid:
		return loopback.ReachMaybe
	}
	if addr, err := netip.ParseAddr(text); err == nil {
		return slowReachOfBare(text, addr)
	}
	if agreedPort.MatchString(text) {
		return loopback.ReachYes
	}
	if m := agreedHostPort.FindStringSubmatch(text); m != nil {
		return slowReachInBrackets(m[1], m[2])
	}
	m := agreedURL.FindStringSubmatch(text)
	if m == nil {
		return loopback.ReachMaybe
	}
	scheme, user, password, host, rest := m[1], m[2], m[3], m[4], m[6]
	switch {
	case unixScheme.MatchString(scheme), slowIsNoUser(user), slowIsNoUser(password),
		!webScheme.MatchString(scheme) && strings.ContainsAny(rest, "?@"),
		!strings.HasPrefix(rest, "/") && strings.Contains(rest, "@"):
		return loopback.ReachMaybe
	}
	if strings.HasPrefix(host, "[") {
		return slowReachInBrackets(strings.Trim(host, "[]"), "")
	}
	return slowReachInBrackets("", host)
}

func slowReachInBrackets(v6, v4 string) loopback.Reach {
	addr, err := netip.ParseAddr(v6 + v4)
	if err != nil || addr.Is6() != (v6 != "") {
		return loopback.ReachMaybe
	}
	return slowReachOf(addr)
}

func slowReachOfBare(text string, addr netip.Addr) loopback.Reach {
	answer := slowReachOf(addr)
	if addr.Is4() {
		return answer
	}
	if addr.Zone() != "" {
		m := agreedZone.FindStringSubmatch(text)
		if m == nil {
			return loopback.ReachMaybe
		}
		if plain := netip.MustParseAddr(m[1]); plain.String() != "::1" && plain.String() != "::" && !plain.Is4In6() {
			return loopback.ReachMaybe
		}
	}
	if m := portOfIPv6.FindStringSubmatch(text); m != nil {
		if short, err := netip.ParseAddr(m[1]); err == nil && slowReachOf(short) != answer {
			return loopback.ReachMaybe
		}
	}
	if answer == loopback.ReachNo && strings.HasPrefix(text, "0") {
		return loopback.ReachMaybe
	}
	return answer
}

func slowReachOf(addr netip.Addr) loopback.Reach {
	v4 := addr.Unmap().WithZone("")
	switch {
	case v4.String() == "127.255.255.255", slowKindOf(addr) == loopback.KindEmbedded,
		addr.Zone() != "" && netip.MustParsePrefix("fe80::/10").Contains(v4):
		return loopback.ReachMaybe
	case v4.IsLoopback(), v4.IsUnspecified():
		return loopback.ReachYes
	}
	return loopback.ReachNo
}

func slowIsNoUser(s string) bool {
	return s != "" && numbers.MatchString(s) || slowIsName(s)
}

func TestReachIsTheRule(t *testing.T) {
	answers := map[loopback.Reach]int{}
	for _, text := range neighbours(t) {
		e := loopback.Explain(text)
		answers[e.Reach]++
		if want := slowReach(text, e.Valid); e.Reach != want {
			t.Errorf("%q: %v, want %v: %s", text, e.Reach, want, e.Reason)
		}
	}
	for _, r := range []loopback.Reach{loopback.ReachYes, loopback.ReachNo, loopback.ReachMaybe} {
		assert.Greater(t, answers[r], 300, "texts that are %v", r)
	}
}

// Valid is what the strict parsers say.
func TestValidURLsAreThoseOfNetURL(t *testing.T) {
	n := 0
	for _, text := range neighbours(t) {
		e := loopback.Explain(text)
		if e.Form != "url" || !e.Valid {
			continue
		}
		n++
		u, err := url.Parse(text)
		require.NoError(t, err, "%q", text)
		assert.Equal(t, u.Hostname(), e.Host, "%q", text)
	}
	assert.Greater(t, n, 1000)
}
