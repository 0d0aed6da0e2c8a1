package loopback_test

import (
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/loopback"
)

// hostWords are the parts of which odd hosts are made. Besides them the tests
// use the inputs of testdata/host_texts.tsv.
var hostWords = []string{
	"", ".", "..", ":", "::", ":::", "%", "%lo", "%25lo", "[", "]", "-", "_", " ", "\x00", "\xff", "\u00ad", "/", "@", "0x", "0X7f",
	"0", "00", "1", "01", "7f00", "7F00", "07f00", "127", "0127", "128", "126", "255", "256", "ffff", "FFFF", "fff", "0000", "00000", "g",
	"127.0.0.1", "127.0.0.", ".0.0.1", "::1", "::ffff:", "0:0:0:0:0:", "0:0:0:0:0:ffff:", "1:", ":1", ":80", ":8o", "80",
	"localhost", "LOCALHOST", "localhos", "ocalhost", ".localhost", "localhost.", "localho\u017ft", "foo", "-foo", "foo-", "f_o",
	strings.Repeat("a", 62), strings.Repeat("a", 63), strings.Repeat("a.", 60),
}

// eachHost calls f with the inputs of the table and with every text of up to
// three words.
func eachHost(t testing.TB, f func(host string)) {
	for _, row := range readHostTexts(t) {
		f(row.input)
	}
	for _, a := range hostWords {
		f(a)
		for _, b := range hostWords {
			f(a + b)
			for _, c := range hostWords {
				f(a + b + c)
			}
		}
	}
}

// The slow, obvious oracles.

var label = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?$`)

func slowIsName(name string) bool {
	name = strings.TrimSuffix(name, ".")
	labels := strings.Split(name, ".")
	for _, l := range labels {
		if !label.MatchString(l) || len(l) > 63 {
			return false
		}
	}
	return len(name) <= 253 && strings.ToLower(labels[len(labels)-1]) == "localhost"
}

func slowIsHost(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback() || slowIsName(host)
}

var hostHeader = regexp.MustCompile(`^(?s:(.*?))(?::[0-9]*)?$`)

func slowIsHostHeader(value string) bool {
	m := hostHeader.FindStringSubmatch(value)
	if m == nil {
		return false
	}
	host, bracketed := strings.CutPrefix(m[1], "[")
	if !bracketed {
		return !strings.Contains(host, ":") && slowIsHost(host)
	}
	host, closed := strings.CutSuffix(host, "]")
	addr, err := netip.ParseAddr(host)
	return closed && err == nil && addr.Is6() && addr.Zone() == "" && addr.IsLoopback()
}

func TestPredicatesAgreeWithSlowOnes(t *testing.T) {
	n := map[string]int{}
	eachHost(t, func(host string) {
		for _, p := range []struct {
			name      string
			got, want bool
		}{
			{"IsName", loopback.IsName(host), slowIsName(host)},
			{"IsHost", loopback.IsHost(host), slowIsHost(host)},
			{"IsHostHeader", loopback.IsHostHeader(host), slowIsHostHeader(host)},
		} {
			if p.got != p.want {
				t.Errorf("%s(%q) = %v, want %v", p.name, host, p.got, p.want)
			}
			if p.want {
				n[p.name]++
			}
		}
	})
	for _, name := range []string{"IsName", "IsHost", "IsHostHeader"} {
		assert.Greater(t, n[name], 50, "texts that %s accepts", name)
	}
}

func TestIsHostAgreesWithTheTable(t *testing.T) {
	for _, row := range readHostTexts(t) {
		if row.kind == "addr" || row.kind == "host" {
			assert.Equal(t, row.strict == "yes", loopback.IsHost(row.input), "%q: %s", row.input, row.reason)
		}
	}
}

func TestIsHostTakesWhatParseAddrReads(t *testing.T) {
	for host, want := range map[string]bool{
		"127.0.0.1":            true,
		"127.255.255.255":      true,
		"::1":                  true,
		"::1%lo":               true,
		"::1%":                 false,
		"0:0:0:0:0:0:0:1":      true,
		"0:0:0:0:0:0:0:1%x":    true,
		"0:0:0:0:0:0:0:1:evil": false,
		"0:0:0:0:0:0:0:1:":     false,
		"0:0:0:0:0:0:0:1:5":    false,
		"0000:0000:0000:0000:0000:ffff:127.255.255.255%":  false,
		"0000:0000:0000:0000:0000:ffff:127.255.255.255%z": true,
		"::ffff:127.0.0.1":    true,
		"::ffff:126.0.0.1":    false,
		"::ffff:0:127.0.0.1":  false,
		"127.0.0.1%lo":        false,
		"127.0.0.1.0":         false,
		"127.0.0.01":          false,
		"[::1]":               false,
		"127.0.0.1:80":        false,
		"1.localhost":         true,
		"127.0.0.1.localhost": true,
		"0.localhost":         true,
		"::1.localhost":       false,
		"":                    false,
	} {
		assert.Equal(t, want, loopback.IsHost(host), "%q", host)
	}
}

func TestIsNameTakesLocalhostAndNamesBelow(t *testing.T) {
	long := strings.Repeat("a.", 122) + "localhost" // 253 bytes
	for name, want := range map[string]bool{
		"localhost":                            true,
		"LocalHost.":                           true,
		"foo.localhost":                        true,
		"_sip._tcp.localhost":                  true,
		"1.localhost":                          true,
		"xn--nxasmq6b.localhost":               true,
		strings.Repeat("a", 63) + ".localhost": true,
		strings.Repeat("a", 64) + ".localhost": false,
		long:                                   true,
		long + ".":                             true,
		"a" + long:                             false,
		"a" + long + ".":                       false,
		"":                                     false,
		".":                                    false,
		".localhost":                           false,
		"localhost..":                          false,
		"a..localhost":                         false,
		"-a.localhost":                         false,
		"a-.localhost":                         false,
		"a-b.localhost":                        true,
		"*.localhost":                          false,
		"mylocalhost":                          false,
		"-localhost":                           false,
		"localhost.localdomain":                false,
		"localhost6":                           false,
		"ip6-localhost":                        false,
		"loopback":                             false,
		"localho\u017ft":                       false,
		"\u212aocalhost":                       false,
		"\xccocalhost":                         false,
		"localhost\x00":                        false,
		" localhost":                           false,
		"localhost:80":                         false,
		"127.0.0.1":                            false,
		strings.Repeat("localhost.", 25) + "local": false,
	} {
		assert.Equal(t, want, loopback.IsName(name), "%q", name)
	}
}

func TestIsHostHeaderTakesOneHostAndPort(t *testing.T) {
	for value, want := range map[string]bool{
		"localhost":               true,
		"LOCALHOST:8080":          true,
		"localhost.":              true,
		"localhost:":              true,
		"app.localhost:8080":      true,
		"localhost.:8080":         true,
		"localhost:99999":         true, // *DIGIT
		"localhost:00000000":      true,
		"127.0.0.1":               true,
		"127.255.255.254:8080":    true,
		"[::1]":                   true,
		"[::1]:8080":              true,
		"[::1]:":                  true,
		"[::ffff:127.0.0.1]:8080": true,
		"[::FFFF:7f00:1]:8080":    true,
		"[0:0:0:0:0:0:0:1]":       true,

		"":                    false,
		":":                   false,
		":8080":               false,
		"::1":                 false,
		"::1:8080":            false,
		"::ffff:127.0.0.1":    false,
		"[::1":                false,
		"[::1]8080":           false,
		"[::1]:80:80":         false,
		"[0:0:0:0:0:0:0:1:5]": false,
		"[::1]:8o":            false,
		"[::1]]":              false,
		"[[::1]]":             false,
		"[::1%lo]:8080":       false,
		"[::1%25lo]:8080":     false,
		"[]":                  false,
		"[]:80":               false,
		"[127.0.0.1]":         false,
		"[127.0.0.1]:80":      false,
		"[localhost]:80":      false,
		"[v1.::1]":            false,
		"[::]:8080":           false,
		"[::2]":               false,
		"0.0.0.0":             false,
		"127.1:8080":          false,
		"0x7f000001":          false,
		"127.0.0.1.:8080":     false,
		"127.0.0.01":          false,
		"127.0.0.256":         false,
		"localhost:80:80":     false,
		"localhost:http":      false,
		"localhost:-1":        false,
		"localhost:+1":        false,
		"localhost: 80":       false,
		"localhost :80":       false,
		"localhost:８０":        false,
		"localhost,evil":      false,
		"localhost/":          false,
		"user@localhost":      false,
		"%6cocalhost":         false,
		"localhost.evil.test": false,
		"evillocalhost:8080":  false,
		"192.168.1.10:8080":   false,
	} {
		assert.Equal(t, want, loopback.IsHostHeader(value), "%q", value)
	}
}

func TestPredicatesAllocateNothing(t *testing.T) {
	const mega = 1 << 20
	hosts := []string{
		strings.Repeat("a", mega), strings.Repeat("1", mega), strings.Repeat("0", mega), strings.Repeat(":", mega),
		strings.Repeat("0:", mega), strings.Repeat("[", mega), strings.Repeat("a.", mega) + "localhost", "127.0.0." + strings.Repeat("1", mega),
		"::1%" + strings.Repeat("z", mega), "::ffff:127.0.0.1%" + strings.Repeat("\xff", mega), strings.Repeat("0", mega) + "%z",
		"[::1]:" + strings.Repeat("8", mega), "localhost:" + strings.Repeat("8", mega), strings.Repeat("\x00", mega), "[" + strings.Repeat("a", mega) + "]",
	}
	for _, row := range readHostTexts(t) {
		hosts = append(hosts, row.input)
	}
	for _, host := range hosts {
		n := allocs(3, func() {
			_ = loopback.IsName(host)
			_ = loopback.IsHost(host)
			_ = loopback.IsHostHeader(host)
		})
		assert.Zero(t, n, "%.40q", host)
	}
	assert.True(t, loopback.IsHost("::1%"+strings.Repeat("z", mega)))
	assert.True(t, loopback.IsHostHeader("[::1]:"+strings.Repeat("8", mega)))
}

// A Host header that net.JoinHostPort makes of a loopback host is one.
func TestIsHostHeaderTakesWhatJoinHostPortMakes(t *testing.T) {
	n := 0
	eachHost(t, func(host string) {
		if loopback.IsHost(host) && !strings.Contains(host, "%") {
			n++
			assert.True(t, loopback.IsHostHeader(net.JoinHostPort(host, "8080")), "%q", host)
		}
	})
	assert.Greater(t, n, 50)
}
