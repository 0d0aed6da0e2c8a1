package hostsfile_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback/internal/hostsfile"
)

// parse reads text as the hosts file, and what it says of name.
func parse(text, name string) *hostsfile.File {
	return hostsfile.Parse("/etc/hosts", strings.NewReader(text), name)
}

// summary returns each entry as "LINE ADDR READERS", the readers by their first
// letters: go, glibc (l) and musl.
func summary(h *hostsfile.File) string {
	var lines []string
	for _, e := range h.Entries {
		readers := ""
		for r, letter := range map[hostsfile.Reader]string{hostsfile.ByGo: "g", hostsfile.ByGlibc: "l", hostsfile.ByMusl: "m"} {
			if e.ReadBy(r) {
				readers += letter
			}
		}
		addr := "-"
		if e.Addr.IsValid() {
			addr = e.Addr.String()
		}
		lines = append(lines, fmt.Sprintf("%d %s %s", e.Line, addr, sorted(readers)))
	}
	return strings.Join(lines, "; ")
}

func sorted(readers string) string {
	out := ""
	for _, letter := range []string{"g", "l", "m"} {
		if strings.Contains(readers, letter) {
			out += letter
		}
	}
	return out
}

// Who reads a line was measured with getaddrinfo of glibc 2.36 and musl 1.2.3, and
// with package net of Go 1.26.
func TestWhoReadsALine(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", ""},
		{"127.0.0.1 localhost\n", "1 127.0.0.1 glm"},
		{"127.0.0.1 other localhost more\n", "1 127.0.0.1 glm"},
		{"127.0.0.1 localhost", "1 127.0.0.1 gl"},
		{" 127.0.0.1 localhost\n", "1 127.0.0.1 gl"},
		{"127.0.0.1 LOCALHOST\n", "1 127.0.0.1 gl"},
		{"127.0.0.1\tlocalhost\r\n::1 localhost\r\n", "1 127.0.0.1 glm; 2 ::1 glm"},
		{"127.0.0.1 localhost#x\n", "1 127.0.0.1 glm"},
		{"#127.0.0.1 localhost\n# localhost\n", ""},
		{"127.0.0.1 x # localhost\n", ""},
		{"127.0.0.1 localhost localhost.\n", "1 127.0.0.1 glm"},
		{"127.0.0.1 localhost. localhost\n", "1 127.0.0.1 glm"},
		{"127.0.0.1\flocalhost\n", "1 127.0.0.1 lm"},
		{"127.0.0.1 localhost\f\n", "1 127.0.0.1 lm"},
		{"\f127.0.0.1 localhost\n", "1 127.0.0.1 l"},
		{"127.0.0.1\vlocalhost\n", "1 127.0.0.1 lm"},
		{"127.1 localhost\n", "1 127.0.0.1 m"},
		{"0x7f.1 localhost\n", "1 127.0.0.1 m"},
		{"127.000.000.001 localhost\n", "1 127.0.0.1 m"},
		{"0177.0.0.1 localhost\n", "1 127.0.0.1 m"},
		{"010.0.0.1 localhost\n", "1 8.0.0.1 m"},
		{"2130706433 localhost\n", "1 127.0.0.1 m"},
		{"0b1.0.0.1 localhost\n", "1 - "},
		{"127.0.0.1.0 localhost\n", "1 - "},
		{"127.0.0.1 localhost\x00\n", "1 127.0.0.1 l"},
		{"127.0.0.1 localhost\x00 junk\n", "1 127.0.0.1 l"},
		{"127.0.0.1 x\x00 localhost\n", "1 127.0.0.1 g"},
		{"127.0.0.1 localhost\x00#\n", "1 127.0.0.1 l"},
		{"\x00127.0.0.1 localhost\n", "1 127.0.0.1 "},
		{"::1%lo localhost\n", "1 ::1%lo gm"},
		{"fe80::1%lo0 localhost\n", "1 fe80::1%lo0 gm"},
		{"::ffff:127.0.0.1 localhost\n", "1 127.0.0.1 glm"},
		{"127.0.0.1 " + strings.Repeat("x", 600) + " localhost\n", "1 127.0.0.1 gl"},
		{"127.0.0.1 " + strings.Repeat("x", 491) + " localhost\n", "1 127.0.0.1 gl"},
		{"127.0.0.1 " + strings.Repeat("x", 490) + " localhost\n", "1 127.0.0.1 glm"},
		{"127.0.0.1 localhost\r::1 localhost\r", "1 127.0.0.1 glm; 1 ::1 "},
		{"192.0.2.1 notlocalhost localhost.localdomain\n", ""},
		{"localhost\n", ""},
		{"127.0.0.1 localhost\n127.0.0.1 localhost\n", "1 127.0.0.1 glm; 2 127.0.0.1 glm"},
	} {
		assert.Equal(t, tt.want, summary(parse(tt.text, "localhost")), "%q", tt.text)
	}
}

func TestNamesAreComparedAsByPackageNet(t *testing.T) {
	for _, tt := range []struct{ text, name, want string }{
		{"127.0.0.1 localhost.\n", "localhost.", "1 127.0.0.1 glm"},
		{"127.0.0.1 localhost.\n", "localhost", "1 127.0.0.1 "},
		{"127.0.0.1 localhost\n", "localhost.", "1 127.0.0.1 "},
		{"127.0.0.1 db.internal\n", "db.internal.", "1 127.0.0.1 g"},
		{"127.0.0.1 db.internal.\n", "DB.internal", "1 127.0.0.1 g"},
		{"127.0.0.1 .\n", "localhost", ""},
	} {
		assert.Equal(t, tt.want, summary(parse(tt.text, tt.name)), "%q %q", tt.text, tt.name)
	}
}

// whys returns the sentences that what begins or is: why a line is not read.
func whys(what string) []string {
	return []string{what, what + " is taken for a part of the address or the name"}
}

// TestProblemIsNamed has what editors, tools and people do to a line.
func TestProblemIsNamed(t *testing.T) {
	for _, tt := range []struct{ line, addr, why, fix string }{
		{"\ufeff127.0.0.1 localhost", "127.0.0.1", "a byte order mark (U+FEFF)", "delete it"},
		{"\ufeff 127.0.0.1 localhost", "127.0.0.1", "a byte order mark (U+FEFF)", "delete it"},
		{"127.0.0.1 \ufefflocalhost", "127.0.0.1", "a byte order mark (U+FEFF)", "delete it"},
		{"127.0.0.1,localhost", "127.0.0.1", "a comma", "write a space in its place"},
		{"127.0.0.1 other,localhost", "127.0.0.1", "a comma", "write a space in its place"},
		{"127.0.0.1 localhost,;other", "127.0.0.1", "a comma", "write a space in its place"},
		{"127.0.0.1 localhost;", "127.0.0.1", "a semicolon", "write a space in its place"},
		{"127.0.0.1=localhost", "127.0.0.1", "an equals sign", "write a space in its place"},
		{"127.0.0.1|localhost", "127.0.0.1", "a vertical bar", "write a space in its place"},
		{"127.0.0.1\flocalhost", "127.0.0.1", "a form feed", "write a space in its place"},
		{"127.0.0.1\vlocalhost", "127.0.0.1", "a vertical tab", "write a space in its place"},
		{"127.0.0.1 localhost\x00", "127.0.0.1", "a NUL byte", "write a space in its place"},
		{"127.0.0.1 localhost\u0085", "127.0.0.1", "a next line character (NEL, U+0085)", "write a space in its place"},
		{"127.0.0.1\u00a0localhost", "127.0.0.1", "a no-break space (U+00A0)", "write a space in its place"},
		{"127.0.0.1\xa0localhost", "127.0.0.1", "the byte 0xA0, which is not UTF-8,", "write a space in its place"},
		{"127.0.0.1 localhost\x85", "127.0.0.1", "the byte 0x85, which is not UTF-8,", "write a space in its place"},
		{"127.0.0.1 localhost\xe9", "127.0.0.1", "the byte 0xE9, which is not UTF-8,", "delete it"},
		{"127.0.0.1\u2003localhost", "127.0.0.1", "the space U+2003", "write a space in its place"},
		{"127.0.0.1\u3000localhost", "127.0.0.1", "an ideographic space (U+3000)", "write a space in its place"},
		{"127.0.0.1 localhost\u2028", "127.0.0.1", "a line separator (U+2028)", "write a space in its place"},
		{"127.0.0.1\u200blocalhost", "127.0.0.1", "a zero-width space (U+200B)", "write a space in its place"},
		{"127.0.0.1 other\u200blocalhost", "127.0.0.1", "a zero-width space (U+200B)", "write a space in its place"},
		{"127.0.0.1 \u200blocalhost", "127.0.0.1", "a zero-width space (U+200B)", "delete it"},
		{"127.0.0.1 local\u200bhost", "127.0.0.1", "a zero-width space (U+200B)", "delete it"},
		{"127.0.0.1 local\u00adhost", "127.0.0.1", "a soft hyphen (U+00AD)", "delete it"},
		{"\u202a127.0.0.1 localhost", "127.0.0.1", "the character U+202A", "delete it"},
		{"127.0.0.1 localhost\x1b", "127.0.0.1", "the control character U+001B", "delete it"},
		{"１２７.0.0.1 localhost", "127.0.0.1", "the full-width character １ (U+FF11)", "write 1 in its place"},
		{"127。0.0.1 localhost", "127.0.0.1", "the full-width character 。 (U+3002)", "write . in its place"},
		{`"127.0.0.1" "localhost"`, "127.0.0.1", `a quotation mark (")`, "delete it"},
		{"127.0.0.1 ‘localhost’", "127.0.0.1", "the character U+2018", "delete it"},
		{"127.0.0.1:80 localhost", "127.0.0.1", `"127.0.0.1:80" has a port`, "leave out the port"},
		{"[::1]:80 localhost", "::1", `"[::1]:80" has a port`, "leave out the port"},
		{"127.0.0.1/8 localhost", "127.0.0.1", `"127.0.0.1/8" is not an address: it has a prefix length`, "leave out the prefix length"},
		{"::1/128 localhost", "::1", `"::1/128" is not an address: it has a prefix length`, "leave out the prefix length"},
		{"[::1] localhost", "::1", `"[::1]" has brackets`, "leave out the brackets"},
		{"localhost 127.0.0.1", "127.0.0.1", "the name stands before the address", "write the address first"},
		{"other localhost ::1", "::1", "the name stands before the address", "write the address first"},
		{"127.1 localhost", "127.0.0.1", `"127.1" is a spelling of 127.0.0.1 that package net does not read`, "write 127.0.0.1"},
		{"127.000.000.001 localhost", "127.0.0.1", `"127.000.000.001" has zeros in front, which make octal numbers for some programs`, "write the address without them"},
		{"127.0.0.08 localhost", "127.0.0.8", `"127.0.0.08" has zeros in front, which make octal numbers for some programs`, "write the address without them"},
		{"127.0.0.1localhost", "127.0.0.1", "nothing separates the address from the name", "write a space between them"},
		{"127.0.0.1#localhost", "127.0.0.1", "a # makes a comment of what is behind it", "delete the #"},
		{"127.0.0.1 # localhost", "127.0.0.1", "a # makes a comment of what is behind it", "delete the #"},
		{"127.0.0.1 local\x80host", "127.0.0.1", "the byte 0x80, which is not UTF-8,", "delete it"},
		{"127｡0.0.1 localhost", "127.0.0.1", "the full-width character ｡ (U+FF61)", "write . in its place"},
		{"127.0.0.1 a\"b\"c\"d\"e\"f\"g\"h\"i\"j lo\u200bcalhost", "127.0.0.1", "a zero-width space (U+200B)", "delete it"},
		{"127.0.0.1 x\"'`“”„‘’ lo\u200bcalhost", "127.0.0.1", `a quotation mark (")`, "delete it"}, // the first of more than eight
		{"127.0.0.1 \xa0localhost", "127.0.0.1", "the byte 0xA0, which is not UTF-8,", "write a space in its place"},
		{"127.0.0.1 \x85localhost", "127.0.0.1", "the byte 0x85, which is not UTF-8,", "write a space in its place"},
		{"00000::1 localhost", "-", `"00000::1" is not an address`, "correct it"},
		{"127.0.0.1 local\u200chost", "127.0.0.1", "a zero-width non-joiner (U+200C)", "delete it"},
		{"127.0.0.1 local\u200dhost", "127.0.0.1", "a zero-width joiner (U+200D)", "delete it"},
		{"127.0.0.1 local\u2060host", "127.0.0.1", "a word joiner (U+2060)", "delete it"},
		{"127.0.0.1\u202flocalhost", "127.0.0.1", "a narrow no-break space (U+202F)", "write a space in its place"},
		{"127.0.0.1 localhost\u2029", "127.0.0.1", "a paragraph separator (U+2029)", "write a space in its place"},
		{"127..1 localhost", "-", `"127..1" is not an address`, "correct it"},
		{"0 localhost", "0.0.0.0", `"0" is a spelling of 0.0.0.0 that package net does not read`, "write 0.0.0.0"},
		{"::ffff:127.0.0.1 # localhost", "127.0.0.1", "a # makes a comment of what is behind it", "delete the #"},
		{"::ffff:127.0.0.1,localhost", "127.0.0.1", "a comma", "write a space in its place"},
		{"[::ffff:127.0.0.1]:80 localhost", "127.0.0.1", `"[::ffff:127.0.0.1]:80" has a port`, "leave out the port"},
		{"::ffff:127.0.0.1/128 localhost", "127.0.0.1", `"::ffff:127.0.0.1/128" is not an address: it has a prefix length`, "leave out the prefix length"},
		{"[::ffff:127.0.0.1] localhost", "127.0.0.1", `"[::ffff:127.0.0.1]" has brackets`, "leave out the brackets"},
		{"localhost ::ffff:127.0.0.1", "127.0.0.1", "the name stands before the address", "write the address first"},
		{"::ffff:127.0.0.1localhost", "127.0.0.1", "nothing separates the address from the name", "write a space between them"},
		{"::localhost", "::", "nothing separates the address from the name", "write a space between them"},
		{"127.0.0.256 localhost", "-", `"127.0.0.256" is not an address`, "correct it"},
		{"127.0.0.256 b\xf6se localhost", "-", `"127.0.0.256" is not an address`, "correct it"},
		{"127.0.0.1 localhost.", "127.0.0.1", "with a final dot it is another name", "write it there without the dot"},
		{strings.Repeat("x", 1000) + " localhost", "-", `"` + strings.Repeat("x", 64) + `" is not an address`, "correct it"},
	} {
		h := parse("# a file\n"+tt.line+"\n", "localhost")
		if !assert.Len(t, h.Entries, 1, "%q", tt.line) {
			continue
		}
		e := h.Entries[0]
		addr := "-"
		if e.Addr.IsValid() {
			addr = e.Addr.String()
		}
		assert.Equal(t, "hosts:2", e.Source())
		assert.Equal(t, tt.addr, addr, "%q", tt.line)
		assert.Contains(t, whys(tt.why), e.Problem.Why, "%q", tt.line)
		assert.Equal(t, tt.fix, e.Problem.Fix, "%q", tt.line)
		assert.False(t, e.ReadBy(hostsfile.ByGo), "%q", tt.line)
		assert.Less(t, len(e.Problem.Why), 200)
	}
	for _, line := range []string{"127.0.0.1 # other localhost", "127.0.0.1 x # localhost", "localhost", "x localhosts 127.0.0.1", "mylocalhost other", "127.0.0.1xxxxxxxxx notlocalhost", "127.0.0.1 local\ufffdhost"} {
		assert.Empty(t, parse(line+"\n", "localhost").Entries, "%q", line)
	}
	for _, names := range [][2]string{{"A.Z.test", "a.z.test"}, {"a.z.test", "A.Z.test"}} {
		assert.Equal(t, "1 127.0.0.1 gl", summary(parse("127.0.0.1 "+names[0]+"\n", names[1])))
	}
	for _, wide := range [][2]string{{"a！b", "a!b"}, {"a～b", "a~b"}} {
		assert.Equal(t, "1 127.0.0.1 ", summary(parse("127.0.0.1 "+wide[0]+"\n", wide[1])))
	}
	assert.Empty(t, parse("127.0.0.1 a\uff5fb\n", "a\x7fb").Entries, "what follows the full-width forms")
	assert.Empty(t, parse("127.0.0.1 a[b\n", "a{b").Entries)
	assert.Empty(t, parse("127.0.0.1 a?b\n", "a_b").Entries)
	assert.Empty(t, parse("127.0.0.1 a@[b\n", "a`{b").Entries, "only letters have a case")
	e := parse("127.0.0.1 localhost\n", "localhost.").Entries[0]
	assert.Equal(t, "ask for it without the dot, or write the dot there, too", e.Problem.Fix)
}

func TestLinesThatAreNoneAreFound(t *testing.T) {
	for mark, why := range map[string]string{
		"\r": "a carriage return", "\u0085": "a next line character (NEL, U+0085)", "\u2028": "a line separator (U+2028)", "\u2029": "a paragraph separator (U+2029)",
		"\v": "a vertical tab", "\f": "a form feed",
	} {
		h := parse("# hosts"+mark+"127.0.0.1 localhost"+mark+"::1 localhost"+mark, "localhost")
		assert.Equal(t, "1 127.0.0.1 ; 1 ::1 ", summary(h), "%q", mark)
		for _, e := range h.Entries {
			assert.Equal(t, why+" does not end a line", e.Problem.Why)
			assert.Equal(t, "save /etc/hosts with line feeds at the ends of its lines", e.Problem.Fix)
		}
	}
	assert.Equal(t, "1 127.0.0.1 glm", summary(parse("127.0.0.1\rlocalhost\n", "localhost")))
}

// encode writes text in UTF-16.
func encode(text string, order binary.AppendByteOrder) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		b = order.AppendUint16(b, unit)
	}
	return string(b)
}

func TestUTF16IsNamed(t *testing.T) {
	const text = "# Copyright (c) 1993-2009 Microsoft Corp. 😀\r\n127.0.0.1 localhost\r\n::1/128 localhost\r\n"
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		for _, mark := range []string{"", "\ufeff"} {
			h := parse(encode(mark+text, order), "localhost")
			assert.Equal(t, "2 127.0.0.1 ; 3 ::1 ", summary(h), "%v %q", order, mark)
			assert.Equal(t, hostsfile.Problem{Why: "the file is in UTF-16", Fix: "save /etc/hosts as UTF-8 without a byte order mark"}, h.Problem)
			assert.Equal(t, h.Problem, h.Entries[0].Problem)
			assert.Contains(t, h.Entries[1].Problem.Why, "prefix length")
			assert.False(t, h.Unended)
			assert.NoError(t, h.Err)
			assert.NotContains(t, summary(parse(encode(mark+text, order)+"\n127.1 localhost\n", "localhost")), "m", "what only others read")
			assert.NotContains(t, summary(parse(encode(mark+text, order)+"\n#\r127.0.0.9 localhost\n", "localhost")), "127.0.0.9")
			assert.Equal(t, "1 127.0.0.1 ", summary(parse(encode(mark+"127.0.0.1 localhost\n# nothing more\n", order), "localhost")))

			h = parse(encode(mark+text, order)+"\n127.0.0.1 localhost\n", "localhost")
			assert.True(t, h.Has(hostsfile.ByGo), "what a tool appended is read")
		}
	}
	h := parse(encode("\ufeff127.0.0.1 localhost\n::1 local\ufeffhost\n#"+strings.Repeat("x", 70<<10), binary.LittleEndian), "localhost")
	assert.Equal(t, "1 127.0.0.1 ; 2 ::1 ", summary(h))
	assert.Equal(t, "the file is in UTF-16", h.Problem.Why, "and not that it has a long line")
	assert.Equal(t, h.Problem, h.Entries[0].Problem, "its byte order mark is no part of the address")
	assert.Contains(t, h.Entries[1].Problem.Why, "a byte order mark", "and another one is")
	assert.Equal(t, "the file is in UTF-16", parse("\xff\xfe", "localhost").Problem.Why)
	assert.Equal(t, "the file is in UTF-16", parse("\xfe\xff", "localhost").Problem.Why)
	assert.Empty(t, parse("", "localhost").Problem)
	assert.Empty(t, parse("127.0.0.1 localhost\n"+strings.Repeat("\x00", 5000), "localhost").Problem)
}

func TestALongLineStopsPackageNet(t *testing.T) {
	long := func(n int) string { return "127.0.0.9 x #" + strings.Repeat("y", n-13-1) + "\n" }
	h := parse("127.0.0.1 localhost\n"+long(64<<10)+"::1 localhost\n", "localhost")
	assert.Equal(t, "1 127.0.0.1 glm; 3 ::1 glm", summary(h), "that much fits")
	assert.Empty(t, h.Problem)
	h = parse("127.0.0.1 localhost\n"+long(64<<10+1)+"::1 localhost\n::1\flocalhost\n::1%lo localhost\n"+long(70<<10), "localhost")
	assert.Equal(t, "1 127.0.0.1 glm; 3 ::1 lm; 4 ::1 lm; 5 ::1%lo m", summary(h))
	assert.Equal(t, "package net reads no further than line 2, which is longer than 64 KiB", h.Problem.Why)
	assert.Equal(t, "break up line 2 of /etc/hosts", h.Problem.Fix)
	assert.Equal(t, h.Problem, h.Entries[1].Problem)
	assert.Contains(t, h.Entries[2].Problem.Why, "form feed", "it is lost even if the long line is broken up")
	h = parse("127.0.0.1 localhost #"+strings.Repeat("y", 70<<10)+"\n", "localhost")
	assert.Equal(t, "1 127.0.0.1 lm", summary(h))
}

func TestUnendedLastLine(t *testing.T) {
	for text, want := range map[string]bool{"": false, "\n": false, "127.0.0.1 localhost\n": false, "127.0.0.1 localhost": true, "# x": true, "# x\r": true} {
		assert.Equal(t, want, parse(text, "localhost").Unended, "%q", text)
	}
}

func TestFindPrefersTheZone(t *testing.T) {
	h := parse("fe80::1%a localhost\nfe80::1%b localhost\n127.1 localhost\n", "localhost")
	for addr, line := range map[string]int{"fe80::1%a": 1, "fe80::1%b": 2, "fe80::1": 1, "fe80::1%c": 1} {
		e, ok := h.Find(netip.MustParseAddr(addr), hostsfile.ByGo)
		assert.True(t, ok)
		assert.Equal(t, line, e.Line, addr)
	}
	_, ok := h.Find(netip.MustParseAddr("127.0.0.1"), hostsfile.ByGlibc)
	assert.False(t, ok)
	_, ok = h.Find(netip.MustParseAddr("127.0.0.1"), hostsfile.ByMusl)
	assert.True(t, ok)
}

// lines is a file of n lines that are made when they are read.
type lines struct {
	n, at int
	text  func(i int) string
	rest  string
}

func (l *lines) Seek(int64, int) (int64, error) { l.at, l.rest = 0, ""; return 0, nil }

func (l *lines) Read(b []byte) (int, error) {
	if l.rest == "" {
		if l.at == l.n {
			return 0, io.EOF
		}
		l.rest = l.text(l.at)
		l.at++
	}
	n := copy(b, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}

func TestMemoryDoesNotDependOnTheFile(t *testing.T) {
	h := hostsfile.Parse("/etc/hosts", &lines{n: 100_000, text: func(i int) string { return fmt.Sprintf("10.%d.%d.%d localhost\n", i>>16, i>>8&255, i&255) }}, "localhost")
	assert.Len(t, h.Entries, 512)
	h = hostsfile.Parse("/etc/hosts", &lines{n: 1001, text: func(i int) string {
		if i == 1000 {
			return "::1 localhost\n"
		}
		return "127.0.0.1 localhost\n"
	}}, "localhost")
	require.Len(t, h.Entries, 257)
	assert.Equal(t, 1001, h.Entries[256].Line, "what a file repeats does not hide the rest")
	h = parse(strings.Repeat("127.0.0.1,localhost\n", 300)+"127.0.0.1;localhost\n127.0.0.1 localhost\n127.0.0.1 localhost #"+"\n127.1 localhost\n127.0.0.1 x\r127.0.0.1 localhost", "localhost")
	require.Len(t, h.Entries, 260)
	assert.Equal(t, []int{301, 302, 304, 305}, []int{h.Entries[256].Line, h.Entries[257].Line, h.Entries[258].Line, h.Entries[259].Line}, "nor another problem, or another reader")
	h = hostsfile.Parse("/etc/hosts", &lines{n: 512, text: func(i int) string {
		if i == 511 {
			return "#\r10.1.1.1 localhost\r10.1.1.2 localhost\r10.1.1.3 localhost\n"
		}
		return fmt.Sprintf("10.0.%d.%d localhost\n", i>>8&255, i&255)
	}}, "localhost")
	assert.Len(t, h.Entries, 512)
}

func TestReadsUpToMaxSize(t *testing.T) {
	full := strings.Repeat("#", 32<<10-1) + "\n"
	const entry = "127.0.0.1 localhost\n"
	n := hostsfile.MaxSize / len(full)
	h := hostsfile.Parse("/etc/hosts", &lines{n: n + 1, text: func(i int) string {
		if i < n {
			return full
		}
		return entry
	}}, "localhost")
	assert.Empty(t, h.Entries)
	assert.True(t, h.TooBig)
	h = hostsfile.Parse("/etc/hosts", &lines{n: n + 1, text: func(i int) string {
		switch i {
		case 0:
			return full[len(entry)+1:] // so that the file is one byte smaller than the limit
		case n:
			return entry
		}
		return full
	}}, "localhost")
	assert.Equal(t, fmt.Sprintf("%d 127.0.0.1 glm", n+1), summary(h))
	assert.False(t, h.TooBig)
	line := &lines{n: 100 << 10, text: func(int) string { return strings.Repeat("\x00", 1<<10) }}
	h = hostsfile.Parse("/etc/hosts", line, "localhost")
	assert.False(t, h.TooBig, "package net stops at the first line, which is too long")
	assert.Less(t, line.at, 65<<10, "and so does Parse, at its limit")
}

func TestReadTakesRegularFilesOnly(t *testing.T) {
	dir := t.TempDir()
	h := hostsfile.Read(dir, "localhost")
	assert.ErrorContains(t, h.Err, dir+" is no regular file but d")
	assert.Equal(t, dir, h.Path)
	assert.ErrorIs(t, hostsfile.Read(filepath.Join(dir, "none"), "localhost").Err, os.ErrNotExist)
	path := filepath.Join(dir, "hosts")
	require.NoError(t, os.WriteFile(path, []byte("127.0.0.1 localhost\n"), 0o600))
	h = hostsfile.Read(path, "localhost")
	assert.NoError(t, h.Err)
	assert.Equal(t, "1 127.0.0.1 glm", summary(h))
}

// oracle returns the addresses that package net finds for name, as net/hosts.go
// does it.
func oracle(text, name string) map[netip.Addr]bool {
	key := func(name string) string {
		if strings.Contains(name, ".") && !strings.HasSuffix(name, ".") {
			name += "."
		}
		b := []byte(name)
		for i, c := range b {
			if 'A' <= c && c <= 'Z' {
				b[i] += 'a' - 'A'
			}
		}
		return string(b)
	}
	out := make(map[netip.Addr]bool)
	for line := range strings.Lines(text) {
		if len(line) > 64<<10 {
			break
		}
		line, _, _ = strings.Cut(line, "#")
		fields := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \r\t\n", r) })
		if len(fields) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(fields[0])
		for _, field := range fields[1:] {
			if err == nil && key(field) == key(name) {
				out[addr.Unmap()] = true
			}
		}
	}
	return out
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"127.0.0.1 localhost\n::1 localhost\n", "\ufeff127.0.0.1 localhost", "127.0.0.1,localhost\n", "fe80::1%lo0 LOCALHOST # x\r\n",
		"127.1 localhost\r::1 localhost\r", encode("\ufeff127.0.0.1 localhost\r\n", binary.LittleEndian), encode("::1 localhost\n", binary.BigEndian),
		"127.0.0.1 db.internal.\n", "localhost 127.0.0.1\u2028127.0.0.1\u00a0localhost\x00", "[::1]:80 localhost\n127.0.0.1#localhost\n",
	} {
		f.Add(text, "localhost")
		f.Add(text, "db.internal")
	}
	f.Add("0 0\n", "0") // an address of musl, and a name
	f.Add("0 \x80\n", "\x80")
	f.Fuzz(func(t *testing.T, text, name string) {
		if name == "" || name == "." || strings.ContainsAny(name, " \t\r\n#") || strings.HasSuffix(name, "..") {
			t.Skip()
		}
		h := parse(text, name)
		got := make(map[netip.Addr]bool)
		for _, e := range h.Entries {
			if e.ReadBy(hostsfile.ByGo) {
				got[e.Addr] = true
				require.Empty(t, e.Problem)
			} else {
				require.NotEmpty(t, e.Problem.Why)
				require.NotEmpty(t, e.Problem.Fix)
			}
		}
		if len(h.Entries) < 256 {
			require.Equal(t, oracle(text, name), got, "%q %q", text, name)
		}
		if h.Problem == (hostsfile.Problem{}) {
			end := ""
			if h.Unended {
				end = "\n"
			}
			_, ok := parse(text+end+"127.0.0.77 "+name+"\n", name).Find(netip.MustParseAddr("127.0.0.77"), hostsfile.ByGo)
			require.True(t, ok, "what is put at the end is read")
		}
	})
}

func TestLibcIsMuslOnlyWhereThereIsMusl(t *testing.T) {
	if loaders, _ := filepath.Glob("/lib/ld-musl-*"); len(loaders) > 0 {
		t.Skipf("needs a machine that has no musl: %v", loaders)
	}
	assert.Equal(t, hostsfile.ByGlibc, hostsfile.Libc())
}

// failing reads some bytes of a file, and then no more.
type failing struct {
	*strings.Reader
	seekErr error
}

func (f failing) Read(b []byte) (int, error) {
	n, err := f.Reader.Read(b)
	if err == io.EOF {
		err = errBroken
	}
	return n, err
}

func (f failing) Seek(offset int64, whence int) (int64, error) {
	if f.seekErr != nil {
		return 0, f.seekErr
	}
	return f.Reader.Seek(offset, whence)
}

var errBroken = errors.New("broken disk")

// A file that cannot be read to its end has the lines before it, and the error.
func TestParseOfAFileThatCannotBeRead(t *testing.T) {
	for text, want := range map[string][]string{
		"":                           nil,
		"127.0.0.1 localhost\n::1 l": {"127.0.0.1"},
		"127.0.0.1 localhost\n":      {"127.0.0.1"},
		"\xff\xfe1\x00":              nil,
	} {
		f := hostsfile.Parse("hosts", failing{Reader: strings.NewReader(text)}, "localhost")
		assert.Equal(t, errBroken, f.Err, "%q", text)
		var got []string
		for _, e := range f.Entries {
			got = append(got, e.Addr.String())
		}
		assert.Equal(t, want, got, "%q", text)
		assert.Zero(t, f.Problem, "%q", text)
		f = hostsfile.Parse("hosts", failing{strings.NewReader(text), errBroken}, "localhost")
		assert.Equal(t, errBroken, f.Err, "%q", text)
		assert.Empty(t, f.Entries, "%q", text)
	}
}
