package loopback_test

import (
	"testing"

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
