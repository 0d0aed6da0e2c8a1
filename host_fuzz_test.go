package loopback_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/loopback"
)

// seedHosts adds the inputs of the shared table, and a few words.
func seedHosts(f *testing.F) {
	for _, row := range readHostTexts(f) {
		f.Add(row.input)
	}
	for _, word := range hostWords {
		f.Add(word)
	}
}

func FuzzIsName(f *testing.F) {
	seedHosts(f)
	f.Fuzz(func(t *testing.T, name string) {
		if got, want := loopback.IsName(name), slowIsName(name); got != want {
			t.Errorf("IsName(%q) = %v, want %v", name, got, want)
		}
	})
}

func FuzzIsHost(f *testing.F) {
	seedHosts(f)
	f.Fuzz(func(t *testing.T, host string) {
		if got, want := loopback.IsHost(host), slowIsHost(host); got != want {
			t.Errorf("IsHost(%q) = %v, want %v", host, got, want)
		}
	})
}

func FuzzIsHostHeader(f *testing.F) {
	seedHosts(f)
	f.Fuzz(func(t *testing.T, value string) {
		if got, want := loopback.IsHostHeader(value), slowIsHostHeader(value); got != want {
			t.Errorf("IsHostHeader(%q) = %v, want %v", value, got, want)
		}
	})
}

func FuzzExplain(f *testing.F) {
	seedHosts(f)
	for _, text := range append(neighbours(f)[:500], "::%%1") {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e := loopback.Explain(text)
		assert.Equal(t, text, e.Input)
		assert.Contains(t, []string{"addr", "host", "hostport", "url"}, e.Form)
		assert.Equal(t, loopback.KindOf(e.Addr), e.Kind)
		assert.Equal(t, e.Valid && slowIsHost(e.Host), e.Loopback)
		assert.NotEmpty(t, e.Reason)
		assert.Less(t, len(e.String()), 2100)
		if e.Form == "addr" || e.Form == "host" {
			assert.Equal(t, slowIsHost(text), e.Loopback)
		}
		if addr, err := netip.ParseAddr(text); err == nil {
			assert.True(t, e.Valid && e.Addr == addr.Unmap() && e.Form == "addr")
		}
		assert.Equal(t, slowReach(text, e.Valid), e.Reach)
		for _, oracle := range oracles {
			if slices.Contains([]string{"node", "libc"}, oracle.name) {
				continue // processes of their own
			}
			if found := oracle.ask(t, []string{text})[0]; found.ok && isHereByRFC(found.host) {
				assert.NotEqual(t, loopback.ReachNo, e.Reach, "%s finds %q", oracle.name, found.host)
			}
		}
		if t.Failed() {
			t.Logf("%q: %v", text, e)
		}
	})
}
