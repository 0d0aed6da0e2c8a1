package hosttext_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/loopback/internal/hosttext"
)

// addrWords are the parts of which odd addresses are made.
var addrWords = []string{
	"", ".", ":", "::", ":::", "%", "[", "0", "00", "1", "01", "127", "0127", "128", "126", "255", "256", "7f00", "7F00", "07f00", "ffff", "FFFF", "fff",
	"0000", "00000", "g", "127.0.0.1", "127.0.0.", ".0.0.1", "::1", "::ffff:", "0:0:0:0:0:", "0:0:0:0:0:ffff:", "0:0:0:0:0:0:0:1", "1:", ":1", "x", "\x00", "\xff",
}

func checkLoopback(t *testing.T, s string) {
	t.Helper()
	addr, err := netip.ParseAddr(s)
	plain := err == nil && addr.Zone() == "" && addr.IsLoopback()
	assert.Equal(t, plain && addr.Is4(), hosttext.Loopback4(s), "Loopback4(%q)", s)
	assert.Equal(t, plain && addr.Is6(), hosttext.Loopback6(s), "Loopback6(%q)", s)
}

func TestLoopbackReadsWhatNetipReads(t *testing.T) {
	for _, a := range addrWords {
		for _, b := range addrWords {
			for _, c := range addrWords {
				checkLoopback(t, a+b+c)
			}
		}
	}
	for _, s := range []string{
		"0:0:0:0:0:0:0:1:", "0:0:0:0:0:0:0:1:evil", "0:0:0:0:0:0:0:1:5", "0:0:0:0:0:0:0::", "::0:0:0:0:0:0:0:1", "::0:0:0:0:0:0:1", "0:0:0:0:0:0::1",
		"0:0:0:0:0:ffff:127.0.0.1", "0:0:0:0:0:0:ffff:127.0.0.1", "0:0:0:0:ffff:127.0.0.1", "::127.0.0.1:1", "127.0.0.1::", "::ffff:127.0.0.01",
		"0000:0000:0000:0000:0000:ffff:127.255.255.255", "00000:0000:0000:0000:0000:ffff:127.255.255.255", "::ffff:7f00:00001", "1::1", "0:0:0:0:1::1",
	} {
		checkLoopback(t, s)
	}
	for _, s := range []string{"127.0.0.1", "127.9.99.199", "::1", "::ffff:127.0.0.1", "::ffff:7fAf:9", "0:0:0:0:0:ffff:7f00:1", "0:0:0:0:0:0:0:1"} {
		for i := range s {
			checkLoopback(t, s[:i]+s[i+1:])
			for c := range 256 {
				b := string([]byte{byte(c)})
				checkLoopback(t, s[:i]+b+s[i+1:])
				checkLoopback(t, s[:i]+b+s[i:])
			}
		}
	}
}

func FuzzLoopback(f *testing.F) {
	for _, word := range addrWords {
		f.Add(word)
	}
	f.Fuzz(checkLoopback)
}

func TestLoopbackAllocatesNothing(t *testing.T) {
	for _, s := range []string{"127.0.0.1", "::ffff:127.0.0.1", "0:0:0:0:0:0:0:1:evil", strings.Repeat("0", 1<<20), "127." + strings.Repeat("1", 1<<20)} {
		assert.Zero(t, testing.AllocsPerRun(10, func() {
			_ = hosttext.Loopback4(s)
			_ = hosttext.Loopback6(s)
		}), "%.40q", s)
	}
}
