package hosttext_test

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/loopback/internal/hosttext"
)

// texts are texts with their form, "!" if they are strict, and their readings.
var texts = map[string]string{
	"":                        "addr: =empty",
	"127.0.0.1":               "addr! 127.0.0.1=address 127.0.0.1",
	"::ffff:127.0.0.1":        "addr! ::ffff:127.0.0.1=address ::ffff:127.0.0.1",
	"::1%lo":                  "addr! ::1%lo=address ::1%lo",
	"::1%6c":                  "addr! ::1%6c=address ::1%6c",
	"localhost":               "host! localhost=name",
	"foo.127":                 "addr: foo.127=other",
	"127.1":                   "addr: 127.1=legacy 127.0.0.1",
	"127.1.":                  "addr: 127.1.=final dot 127.0.0.1",
	"0127.0.0.1":              "addr: 0127.0.0.1=legacy 87.0.0.1, 0127.0.0.1=java 127.0.0.1",
	"127.0.0.08":              "addr: 127.0.0.08=java 127.0.0.8",
	"127.0.0.1.0":             "addr: 127.0.0.1.0=numbers",
	"::00001":                 "addr: ::00001=java ::1",
	"::ffff:0x7f.0.0.1":       "addr: ::ffff:0x7f.0.0.1=legacy v6 ::ffff:127.0.0.1",
	".":                       "host! .=name",
	"00000::1":                "addr: 00000::1=java ::1",
	"::00f01":                 "addr: ::00f01=java ::f01",
	"1:2:3":                   "addr: 1:2:3=colons",
	"[::1]":                   "addr: ::1=address ::1",
	"[[::1]]":                 "addr: ::1=address ::1",
	"127.0.0.1/8":             "addr: 127.0.0.1=address 127.0.0.1",
	"127.0.0.1%lo":            "addr: 127.0.0.1=address 127.0.0.1",
	" 127.0.0.1":              "addr: 127.0.0.1=address 127.0.0.1",
	"127.1 and":               "host: 127.1=legacy 127.0.0.1",
	"１２７.1":                   "addr: １２７.1=unmapped",
	"a-":                      "host: a-=other",
	"u@127.1":                 "addr: 127.1=legacy 127.0.0.1, u@127.1=other",
	":80":                     "hostport! =empty",
	"127.0.0.1:80":            "hostport! 127.0.0.1=address 127.0.0.1",
	"127.0.0.1:HTTP":          "hostport! 127.0.0.1=address 127.0.0.1",
	"127.0.0.1:nosuch":        "hostport: 127.0.0.1=address 127.0.0.1",
	"[::1]:65536":             "hostport: ::1=address ::1",
	"http://127.0.0.1/":       "url! 127.0.0.1=address 127.0.0.1",
	"http://:80/":             "url! =empty",
	"http://":                 "url:",
	"file:///127.0.0.1":       "url:",
	"file:////127.1/x":        "url: 127.1=legacy 127.0.0.1",
	"http://a@b@127.1/":       "url: 127.1=legacy 127.0.0.1, b@127.1=other",
	"http://[::1%256c]/":      "url! ::1%6c=address ::1%6c",
	"http://127%2e1/":         "url: 127.1=legacy 127.0.0.1",
	`http:\\8.8.8.8\`:         "url: 8.8.8.8=address 8.8.8.8",
	`http://8.8.8.8\@::1`:     "url: 8.8.8.8=address 8.8.8.8, :=colons, ::1=address ::1",
	"gopher:///127.1/":        "url: 127.1=legacy 127.0.0.1",
	"gopher:///path/":         "url:",
	"localhost:8080/x":        "url: localhost=name",
	"http:80/":                "url: 80=legacy 0.0.0.80, http=name",
	"http://%31%32%37.1/":     "url: 127.1=legacy 127.0.0.1",
	"http://%4C%6cx/":         "url: Llx=name",
	"http://%g1.1/":           "url: =empty",
	"http://a%4":              "url: a=name",
	"http://a%4g":             "url: a=name",
	"gopher:///%31%32%37.1/":  "url: 127.1=legacy 127.0.0.1",
	"gopher:///localhost/":    "url: localhost=name",
	"gopher:///l%6fcalhost/":  "url: localhost=name",
	"gopher:///l\u00f6cal/":   "url: l\u00f6cal=unmapped",
	"file:127.1":              "url: file=name",
	"file:/127.1":             "url:",
	"file://127.1/x":          "url: 127.1=legacy 127.0.0.1",
	"fe80::1%a/b":             "addr! fe80::1%a/b=address fe80::1%a/b",
	"http:1:":                 "url: 1=legacy 0.0.0.1",
	"a\x80b":                  "host: a\x80b=unmapped",
	"127.1!":                  "host: 127.1!=other",
	"127.0\t.0.1":             "addr: 127.0=legacy 127.0.0.0, 127.0.0.1=address 127.0.0.1",
	"127.0\r.0.1":             "addr: 127.0=legacy 127.0.0.0, 127.0.0.1=address 127.0.0.1",
	"http://127\t.0.0\n.1\r/": "url: 127.0.0.1=address 127.0.0.1, 127=legacy 0.0.0.127",
	"u@127.1:80":              "hostport: 127.1=legacy 127.0.0.1, u@127.1=other",
	`file:\\127.1\x`:          "url: 127.1=legacy 127.0.0.1",
	"gopher:///l%C3%B6cal/":   "url: l\u00f6cal=unmapped",
	"[::1%6c]:nosuch":         "hostport: ::1l=other, ::1%6c=address ::1%6c",
	"127.0.0.1:9":             "hostport! 127.0.0.1=address 127.0.0.1",
	"u@localhost":             "host: localhost=name, u@localhost=other",
	"...":                     "host: ...=other",
	"http://a:b:c/":           "url: a=name, a:b=colons, a:b:c=colons",
	"x.0a1":                   "host! x.0a1=name",
	"x.0x1":                   "addr: x.0x1=other",
	"x.9":                     "addr: x.9=other",
	"]x":                      "host: =empty",
	"%x":                      "addr: =empty",
	"/x":                      "url: x=name",
}

func TestParseFindsEveryReading(t *testing.T) {
	spellings := map[hosttext.Spelling]string{
		hosttext.Address: "address", hosttext.Legacy: "legacy", hosttext.FinalDot: "final dot", hosttext.JavaZeros: "java", hosttext.LegacyV6: "legacy v6",
		hosttext.Empty: "empty", hosttext.Name: "name", hosttext.Unmapped: "unmapped", hosttext.Numbers: "numbers", hosttext.Colons: "colons", hosttext.Other: "other",
	}
	for text, want := range texts {
		p := hosttext.Parse(text)
		var readings []string
		for _, r := range p.Readings {
			s := r.Host + "=" + spellings[r.Spelling]
			if r.Addr.IsValid() {
				s += " " + r.Addr.String()
			}
			readings = append(readings, s)
		}
		mark := ":"
		if p.Strict {
			mark = "!"
		}
		got := strings.TrimSpace(fmt.Sprintf("%s%s %s", p.Form, mark, strings.Join(readings, ", ")))
		assert.Equal(t, want, got, "%q", text)
	}
}

func TestLooksLikeAddr(t *testing.T) {
	for s, want := range map[string]bool{
		"": false, "user": false, "localhost": false, "a-": false, "0x7g": false, "-1": false,
		"80": true, "127.1": true, "0x7f": true, "127.0.0.1": true, "127.1.": true, "08": true, "4294967296": true, "1.2.3.4.5": true,
	} {
		assert.Equal(t, want, hosttext.LooksLikeAddr(s), "%q", s)
	}
}

func TestCutSchemeFollowsRFC3986(t *testing.T) {
	for s, want := range map[string][2]string{
		"HTTP://x": {"http", "//x"}, "x.y+z-1:": {"x.y+z-1", ""}, "1x:y": {"", "1x:y"}, "+x:y": {"", "+x:y"}, ":x": {"", ":x"}, "x": {"", "x"}, "x_y:z": {"", "x_y:z"}, "": {"", ""},
		"c:": {"c", ""}, "Z:/": {"z", "/"}, "x9:": {"x9", ""}, "9": {"", "9"}, "a:b:c": {"a", "b:c"}, "x{:": {"", "x{:"}, "x@:": {"", "x@:"}, "x/:": {"", "x/:"},
	} {
		scheme, rest := hosttext.CutScheme(s)
		assert.Equal(t, want, [2]string{scheme, rest}, "%q", s)
	}
}

func FuzzParse(f *testing.F) {
	for text := range texts {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p := hosttext.Parse(text)
		assert.Contains(t, []string{hosttext.FormAddr, hosttext.FormHost, hosttext.FormHostPort, hosttext.FormURL}, p.Form)
		if p.Strict {
			assert.Len(t, p.Readings, 1)
		}
		for _, r := range p.Readings {
			assert.Equal(t, r.Spelling < hosttext.Empty, r.Addr.IsValid(), "%q", r.Host)
			addr, err := netip.ParseAddr(r.Host)
			assert.Equal(t, r.Spelling == hosttext.Address, err == nil, "%q", r.Host)
			if err == nil {
				assert.Equal(t, addr, r.Addr)
			}
			if p.Strict {
				assert.True(t, r.Spelling == hosttext.Address || r.Spelling == hosttext.Name || r.Spelling == hosttext.Empty)
			}
		}
	})
}

func TestServiceNamesAreThoseOfPackageNet(t *testing.T) {
	for _, service := range []string{"domain", "ftp", "ftps", "gopher", "http", "https", "imap2", "imap3", "imaps", "pop3", "pop3s", "smtp", "ssh", "submissions", "telnet", "HTTP"} {
		_, err := net.LookupPort("tcp", service)
		assert.NoError(t, err)
		assert.True(t, hosttext.Parse("127.0.0.1:"+service).Strict, service)
	}
	for _, port := range []string{"", "0", "65535", "000080"} {
		assert.True(t, hosttext.Parse("127.0.0.1:"+port).Strict, port)
	}
	for _, port := range []string{"65536", "99999999999999999999", "-1", "+1", "8 0", "nosuch", "http ", "/"} {
		assert.False(t, hosttext.Parse("127.0.0.1:"+port).Strict, port)
	}
}

// The URL standard puts up with missing slashes, and with backslashes, after
// the special schemes only.
func TestSpecialSchemesAreRepaired(t *testing.T) {
	find := func(text string) bool {
		p := hosttext.Parse(text)
		return p.Form == hosttext.FormURL && slices.ContainsFunc(p.Readings, func(r hosttext.Reading) bool { return r.Host == "127.1" })
	}
	for _, scheme := range []string{"http", "https", "ws", "wss", "ftp", "HTTP"} {
		for _, rest := range []string{"127.1", "/127.1", "//127.1", "///127.1", `\127.1`, `\\127.1\x`, `/\127.1:80`} {
			assert.True(t, find(scheme+":"+rest), "%s:%s", scheme, rest)
		}
	}
	assert.True(t, find("file:u@127.1"))
	assert.True(t, find("file://127.1/x"))
	assert.False(t, find("file:/127.1/x"))
	assert.True(t, find("gopher://127.1/x"))
	assert.False(t, find("gopher:/127.1/x"))
	assert.False(t, find(`gopher:\\127.1\x`))
}

// Before the path there may be 64 KiB for net/url to read.
func TestHugeAuthorityIsNotStrict(t *testing.T) {
	user := strings.Repeat("u", 64<<10-len("@127.0.0.1"))
	assert.True(t, hosttext.Parse("http://"+user+"@127.0.0.1/").Strict)
	assert.False(t, hosttext.Parse("http://u"+user+"@127.0.0.1/").Strict)
	assert.True(t, hosttext.Parse("http://127.0.0.1/"+user+user).Strict)
}
