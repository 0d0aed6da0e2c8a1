package loopback_test

import (
	"encoding/json"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"example.com/loopback"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestExplainTable(t *testing.T) {
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

// What is near the rows of the table. addr is the zero Addr where it is empty.
func TestExplainNearTheTable(t *testing.T) {
	const no, maybe, yes = loopback.ReachNo, loopback.ReachMaybe, loopback.ReachYes
	for _, tt := range []struct {
		text, form      string
		valid, loopback bool
		addr            string
		reach           loopback.Reach
	}{
		{"127.0.0.1", "addr", true, true, "127.0.0.1", yes},
		{"::1", "addr", true, true, "::1", yes},
		{"::1%lo", "addr", true, true, "::1%lo", yes},
		{"::1%4294967296", "addr", true, true, "::1%4294967296", maybe},
		{"::%eth0", "addr", true, false, "::%eth0", maybe},
		{"::ffff:0.0.0.0%lo", "addr", true, false, "0.0.0.0", yes},
		{"::FFFF:7F00:1", "addr", true, true, "127.0.0.1", yes},
		{"::ffff:8.8.8.8%lo", "addr", true, false, "8.8.8.8", no},
		{"::ffff:169.254.0.1%lo", "addr", true, false, "169.254.0.1", no},
		{"febf::1%1", "addr", true, false, "febf::1%1", maybe},
		{"fec0::1%lo", "addr", true, false, "fec0::1%lo", no},
		{"2001:db8::1%lo", "addr", true, false, "2001:db8::1%lo", no},
		{"ff02::1%lo", "addr", true, false, "ff02::1%lo", no},
		{"224.0.0.1", "addr", true, false, "224.0.0.1", no},
		{"255.255.255.255", "addr", true, false, "255.255.255.255", no},
		{"::1:80", "addr", true, false, "::1:80", no},
		{"2001:db8::1%31", "addr", true, false, "2001:db8::1%31", no},
		{"2001:db8::1%47", "addr", true, false, "2001:db8::1%47", no},            // 2001:db8::1G, which Chromium refuses
		{"::ffff:12%37.0.0.1", "addr", true, false, "::ffff:12%37.0.0.1", maybe}, // 127 in Chromium
		{"2002:7f00:1::", "addr", true, false, "2002:7f00:1::", maybe},
		{"2002:8000:1::", "addr", true, false, "2002:8000:1::", no},
		{"fe80::5efe:127.0.0.1", "addr", true, false, "fe80::5efe:127.0.0.1", maybe},
		{"fe80::5efe:128.0.0.1", "addr", true, false, "fe80::5efe:128.0.0.1", no},

		{"0", "addr", false, false, "0.0.0.0", maybe},
		{"0x", "addr", false, false, "0.0.0.0", maybe},
		{"0.", "addr", false, false, "0.0.0.0", maybe},
		{"000000000000000000000000000000000", "addr", false, false, "0.0.0.0", maybe},
		{"0x7f.0x.0x.0x1", "addr", false, false, "127.0.0.1", maybe},
		{"017700000001", "addr", false, false, "127.0.0.1", maybe},
		{"2147483647", "addr", false, false, "127.255.255.255", maybe},
		{"2147483648", "addr", false, false, "128.0.0.0", no},
		{"2130706431", "addr", false, false, "126.255.255.255", no},
		{"4294967295", "addr", false, false, "255.255.255.255", no},
		{"4294967296", "addr", false, false, "", maybe},           // 0.0.0.0 to macOS
		{"6425673729", "addr", false, false, "", maybe},           // 127.0.0.1 to macOS
		{"0x17f000001", "addr", false, false, "", maybe},          // likewise
		{"18446744075840258049", "addr", false, false, "", maybe}, // 1<<64 more
		{"4429185024", "addr", false, false, "", no},              // 8.0.0.0 to macOS
		{"126.1", "addr", false, false, "126.0.0.1", no},
		{"128.1", "addr", false, false, "128.0.0.1", no},
		{"0x7e.1", "addr", false, false, "126.0.0.1", no},
		{"0x80.1", "addr", false, false, "128.0.0.1", no},
		{"127.16777216", "addr", false, false, "", no},
		{"127.0.65536", "addr", false, false, "", no},
		{"127.0.0.0.1", "addr", false, false, "", no},
		{"0128.0.0.1", "addr", false, false, "128.0.0.1", no},
		{"0200.0.0.1", "addr", false, false, "128.0.0.1", no},
		{"8.8.8.8.", "addr", false, false, "8.8.8.8", no},
		{"127.1 and more", "host", false, false, "127.0.0.1", maybe},
		{"8.8.8.8 and more", "host", false, false, "8.8.8.8", no},
		{"127.1\x00", "addr", false, false, "127.0.0.1", maybe},
		{"127%2e1", "addr", false, false, "127.0.0.1", maybe},
		{"8.8.8.8/8", "addr", false, false, "8.8.8.8", no},
		{"[::1]", "addr", false, false, "::1", maybe},
		{"[::2]", "addr", false, false, "::2", no},
		{"[::1", "addr", false, false, "::1", maybe},
		{"[fe80::1%eth0]", "addr", false, false, "fe80::1%eth0", maybe},
		{"[fe80::1%25lo]", "addr", false, false, "fe80::1%lo", maybe},
		{"[8.8.8.8]", "addr", false, false, "8.8.8.8", no},
		{"1:2:3", "addr", false, false, "", no},
		{"::00001", "addr", false, false, "::1", maybe}, // Java
		{"2001:00db8::1", "addr", false, false, "2001:db8::1", no},
		{"::ffff:0177.0.0.1", "addr", false, false, "127.0.0.1", maybe}, // Chromium
		{"::FFFF:0X7F.0.0.1", "addr", false, false, "127.0.0.1", maybe},
		{"0:0:0:0:0:ffff:0x0.0.0.0", "addr", false, false, "0.0.0.0", maybe},
		{"::0.0.0.0x1", "addr", false, false, "::1", maybe},
		{"::ffff:0127.0.0.1", "addr", false, false, "127.0.0.1", maybe}, // Java; 87.0.0.1 to Chromium
		{"::ffff:010.0.0.1", "addr", false, false, "8.0.0.1", no},
		{"::ffff:127.1", "addr", false, false, "", no},
		{"::ffff:0x7f.1", "addr", false, false, "", maybe},
		{"::x", "addr", false, false, "", maybe},
		{"user@127.0.0.1", "addr", false, false, "127.0.0.1", maybe},
		{"8.8 8.8@127.0.0.1", "addr", false, false, "127.0.0.1", maybe}, // a URL, but for the scheme
		{"8.8.8.8%20@127.0.0.1", "addr", false, false, "127.0.0.1", maybe},
		{"\uff18.8.8.8", "addr", false, false, "", maybe},
		{"\xff", "addr", false, false, "", maybe},

		{"x_y.localhost", "host", true, true, "", maybe},
		{"1.localhost", "host", true, true, "", maybe},
		{"foo.127", "addr", false, false, "", maybe},
		{"foo-.localhost", "host", false, false, "", maybe},
		{"user@localhost", "host", false, false, "", maybe},

		{"127.0.0.1:", "hostport", true, true, "127.0.0.1", yes},
		{"127.0.0.1:65535", "hostport", true, true, "127.0.0.1", yes},
		{"127.0.0.1:HTTP", "hostport", true, true, "127.0.0.1", yes},
		{"127.0.0.1:no-such", "hostport", false, false, "127.0.0.1", maybe},
		{"127.0.0.1:+80", "hostport", false, false, "127.0.0.1", maybe},
		{"8.8.8.8:65536", "hostport", false, false, "8.8.8.8", no},
		{"8.8.8.8:53", "hostport", true, false, "8.8.8.8", no},
		{"127.1:80", "hostport", false, false, "127.0.0.1", maybe},
		{"0:80", "hostport", false, false, "0.0.0.0", maybe},
		{"127:80", "hostport", false, false, "0.0.0.127", no},
		{"127.0.0.1.:80", "hostport", false, false, "127.0.0.1", maybe},
		{"[127.0.0.1]:80", "hostport", true, true, "127.0.0.1", yes},
		{"[localhost]:80", "hostport", true, true, "", maybe},
		{"[]:80", "hostport", true, false, "", yes},
		{"[::1]80", "addr", false, false, "::1", maybe},
		{"[::ffff:127.0.0.1]:80", "hostport", true, true, "127.0.0.1", yes},
		{"[::ffff:12%37.0.0.1]:80", "hostport", true, false, "::ffff:12%37.0.0.1", maybe},
		{"[::2]:80", "hostport", true, false, "::2", no},
		{"[fe80::1%lo]:80", "hostport", true, false, "fe80::1%lo", maybe},
		{":", "hostport", true, false, "", yes},
		{":65536", "hostport", false, false, "", maybe},
		{"example.com:80", "hostport", true, false, "", maybe},
		{"http:80", "hostport", true, false, "", maybe},

		{"http://localhost", "url", true, true, "", maybe},
		{"http://127.0.0.1:", "url", true, true, "127.0.0.1", yes},
		{"http://127.0.0.1:65536/", "url", false, false, "127.0.0.1", maybe},
		{"http://127.0.0.1/%zz", "url", false, false, "127.0.0.1", maybe},
		{"http://8.8.8.8/%zz", "url", false, false, "8.8.8.8", no},
		{"postgres://u:p@[::1]:5432/db", "url", true, true, "::1", yes},
		{"postgres://8.8.8.8:1,127.0.0.1:2/db", "url", false, false, "", maybe},
		{"http://127.0.0.1@8.8.8.8/", "url", true, false, "8.8.8.8", no},
		{"http://8.8.8.8@127.0.0.1/", "url", true, true, "127.0.0.1", yes},
		{"http://8.8.8.8\\@127.0.0.1/", "url", false, false, "127.0.0.1", maybe},
		{"http://8.8.8.8#@127.0.0.1/", "url", true, false, "8.8.8.8", no},
		{"http://127.0.0.1./", "url", false, false, "127.0.0.1", maybe},
		{"http://8.8.8.8./", "url", false, false, "8.8.8.8", no},
		{"http://134744072/", "url", false, false, "8.8.8.8", no},
		{"http://127/", "url", false, false, "0.0.0.127", no},
		{"http:///127.0.0.1/", "url", false, false, "127.0.0.1", maybe},
		{"http:\\\\8.8.8.8\\", "url", false, false, "8.8.8.8", no},
		{"ht\ntp://127.0.0.1/", "url", false, false, "127.0.0.1", maybe},
		{"  http://127.0.0.1/", "url", false, false, "127.0.0.1", maybe},
		{" http://8.8.8.8/", "url", false, false, "8.8.8.8", no},
		{"http:127.0.0.1", "url", false, false, "127.0.0.1", maybe},
		{"http:8.8.8.8", "url", false, false, "8.8.8.8", no},
		{"\\\\127.0.0.1\\share", "url", false, false, "127.0.0.1", maybe},
		{"///127.0.0.1/x", "url", false, false, "127.0.0.1", maybe},
		{"//8.8.8.8/x", "url", true, false, "8.8.8.8", no},
		{"http://[fe80::1%25lo]/", "url", true, false, "fe80::1%lo", maybe},
		{"http://[fe80::1%lo]/", "url", false, false, "fe80::1%lo", maybe},
		{"http://[::1%25nosuch]/", "url", true, true, "::1%nosuch", maybe},
		{"http://[::2]/", "url", true, false, "::2", no},
		{"http://127%2E0.0.1/", "url", false, false, "127.0.0.1", maybe},
		{"http://8%2e8.8.8/", "url", false, false, "8.8.8.8", no},
		{"http://foo%2elocalhost/", "url", false, false, "", maybe},
		{"http://lvh%2eme/", "url", false, false, "", maybe},
		{"http://", "url", false, false, "", no},
		{"http:///", "url", false, false, "", no},
		{"file:///etc/hosts", "url", false, false, "", no},
		{"file://localhost/etc/hosts", "url", true, true, "", maybe},
		{"file:////127.0.0.1/share", "url", false, false, "127.0.0.1", maybe}, // Windows
		{"file:////8.8.8.8/share", "url", false, false, "8.8.8.8", no},
		{"file:///127.0.0.1/share", "url", false, false, "", no},
		{"file:/127.0.0.1/share", "url", false, false, "", no},
		{"gopher:///127.0.0.1/", "url", false, false, "127.0.0.1", maybe}, // curl
		{"gopher:///u@foo.localhost:70/", "url", false, false, "", maybe},
		{"gopher:///127.0.0.1\\x", "url", false, false, "127.0.0.1", maybe},
		{"gopher:///127%2e1/", "url", false, false, "127.0.0.1", maybe},
		{"gopher:///１２７.0.0.1/", "url", false, false, "", maybe},
		{"gopher:///8.8.8.8/", "url", false, false, "8.8.8.8", no},
		{"unix:///var/run/service", "url", false, false, "", no},
		{"http://[::ffff:0177.0.0.1]/", "url", false, false, "127.0.0.1", maybe},
		{"?127.0.0.1", "url", false, false, "", no},
		{"127.0.0.1/x", "url", false, false, "127.0.0.1", maybe},
		{"8.8.8.8/x", "url", false, false, "8.8.8.8", no},
	} {
		var addr netip.Addr
		if tt.addr != "" {
			addr = netip.MustParseAddr(tt.addr)
		}
		e := loopback.Explain(tt.text)
		assert.Equal(t, tt.form, e.Form, "form of %q", tt.text)
		assert.Equal(t, tt.valid, e.Valid, "valid: %q", tt.text)
		assert.Equal(t, tt.loopback, e.Loopback, "loopback: %q", tt.text)
		assert.Equal(t, addr, e.Addr, "addr of %q", tt.text)
		assert.Equal(t, loopback.KindOf(addr), e.Kind, "kind of %q", tt.text)
		assert.Equal(t, tt.reach, e.Reach, "reach of %q", tt.text)
	}
}

func TestExplainHost(t *testing.T) {
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
func TestExplainHugeInput(t *testing.T) {
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

func TestExplainReasons(t *testing.T) {
	for _, row := range readHostTexts(t) {
		e := loopback.Explain(row.input)
		assert.True(t, strings.HasPrefix(e.Reason, strconv.Quote(row.input)), "%q does not name %q", e.Reason, row.input)
		assert.NotContains(t, e.Reason, "\n")
		assert.NotContains(t, e.Reason, "%!")
		assert.Greater(t, len(e.Reason), len(row.input)+20)
	}
}

func TestExplanationText(t *testing.T) {
	assert.Equal(t, `YES  "[::ffff:127.0.0.1]:80": the host "::ffff:127.0.0.1" is an address of 127.0.0.0/8 in IPv4-mapped form: `+
		`a connection to it stays on this machine, but not every program takes it for loopback
  hostport, valid, loopback, 127.0.0.1 (IPv4)`, loopback.Explain("[::ffff:127.0.0.1]:80").String())
	assert.Equal(t, `NO  "127" is an old spelling of 0.0.0.127, which Go's own parsers refuse, but the C library, Go through cgo, `+
		`and browsers read; 0.0.0.127 is an address outside loopback: a connection to it leaves this machine, unless the address is its own
  addr, not valid, not loopback, 0.0.0.127 (none)`, loopback.Explain("127").String())
}

func TestExplanationJSON(t *testing.T) {
	got, err := json.Marshal(loopback.Explain("[::]:80"))
	require.NoError(t, err)
	assert.JSONEq(t, `{"input": "[::]:80", "form": "hostport", "valid": true, "loopback": false, "host": "::", "addr": "::", "kind": "unspecified",
		"reach": "yes", "reason": "\"[::]:80\": the host \"::\" is the unspecified address: who connects to it reaches this machine, who listens on it listens on every interface"}`, string(got))

	got, err = json.Marshal(loopback.Explanation{})
	require.NoError(t, err)
	assert.JSONEq(t, `{"input": "", "form": "", "valid": false, "loopback": false, "host": "", "addr": "", "kind": "none", "reach": "maybe", "reason": ""}`, string(got))
}

func TestReachText(t *testing.T) {
	for r, want := range map[loopback.Reach]string{0: "maybe", loopback.ReachNo: "no", loopback.ReachYes: "yes", 200: "Reach(200)"} {
		assert.Equal(t, want, r.String())
		text, err := r.MarshalText()
		require.NoError(t, err)
		assert.Equal(t, want, string(text))
	}
	var zero loopback.Reach
	assert.Equal(t, loopback.ReachMaybe, zero)
}
