package loopback_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
)

// The parsers in use, asked what host they find in a text. What leads to this
// machine for any of them is never ReachNo.

// An oracle answers for each text with the host that a parser finds in it: an
// address or a name. ok is false where it refuses the text.
type oracle struct {
	name string
	ask  func(t *testing.T, texts []string) []found
}

type found struct {
	host string
	ok   bool
}

var oracles = []oracle{
	{"netip", each(func(text string) (string, bool) {
		_, err := netip.ParseAddr(text)
		return text, err == nil
	})},
	{"net.Dial", each(func(text string) (string, bool) {
		host, port, err := net.SplitHostPort(text)
		return host, err == nil && !strings.Contains(port, "/") // it looks the port up first
	})},
	{"net.JoinHostPort", each(func(text string) (string, bool) {
		host, _, err := net.SplitHostPort(net.JoinHostPort(text, "80"))
		return host, err == nil
	})},
	{"net/url", each(func(text string) (string, bool) {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" {
			return "", false
		}
		return u.Hostname(), true
	})},
	{"net/http", each(dialledByHTTP)},
	{"node", askNode},
	{"libc", askLibc},
}

func each(f func(text string) (string, bool)) func(*testing.T, []string) []found {
	return func(_ *testing.T, texts []string) (answers []found) {
		for _, text := range texts {
			host, ok := f(text)
			answers = append(answers, found{host, ok})
		}
		return answers
	}
}

// dialledByHTTP returns the host that net/http dials for a URL.
func dialledByHTTP(text string) (host string, ok bool) {
	req, err := http.NewRequest(http.MethodGet, text, nil)
	if err != nil {
		return "", false
	}
	transport := &http.Transport{DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
		host, _, err = net.SplitHostPort(address)
		ok = err == nil
		return nil, errors.New("not today")
	}}
	if resp, err := transport.RoundTrip(req); err == nil {
		resp.Body.Close()
	}
	return host, ok
}

// nodeScript prints the host of each text as the URL standard has it: of a
// URL, of a reference in a page, and of what is typed into an address bar.
const nodeScript = `
let input = "";
process.stdin.on("data", d => input += d);
process.stdin.on("end", () => {
	const host = f => { try { return f().hostname } catch { return "" } };
	console.log(JSON.stringify(JSON.parse(input).map(s => [
		host(() => new URL(s)), host(() => new URL(s, "http://base.example/")), s.includes("://") ? "" : host(() => new URL("http://" + s)),
	].map(h => h == "base.example" ? "" : h.replace(/^\[|\]$/g, "")))));
});`

func askNode(t *testing.T, texts []string) (answers []found) {
	var all [][]string
	askProgram(t, texts, &all, "node", "-e", nodeScript)
	for _, hosts := range all {
		var f found
		for _, host := range hosts {
			if host != "" && (!f.ok || isHereByRFC(host)) {
				f = found{host, true}
			}
		}
		answers = append(answers, f)
	}
	return answers
}

// libcScript prints the address that inet_aton or getaddrinfo read, without
// asking anybody, in a text and in the host that Go finds in it.
const libcScript = `
import json, socket, sys
def read(s):
	for h in s:
		try: return socket.inet_ntoa(socket.inet_aton(h))
		except (OSError, ValueError): pass
		try: return socket.getaddrinfo(h, None, flags=socket.AI_NUMERICHOST)[0][4][0]
		except (OSError, ValueError, UnicodeError): pass
	return ""
json.dump([read(s) for s in json.load(sys.stdin)], sys.stdout)`

func askLibc(t *testing.T, texts []string) (answers []found) {
	var in [][]string
	for _, text := range texts {
		hosts := []string{text}
		if host, _, err := net.SplitHostPort(text); err == nil && host != "" {
			hosts = append(hosts, host)
		}
		if u, err := url.Parse(text); err == nil && u.Hostname() != "" {
			hosts = append(hosts, u.Hostname())
		}
		in = append(in, hosts)
	}
	var out []string
	askProgram(t, in, &out, "python3", "-c", libcScript)
	for _, host := range out {
		answers = append(answers, found{host, host != ""})
	}
	return answers
}

// askProgram runs a program that reads and writes JSON.
func askProgram(t *testing.T, in, out any, name string, args ...string) {
	// One that is there may be a stub that asks for its installation.
	if out, err := exec.CommandContext(t.Context(), name, "--version").CombinedOutput(); err != nil {
		t.Skipf("needs %s: %v\n%s", name, err, out)
	}
	data, err := json.Marshal(in)
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdin = bytes.NewReader(data)
	cmd.Stderr = t.Output()
	data, err = cmd.Output()
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, out))
}

// isHereByRFC reports whether host is this machine by itself: a loopback or
// unspecified address, a name for loopback, or nothing.
func isHereByRFC(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "" || err == nil && (addr.IsLoopback() || addr.Unmap().WithZone("").IsUnspecified()) || slowIsName(host)
}

// isElsewhere reports whether host is an address that is certainly not this machine's.
func isElsewhere(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && !isHereByRFC(host) && slowKindOf(addr) == loopback.KindNone && addr.Zone() == ""
}

// neighbours returns the rows of the table, and much that is like them.
func neighbours(t testing.TB) []string {
	rng := rand.New(rand.NewPCG(6761, 127))
	pick := func(s ...string) string { return s[rng.IntN(len(s))] }
	var hosts, texts []string
	for _, row := range readHostTexts(t) {
		texts = append(texts, row.input)
		if row.kind == "addr" || row.kind == "host" {
			hosts = append(hosts, row.input)
		}
	}
	hosts = append(hosts, "127.0.0.1", "127.1", "0", "0x7f.1", "017700000001", "8.8.8.8", "134744072", "::1", "::", "2001:db8::1", "::ffff:8.8.8.8",
		"fe80::1%eth0", "2002:7f00:1::", "fe80::5efe:127.0.0.1", "::1%lo", "example.com", "0x", "0x.0x", "127.0x", "0.0.0.0x", "fe80::1%25lo")
	quads := []string{"0", "1", "126", "127", "128", "255", "256", "0177", "0x7f", "0x7F", "0X7f", "00", "0x0", "0x", "08", "127.1", "0127", "65535", "16777215",
		"2130706433", "4294967296", "6425673729", "０", "１２７", "①", ""}
	for range 1500 {
		var parts []string
		for range 1 + rng.IntN(5) {
			parts = append(parts, quads[rng.IntN(len(quads))])
		}
		hosts = append(hosts, strings.Join(parts, "."))
	}
	odd := []string{".", "..", ":", "::", "%", "%2e", "%30", "%25", "%00", "%C2%AD", "@", "/", "\\", "?", "#", " ", "\t", "\n", "\x00", "[", "]", "-", "_", "+", "*", ",",
		"0", "1", "7", "8", "x", "0x", "f", "\u00ad", "\u3002", "\u017f", "\ufeff", "\xff", "localhost", ".localhost", "127.0.0.1", "::1", "8.8.8.8"}
	mutate := func(s string) string {
		for range 1 + rng.IntN(2) {
			i := rng.IntN(len(s) + 1)
			switch rng.IntN(6) {
			case 0, 1:
				s = s[:i] + pick(odd...) + s[i:]
			case 2:
				if i < len(s) {
					s = s[:i] + s[i+1:]
				}
			case 3:
				if i < len(s) {
					s = s[:i] + pick(odd...) + s[i+1:]
				}
			case 4:
				s = strings.ToUpper(s)
			case 5:
				s = strings.NewReplacer("0", pick("0", "０", "%30", "00"), ".", pick(".", "。", "%2e", "．")).Replace(s)
			}
		}
		return s
	}
	port := func() string {
		return pick("", ":80", ":80", ":0", ":", ":65535", ":65536", ":080", ":+80", ":-1", ":http", ":nosuch", ":8 0", ":80:90", ":%38", ":８０", ":99999999999999999999")
	}
	for range 20000 {
		host := hosts[rng.IntN(len(hosts))]
		if rng.IntN(3) == 0 {
			host = mutate(host)
		}
		if rng.IntN(4) == 0 || strings.Contains(host, ":") && rng.IntN(2) == 0 {
			host = "[" + host + "]"
		}
		scheme := pick("", "", "", "http:", "http:", "https:", "HTTP:", "ws:", "ftp:", "file:", "foo:", "ht\ntp:", " http:")
		slashes := ""
		if scheme != "" || rng.IntN(4) == 0 {
			slashes = pick("", "/", "//", "//", "//", "//", "///", "\\\\", "/\\", "////", "/\t/")
		}
		user := pick("", "", "", "", "u@", "u:p@", "127.0.0.1@", "8.8.8.8\\@", "a@b@", "8.8.8.8#@", "127.0.0.1/@", "%40@")
		path := pick("", "", "/", "/x", "?x", "#x", "\\", "\\x", "/%zz", "/@127.0.0.1", "#@127.0.0.1", "\\@127.0.0.1/", " ", "\t")
		text := scheme + slashes + user + host + port() + path
		if rng.IntN(6) == 0 {
			text = mutate(text)
		}
		texts = append(texts, text)
	}
	for range 3000 {
		texts = append(texts, net.JoinHostPort(hosts[rng.IntN(len(hosts))], strings.TrimPrefix(port(), ":")))
	}
	for i := range 6000 {
		text := agreedForm(pick)
		if i%3 == 0 {
			text = mutate(text)
		}
		texts = append(texts, text)
	}
	for range 5000 {
		texts = append(texts, mutate(texts[rng.IntN(186)]))
	}
	return texts
}

// agreedForm returns a text of a form that all read alike, or of one so near
// that a few do not.
func agreedForm(pick func(...string) string) string {
	v4 := pick("127.0.0.1", "127.9.8.7", "0.0.0.0", "8.8.8.8", "192.0.2.7", "10.0.0.1", "127.255.255.255", "224.0.0.1", "255.255.255.255")
	v6 := pick("::1", "::", "2001:db8::1", "2001:db8::1:80", "fe80::1", "::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:8.8.8.8", "0:0::0:1", "0:0::2", "::2",
		"::1:80", "::1:ff", "0:80::2", "64:ff9b::7f00:1", "::ffff:0:0", "ff02::1", "2002:7f00:1::")
	zone := pick("", "", "", "%1", "%lo", "%10", "%eth0", "%1@127.0.0.1")
	host := pick(v4, v4, "["+v6+"]", "["+v6+"]", "["+v6+zone+"]", "["+v4+"]", v6)
	port := pick("", "", ":80", ":8080", ":080", ":", ":http", ":65536")
	switch pick("alone", "port", "url", "url", "url") {
	case "alone":
		return pick(v4, v6, v6+zone)
	case "port":
		return pick(host, host, "") + port
	}
	scheme := pick("http", "HTTPS", "ws", "wss", "ftp", "tcp", "redis", "postgres", "mysql", "git+ssh", "x.y", "file", "unix", "http+unix", "LDAPI", "ldap", "gopher", "")
	user := pick("", "", "", "u@", "u:p@", "u:@", ":p@", "@", "me:80@", "127.1:x@", "a%40b@", "localhost@", "App.LocalHost:1@", "~x-.y_z:A9@", "a@b@", "4294967297@")
	rest := pick("", "", "/", "/x", "/x?y=z", "/x#y", "?x", "#x", "?x@127.0.0.1", "#@8.8.8.8", "/@127.0.0.1", "/x?host=127.0.0.1", "/x#a@b", "/ ", "/%zz", "/é", "/..\\")
	return scheme + "://" + user + host + port + rest
}

func TestNoParserRefutesReach(t *testing.T) {
	texts := neighbours(t)
	explained := make([]loopback.Explanation, len(texts))
	for i, text := range texts {
		explained[i] = loopback.Explain(text)
	}
	for _, oracle := range oracles {
		t.Run(oracle.name, func(t *testing.T) {
			var askable []string
			var index []int
			for i, text := range texts {
				if utf8.ValidString(text) { // JSON has no other
					askable, index = append(askable, text), append(index, i)
				}
			}
			answers := oracle.ask(t, askable)
			require.Len(t, answers, len(askable))
			here, elsewhere, shown := 0, 0, 0
			for i, answer := range answers {
				e := explained[index[i]]
				switch {
				case !answer.ok:
					continue
				case isHereByRFC(answer.host):
					here++
					if e.Reach == loopback.ReachNo {
						shown++
						t.Errorf("found %q in %q, but %v", answer.host, e.Input, e)
					}
				case isElsewhere(answer.host):
					elsewhere++
					if e.Reach == loopback.ReachYes {
						shown++
						t.Errorf("found %q in %q, but %v", answer.host, e.Input, e)
					}
				}
				if shown > 20 {
					t.Fatal("and more")
				}
			}
			t.Logf("%d texts: %d lead here, %d elsewhere", len(answers), here, elsewhere)
			assert.Greater(t, here, 100)
			assert.Greater(t, elsewhere, 10)
		})
	}
}
