package hostsfile

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"example.com/loopback/internal/hosttext"
)

// What editors, tools and people do to a hosts file that keeps a line from being
// read.

// maxExplained bounds how much of a line is looked at.
const maxExplained = 4 << 10

// explain returns the address that a line seems to give name, and why package net
// does not read it so. The Problem is zero if the line has nothing to do with name.
func explain(line []byte, name string) (netip.Addr, Problem) {
	before, comment := cutComment(line[:min(len(line), maxExplained)])
	odd := oddities(before)
	keepNone := func(rune) bool { return false }
	if addr, ok := readable(before, name, keepNone); ok && len(odd) > 0 {
		blamed := odd[0]
		for _, o := range odd {
			if _, ok := readable(before, name, func(r rune) bool { return r == o }); !ok {
				blamed = o
				break
			}
		}
		fix := replacement(blamed)
		if _, ok := readableWith("", before, name, keepNone); !ok && fix == deleteIt { // it stands between two words
			fix = writeSpace
		}
		return addr, Problem{Why: describe(blamed) + " is taken for a part of the address or the name", Fix: fix}
	}
	fields := bytes.Fields(clean(before, keepNone, ""))
	first, _ := cutField(comment, goSpace)
	if same, _ := sameName(first, name); same && len(fields) == 1 {
		if addr, err := netip.ParseAddr(string(fields[0])); err == nil {
			return addr.Unmap(), Problem{Why: "a # makes a comment of what is behind it", Fix: "delete the #"}
		}
	}
	return explainFields(fields, name)
}

// readable returns the address that package net would find for name, a final dot
// aside, if all that is odd in the line were mended, apart from what is kept.
func readable(line []byte, name string, keep func(rune) bool) (netip.Addr, bool) {
	addr, ok := readableWith("", line, name, keep)
	if !ok {
		addr, ok = readableWith(" ", line, name, keep)
	}
	return addr, ok
}

// readableWith is readable with between in the place of what is deleted.
func readableWith(between string, line []byte, name string, keep func(rune) bool) (netip.Addr, bool) {
	first, rest := cutField(clean(line, keep, between), goSpace)
	addr, err := netip.ParseAddr(string(first))
	if err != nil || !hasField(rest, goSpace, func(f []byte) bool { return sameForGo(f, name) }) {
		return netip.Addr{}, false
	}
	return addr.Unmap(), true
}

// explainFields is explain for a line of printable characters.
func explainFields(fields [][]byte, name string) (netip.Addr, Problem) {
	exact := false
	at := slices.IndexFunc(fields, func(f []byte) bool {
		var same bool
		same, exact = sameName(f, name)
		return same
	})
	isAddr := func(f []byte) bool { _, err := netip.ParseAddr(string(f)); return err == nil }
	switch {
	case len(fields) > 0 && at < 0:
		if text, ok := cutSuffixFold(fields[0], name); ok && isAddr(text) {
			return parse(string(text)), Problem{Why: "nothing separates the address from the name", Fix: "write a space between them"}
		}
		return netip.Addr{}, Problem{}
	case at < 0:
		return netip.Addr{}, Problem{}
	case isAddr(fields[0]) && !exact && at > 0:
		fix := "write it there without the dot"
		if strings.HasSuffix(name, ".") {
			fix = "ask for it without the dot, or write the dot there, too"
		}
		return parse(string(fields[0])), Problem{Why: "with a final dot it is another name", Fix: fix}
	}
	if i := slices.IndexFunc(fields, isAddr); i > at {
		return parse(string(fields[i])), Problem{Why: "the name stands before the address", Fix: "write the address first"}
	}
	if at == 0 { // a name alone
		return netip.Addr{}, Problem{}
	}
	return explainAddr(string(fields[0]))
}

// explainAddr returns the address that text seems to be, and why it is none.
func explainAddr(text string) (netip.Addr, Problem) {
	quoted := fmt.Sprintf("%.64q", text)
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap.Addr().Unmap(), Problem{Why: quoted + " has a port", Fix: "leave out the port"}
	}
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Addr().Unmap(), Problem{Why: quoted + " is not an address: it has a prefix length", Fix: "leave out the prefix length"}
	}
	if addr := parse(strings.Trim(text, "[]")); addr.IsValid() {
		return addr, Problem{Why: quoted + " has brackets", Fix: "leave out the brackets"}
	}
	parts := strings.Split(text, ".")
	for i, part := range parts {
		parts[i] = strings.TrimLeft(part[:max(len(part)-1, 0)], "0") + part[max(len(part)-1, 0):]
	}
	if addr := parse(strings.Join(parts, ".")); addr.IsValid() && addr.Is4() {
		return addr, Problem{Why: quoted + " has zeros in front, which make octal numbers for some programs", Fix: "write the address without them"}
	}
	if addr, ok := hosttext.Legacy4(text, hosttext.Common); ok {
		return addr, Problem{Why: quoted + " is a spelling of " + addr.String() + " that package net does not read", Fix: "write " + addr.String()}
	}
	return netip.Addr{}, Problem{Why: quoted + " is not an address", Fix: "correct it"}
}

// parse returns the address, unmapped, or the zero Addr.
func parse(text string) netip.Addr {
	addr, _ := netip.ParseAddr(text)
	return addr.Unmap()
}

// cutSuffixFold returns text without name at its end.
func cutSuffixFold(text []byte, name string) ([]byte, bool) {
	i := len(text) - len(name)
	if i <= 0 || !equalFold(text[i:], name) {
		return nil, false
	}
	return text[:i], true
}

// rawByte is added to a byte that is not UTF-8, to tell it from a rune.
const rawByte = utf8.MaxRune + 1

// eachRune calls f with the runes of text and the bytes that are not UTF-8.
func eachRune(text []byte, f func(rune)) {
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		if r == utf8.RuneError && size == 1 {
			r = rawByte + rune(text[0])
		}
		f(r)
		text = text[size:]
	}
}

// oddities returns, in the order of the line, each rune that does not belong
// there, up to eight of them.
func oddities(line []byte) []rune {
	var odd []rune
	eachRune(line, func(r rune) {
		if _, ok := mend(r); ok && len(odd) < 8 && !slices.Contains(odd, r) {
			odd = append(odd, r)
		}
	})
	return odd
}

// clean returns line with all that is odd mended, apart from what is kept.
// Between is put where a rune goes away.
func clean(line []byte, keep func(rune) bool, between string) []byte {
	var out []byte
	eachRune(line, func(r rune) {
		s, odd := mend(r)
		switch {
		case !odd, keep(r):
			out = utf8.AppendRune(out, r)
		case s == "":
			out = append(out, between...)
		default:
			out = append(out, s...)
		}
	})
	return out
}

// mend returns what a rune that does not belong into a hosts file stands for:
// a space, another character, or nothing.
func mend(r rune) (s string, odd bool) {
	switch {
	case strings.ContainsRune(goSpace, r):
		return "", false
	case strings.ContainsRune("\v\f\x00,;=|", r), r == rawByte+0x85, r == rawByte+0xa0, unicode.IsSpace(r):
		return " ", true
	case strings.ContainsRune("\"'`“”„‘’‚«»", r):
		return "", true
	case '！' <= r && r <= '～': // full-width forms of ASCII
		return string(r - '！' + '!'), true
	case r == '。' || r == '｡':
		return ".", true
	case r >= rawByte, unicode.IsControl(r), unicode.Is(unicode.Cf, r):
		return "", true
	}
	return "", false
}

// describe names a rune for which mend says that it is odd.
func describe(r rune) string {
	names := map[rune]string{
		',': "a comma", ';': "a semicolon", '=': "an equals sign", '|': "a vertical bar", '\f': "a form feed", '\v': "a vertical tab",
		0: "a NUL byte", 0x85: "a next line character (NEL, U+0085)", 0xa0: "a no-break space (U+00A0)", 0xad: "a soft hyphen (U+00AD)",
		0x200b: "a zero-width space (U+200B)", 0x200c: "a zero-width non-joiner (U+200C)", 0x200d: "a zero-width joiner (U+200D)",
		0x2028: "a line separator (U+2028)", 0x2029: "a paragraph separator (U+2029)", 0x202f: "a narrow no-break space (U+202F)",
		0x2060: "a word joiner (U+2060)", 0x3000: "an ideographic space (U+3000)", 0xfeff: "a byte order mark (U+FEFF)",
	}
	s, _ := mend(r)
	switch {
	case names[r] != "":
		return names[r]
	case r >= rawByte:
		return fmt.Sprintf("the byte 0x%02X, which is not UTF-8,", r-rawByte)
	case strings.ContainsRune("\"'`", r):
		return "a quotation mark (" + string(r) + ")"
	case s != "" && s != " ":
		return fmt.Sprintf("the full-width character %c (U+%04X)", r, r)
	case unicode.IsControl(r):
		return fmt.Sprintf("the control character U+%04X", r)
	case s == " ":
		return fmt.Sprintf("the space U+%04X", r)
	}
	return fmt.Sprintf("the character U+%04X", r)
}

const (
	deleteIt   = "delete it"
	writeSpace = "write a space in its place"
)

// replacement returns what to do about a rune for which mend says that it is odd.
func replacement(r rune) string {
	s, _ := mend(r)
	switch s {
	case "":
		return deleteIt
	case " ":
		return writeSpace
	}
	return "write " + s + " in its place"
}

// A piece is a part of a line that some editors show as a line.
type piece struct {
	text []byte
	mark string // what ends the piece before, or this one
}

// linesWithin returns the pieces of a line that is more than one line to some
// editors.
func linesWithin(line []byte) []piece {
	line = bytes.TrimRight(line, goSpace)
	var pieces []piece
	for _, mark := range []rune{'\r', '\v', '\f', 0x85, 0x2028, 0x2029} {
		sep := []byte(string(mark))
		if !bytes.Contains(line, sep) {
			continue
		}
		name := "a carriage return"
		if mark != '\r' {
			name = describe(mark)
		}
		for text := range bytes.SplitSeq(line, sep) {
			pieces = append(pieces, piece{text: text, mark: name})
		}
		break
	}
	return pieces
}

// utf16Order returns the byte order of a file in UTF-16 that begins with head, or
// nil if it is not in UTF-16. Without a byte order mark, the zeros beside the ASCII
// characters tell.
func utf16Order(head []byte) binary.ByteOrder {
	switch {
	case bytes.HasPrefix(head, []byte{0xff, 0xfe}):
		return binary.LittleEndian
	case bytes.HasPrefix(head, []byte{0xfe, 0xff}):
		return binary.BigEndian
	}
	var zeros [2]int
	for i, c := range head {
		if c == 0 {
			zeros[i%2]++
		}
	}
	third := len(head) / 2 / 3 // the rest may be other characters
	switch {
	case zeros[1] >= third && zeros[0] < third/3:
		return binary.LittleEndian
	case zeros[0] >= third && zeros[1] < third/3:
		return binary.BigEndian
	}
	return nil
}

// A utf16Reader reads UTF-16 as UTF-8, without its byte order mark.
type utf16Reader struct {
	from  *bufio.Reader
	order binary.ByteOrder
	left  []byte // of the last character
	begun bool
}

// Read implements [io.Reader].
func (r *utf16Reader) Read(b []byte) (n int, err error) {
	for n < len(b) {
		if len(r.left) == 0 {
			var unit [2]byte
			if _, err := io.ReadFull(r.from, unit[:]); err != nil {
				if n > 0 {
					return n, nil
				}
				return 0, io.EOF
			}
			if c := rune(r.order.Uint16(unit[:])); c != 0xfeff || r.begun {
				r.left = utf8.AppendRune(nil, c) // a half of a pair is no name
			}
			r.begun = true
		}
		m := copy(b[n:], r.left)
		r.left = r.left[m:]
		n += m
	}
	return n, nil
}
