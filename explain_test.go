package loopback_test

import (
	"encoding/json"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
)

func TestExplainAgreesWithTheTable(t *testing.T) {
	for _, row := range readHostTexts(t) {
		e := loopback.Explain(row.input)
		assert.Equal(t, row.input, e.Input)
		assert.Equal(t, row.kind, e.Form, "%q", row.input)
		assert.Equal(t, row.strict != "invalid", e.Valid, "valid: %q: %s", row.input, row.reason)
		assert.Equal(t, row.strict == "yes", e.Loopback, "loopback: %q: %s", row.input, row.reason)
		var want []loopback.Reach
		switch row.reach {
		case "yes":
			want = []loopback.Reach{loopback.ReachYes}
			if row.strict == "invalid" {
				want = append(want, loopback.ReachMaybe)
			}
		case "no":
			want = []loopback.Reach{loopback.ReachNo}
		case "depends":
			want = []loopback.Reach{loopback.ReachMaybe}
		case "invalid":
			want = []loopback.Reach{loopback.ReachNo, loopback.ReachMaybe}
		}
		assert.Contains(t, want, e.Reach, "reach: %q: %s", row.input, row.reason)
	}
}

// testdata/explain_texts.tsv has what is near the rows of the table, and the
// whole answer to each.
func TestExplainAgreesWithItsOwnTable(t *testing.T) {
	data, err := os.ReadFile("testdata/explain_texts.tsv")
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	require.Greater(t, len(lines), 150)
	for _, line := range lines[1:] {
		f := strings.Split(line, "\t")
		require.Len(t, f, 6, line)
		text, err := strconv.Unquote(f[0])
		require.NoError(t, err, line)
		var addr netip.Addr
		require.NoError(t, addr.UnmarshalText([]byte(f[4])), line)
		e := loopback.Explain(text)
		assert.Equal(t, f[1:4], []string{e.Form, strconv.FormatBool(e.Valid), strconv.FormatBool(e.Loopback)}, line)
		assert.Equal(t, addr, e.Addr, line)
		assert.Equal(t, loopback.KindOf(addr), e.Kind, line)
		assert.Equal(t, f[5], e.Reach.String(), line)
	}
}

// url.Parse accepts more than a URL that has a host.
func TestURLIsValidByItsHost(t *testing.T) {
	for text, valid := range map[string]bool{
		"http://:80": true, "http://:": true, "http://": false, "x://[::1]:80": true, "x://::1:80": false,
	} {
		assert.Equal(t, valid, loopback.Explain(text).Valid, text)
	}
}

func TestHostIsThePartWithoutBracketsAndPort(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "",
		":80":                           "",
		"::1%lo":                        "::1%lo",
		"[::1%lo]:80":                   "::1%lo",
		"[::1]":                         "::1",
		"localhost:80":                  "localhost",
		"127.1":                         "127.1",
		"http://u:p@LocalHost:80/x?y#z": "LocalHost",
		"http://[::1%25lo]:80/":         "::1%lo",
		"http://%31%32%37.0.0.1/":       "127.0.0.1",
		`http:\\127.1\x`:                "127.1",
		"localhost:80/x":                "localhost",
		"http://":                       "",
	} {
		assert.Equal(t, want, loopback.Explain(text).Host, "%q", text)
	}
}

// Input and Host are as long as they are; what is made of them is not. A step
// that were quadratic would take hours here.
func TestExplainOfHugeInputStaysSmall(t *testing.T) {
	const size = 1 << 20
	for _, part := range []string{"a", "a.", "1", "0", "1.", ":", "0:", "[", "[]", "%", "%25", "%2525", "25", "/", "@", " ", "\t", "\x00", "\xff", "http:", "::1%"} {
		long := strings.Repeat(part, size/len(part))
		for _, around := range []string{"*", "http://*/", "http://127.0.0.1/*", "[*]:80", "::1%*", "2001:db8::1%*", "*:80", "http://127.0.0.1:*"} {
			text := strings.Replace(around, "*", long, 1)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			e := loopback.Explain(text)
			runtime.ReadMemStats(&after)

			assert.True(t, text == e.Input)
			assert.Less(t, len(e.Reason), 2000, "%.40q", text)
			assert.Less(t, len(e.String()), 2100, "%.40q", text)
			assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(16*size), "%.40q", text)
		}
	}
	e := loopback.Explain("http://127.0.0.1/" + strings.Repeat("a", size))
	assert.True(t, e.Valid && e.Loopback && e.Reach == loopback.ReachYes)
}

func TestReasonIsOneSentenceAboutTheInput(t *testing.T) {
	for _, text := range neighbours(t) {
		reason := loopback.Explain(text).Reason
		rest, ok := strings.CutPrefix(reason, strconv.Quote(text))
		if len(text) > 64 {
			_, rest, ok = strings.Cut(reason, `"... `)
		}
		assert.True(t, ok && len(rest) > 20, "%q does not name %q", reason, text)
		rest = strings.NewReplacer(quotedHost(text), "", "::", "").Replace(rest)
		for _, wrong := range []string{"\n", "%!", "invalid IP", ";", ": "} {
			assert.NotContains(t, rest, wrong, "%q", text)
		}
	}
}

// quotedHost is what a reason may have of the input besides the input itself.
func quotedHost(text string) string {
	return strings.Trim(strconv.Quote(loopback.Explain(text).Host), `"`)
}

func TestReasonSaysWhoReadsWhat(t *testing.T) {
	const outside = "an address outside loopback, and a connection to it leaves this machine, unless the address is its own"
	for text, want := range map[string]string{
		"":                `is empty, which Go's Dial takes for this machine and its Listen for every interface`,
		":80":             `has no host, which Go's Dial takes for this machine and its Listen for every interface`,
		":http":           `has no host, which Go's Dial takes for this machine and its Listen for every interface, but not every program knows a port by this name`,
		"http://:80/":     `has no host, which Go, Perl and Node take for this machine and browsers refuse`,
		"http://":         `names no host, and many clients then connect to this machine`,
		"amqp:///vhost":   `names no host, and many clients then connect to this machine`,
		"file:///\x7f":    `names no host, and many clients then connect to this machine`,
		"localhost:x":     `is refused by Go's parsers, but other programs find "localhost" in it, the name of loopback by RFC 6761, but Go and the C library believe the hosts file, and without an entry there DNS`,
		"file:///":        `is the path of a file, and nothing connects to it`,
		"file:///etc":     `is the path of a file, and nothing connects to it`,
		"127.0.0.1":       `is an address of 127.0.0.0/8, and a connection to it stays on this machine`,
		"::1":             `is the loopback address of IPv6, and a connection to it stays on this machine`,
		"127.255.255.255": `is the broadcast address of 127.0.0.0/8, and a socket can be bound to it, but Linux does not connect to it`,
		"8.8.8.8":         `is ` + outside,
		"2001:db8::1":     `is ` + outside,
		"169.254.0.1":     `is ` + outside,
		"fec0::1":         `is ` + outside,
		"224.0.0.1":       `is a multicast address, and TCP does not connect to it`,
		"fe80::1":         `is a link-local address without a zone, and a connection needs one`,
		"fe80::1%lo":      `is a link-local address, and its zone may be the loopback interface`,
		"64:ff9b::7f00:1": `is an address with an IPv4 address of this machine inside, and an ordinary machine sends it out to the network, but a translator or a tunnel may bring it back`,
		"2002:7f00:1::":   `is an address with an IPv4 address of this machine inside, and an ordinary machine sends it out to the network, but a translator or a tunnel may bring it back`,
		"::1:80":          `is an address outside loopback, but some programs take the number behind the last colon for a port and find ::1`,
		"0:0::2":          `is an address outside loopback, but some programs take what is in front of the first colon for the address 0.0.0.0`,
		"::1%eth0":        `is the loopback address of IPv6, but programs differ about its zone`,
		"localhost":       `is the name of loopback by RFC 6761, but Go and the C library believe the hosts file, and without an entry there DNS`,
		"LOCALHOST.":      `is a name of loopback by RFC 6761, but Go and the C library do not find it with its final dot in the hosts file, and ask DNS`,
		"app.localhost":   `is a name of loopback by RFC 6761, and to browsers and systemd, but Go and the C library ask the hosts file and DNS`,
		"mylocalhost":     `is an ordinary name, and the hosts file or DNS may give an address of this machine for it`,
		"example.com:80":  `has the host "example.com", which is an ordinary name, and the hosts file or DNS may give an address of this machine for it`,
		"127.1":           `is refused by Go's parsers, but the C library, Go through cgo, and browsers read it as 127.0.0.1, an address of 127.0.0.0/8`,
		"8.8.8.8.":        `is refused by Go's parsers, but browsers drop the final dot and read it as 8.8.8.8, an address outside loopback, while others ask DNS`,
		"0127.0.0.1":      `is refused by Go's parsers, but Java ignores the zeros in front of a number and reads it as 127.0.0.1, an address of 127.0.0.0/8, while the C library and browsers read 87.0.0.1`,
		"127.0.0.08":      `is refused by Go's parsers, but Java ignores the zeros in front of a number and reads it as 127.0.0.8, an address of 127.0.0.0/8`,
		"::ffff:0x7f.0.0.1": `is refused by Go's parsers, but Chromium takes an old spelling of the IPv4 address at the end and reads it as ::ffff:127.0.0.1, ` +
			`an address of 127.0.0.0/8 in IPv4-mapped form`,
		"127.0.0.1.0": `is refused by Go's parsers, but other programs look it up in the hosts file and DNS, and some systems drop all but 32 bits of a number`,
		"1:2:3":       `is refused by Go's parsers, but other programs may find an address and a port in it`,
		"-x":          `is refused by Go's parsers, but other programs may look it up in the hosts file and DNS`,
		"１２７.0.0.1":   `is refused by Go's parsers, but net/http and browsers map it by IDNA, which may give 127.0.0.1 or localhost`,
		"[]":          `is refused by Go's parsers, but other programs find an empty host in it, and some take that for this machine`,
		"u@localhost": `is refused by Go's parsers, but other programs find "localhost" in it, the name of loopback by RFC 6761, but Go and the C library believe the hosts file, and without an entry there DNS`,

		"http://8.8.8.8:80:90/":          `is refused by Go's parsers, but other programs find 8.8.8.8 in it, an address outside loopback`,
		"http:///8.8.8.8/":               `is refused by Go's parsers, but other programs find 8.8.8.8 in it, an address outside loopback, and clients that find no host connect to this machine`,
		"http:8.8.8.8":                   `is refused by Go's parsers, but other programs find 8.8.8.8 in it, an address outside loopback, and clients that find no host connect to this machine`,
		"127.0.0.1:http":                 `has the host "127.0.0.1", which is an address of 127.0.0.0/8, but not every program knows a port by this name`,
		"[127.0.0.1]:80":                 `has the host "127.0.0.1", which is an address of 127.0.0.0/8, but not every program takes such brackets`,
		"[::1%lo]:80":                    `has the host "::1%lo", which is the loopback address of IPv6, but programs differ about a zone in brackets`,
		`http://8.8.8.8\@0127.0.0.1/`:    `is refused by Go's parsers, but Java ignores the zeros in front of a number and reads "0127.0.0.1" as 127.0.0.1, an address of 127.0.0.0/8`,
		`http://1.2.3.4.5\@localhost/`:   `is refused by Go's parsers, but other programs find "localhost" in it, the name of loopback by RFC 6761, but Go and the C library believe the hosts file, and without an entry there DNS`,
		"http://@[::1%25lo]/":            `has the host "::1%lo", which is the loopback address of IPv6, but programs differ about a zone in brackets`,
		"//8.8.8.8/":                     `has the host "8.8.8.8", which is an address outside loopback, but a program must know that the text is the reference of a web page`,
		"unix://8.8.8.8/":                `has the host "8.8.8.8", which is an address outside loopback, but its scheme is one of unix sockets, which are on this machine`,
		"http://127.0.0.1@8.8.8.8/":      `has the host "8.8.8.8", which is an address outside loopback, but some programs look for the host in the user name and password`,
		"http://8.8.8.8?@127.0.0.1":      `has the host "8.8.8.8", which is an address outside loopback, but some programs look for the host behind the last @`,
		"mysql://8.8.8.8/?host=::1":      `has the host "8.8.8.8", which is an address outside loopback, but some clients of such a scheme look for the host behind a question mark or an @`,
		"http://127.0.0.1/é":             `has the host "127.0.0.1", which is an address of 127.0.0.0/8, but programs differ about backslashes and what is not printable ASCII`,
		"x.y://127.0.0.1/":               `has the host "127.0.0.1", which is an address of 127.0.0.0/8, and a connection to it stays on this machine`,
		"[::ffff:127.0.0.1]:80":          `has the host "::ffff:127.0.0.1", which is an address of 127.0.0.0/8 in IPv4-mapped form, and a connection to it stays on this machine, but not every program takes it for loopback`,
		"http://user:secret@[::]:80/x?y": `has the host "::", which is the unspecified address, and a connection to it reaches this machine, while a listener on it listens on every interface`,
	} {
		assert.Equal(t, strconv.Quote(text)+" "+want, loopback.Explain(text).Reason)
	}
}

func TestExplanationStringHasTwoLines(t *testing.T) {
	assert.Equal(t, `YES  "[::1]:80" has the host "::1", which is the loopback address of IPv6, and a connection to it stays on this machine
  hostport, valid, loopback, ::1 (IPv6)`, loopback.Explain("[::1]:80").String())
	assert.Equal(t, `MAYBE  "127" is refused by Go's parsers, but the C library, Go through cgo, and browsers read it as 0.0.0.127, an address outside loopback
  addr, not valid, not loopback, 0.0.0.127 (none)`, loopback.Explain("127").String())
	assert.Equal(t, `MAYBE  "fe80::1%lo" is a link-local address, and its zone may be the loopback interface
  addr, valid, not loopback, fe80::1 (none)`, loopback.Explain("fe80::1%lo").String())
}

func TestExplanationJSONHasSnakeCaseNames(t *testing.T) {
	got, err := json.Marshal(loopback.Explain("[::]:80"))
	require.NoError(t, err)
	assert.JSONEq(t, `{"input": "[::]:80", "form": "hostport", "valid": true, "loopback": false, "host": "::", "addr": "::", "kind": "unspecified", "reach": "yes",
		"reason": "\"[::]:80\" has the host \"::\", which is the unspecified address, and a connection to it reaches this machine, while a listener on it listens on every interface"}`, string(got))

	got, err = json.Marshal(loopback.Explanation{})
	require.NoError(t, err)
	assert.JSONEq(t, `{"input": "", "form": "", "valid": false, "loopback": false, "host": "", "addr": "", "kind": "none", "reach": "maybe", "reason": ""}`, string(got))
}

func TestExplanationIsReadBackFromJSON(t *testing.T) {
	for _, row := range readHostTexts(t) {
		e := loopback.Explain(row.input)
		first, err := json.Marshal(e)
		require.NoError(t, err)
		var back loopback.Explanation
		require.NoError(t, json.Unmarshal(first, &back))
		assert.Equal(t, e, back)
		second, err := json.Marshal(back)
		require.NoError(t, err)
		assert.Equal(t, string(first), string(second))
	}
	for _, text := range []string{"\xff", "::1%\xff\xfe", "http://\xc3/", "\u2028<"} {
		first, err := json.Marshal(loopback.Explain(text))
		require.NoError(t, err)
		var back loopback.Explanation
		require.NoError(t, json.Unmarshal(first, &back))
		second, err := json.Marshal(back)
		require.NoError(t, err)
		assert.Equal(t, string(first), string(second))
	}
}

func TestReachIsWrittenAndReadByName(t *testing.T) {
	for r, want := range map[loopback.Reach]string{0: "maybe", loopback.ReachNo: "no", loopback.ReachYes: "yes", 200: "Reach(200)"} {
		assert.Equal(t, want, r.String())
		text, err := r.MarshalText()
		require.NoError(t, err)
		assert.Equal(t, want, string(text))
		back := loopback.ReachYes
		if err := back.UnmarshalText(text); r == 200 {
			assert.EqualError(t, err, `loopback: unknown Reach "Reach(200)"`)
			assert.Equal(t, loopback.ReachYes, back, "unchanged")
		} else {
			require.NoError(t, err)
			assert.Equal(t, r, back)
		}
	}
	var zero loopback.Reach
	assert.Equal(t, loopback.ReachMaybe, zero)
	for _, text := range []string{"", "Yes", "yes ", "1"} {
		assert.EqualError(t, zero.UnmarshalText([]byte(text)), `loopback: unknown Reach "`+text+`"`)
	}
}
