package hostsfile

import (
	"bytes"
	"net/netip"
	"os"
	"strings"

	"example.com/loopback/internal/hosttext"
)

// Reader is a program that reads the hosts file. They differ in what separates
// fields, what an address is and which names are equal.
type Reader uint8

const (
	ByGo    Reader = iota // package net
	ByGlibc               // the GNU C library; others are taken to be like it
	ByMusl                // musl
)

// readers is a set of Readers: 1<<ByGo and so on.
type readers uint8

// Libc returns the C library of this process.
func Libc() Reader {
	if maps, err := os.ReadFile("/proc/self/maps"); err == nil && bytes.Contains(maps, []byte("ld-musl")) {
		return ByMusl
	}
	return ByGlibc
}

const (
	goSpace   = " \t\r\n"
	libcSpace = " \t\r\n\v\f" // isspace(3)
	muslLine  = 511           // of a longer line, musl takes the rest for another
)

// readLine returns who finds name in a line, and at which address.
func readLine(line []byte, name string) (addr netip.Addr, by readers) {
	found := func(r Reader, a netip.Addr) {
		if by == 0 {
			addr = a.Unmap()
		}
		by |= 1 << r
	}
	before, _ := cutComment(line)
	first, rest := cutField(before, goSpace)
	if a, err := netip.ParseAddr(string(first)); err == nil && hasField(rest, goSpace, func(f []byte) bool { return sameForGo(f, name) }) {
		found(ByGo, a)
	}

	before, _, _ = bytes.Cut(line, []byte{0})
	before, _ = cutComment(before)
	first, rest = cutField(before, libcSpace)
	if a, err := netip.ParseAddr(string(first)); err == nil && a.Zone() == "" && hasField(rest, libcSpace, func(f []byte) bool { return equalFold(f, name) }) {
		found(ByGlibc, a)
	}

	before, _, _ = bytes.Cut(line[:min(len(line), muslLine)], []byte{0})
	if b, _, ok := bytes.Cut(before, []byte("#")); ok {
		before = b
	} else { // musl wants a space behind the name
		before = before[:bytes.LastIndexAny(before, libcSpace)+1]
	}
	first, rest = cutField(before, libcSpace)
	if a, ok := muslAddr(string(first)); ok && bytes.HasPrefix(before, first) && hasField(rest, libcSpace, func(f []byte) bool { return string(f) == name }) {
		found(ByMusl, a)
	}
	return addr, by
}

// cutField returns the first field of a line, and the rest.
func cutField(line []byte, space string) (field, rest []byte) {
	line = bytes.TrimLeft(line, space)
	if i := bytes.IndexAny(line, space); i >= 0 {
		return line[:i], line[i:]
	}
	return line, nil
}

// hasField reports whether is holds for a field of the line.
func hasField(line []byte, space string, is func([]byte) bool) bool {
	for len(line) > 0 {
		var field []byte
		if field, line = cutField(line, space); len(field) > 0 && is(field) {
			return true
		}
	}
	return false
}

// sameForGo reports whether package net takes field for name: ASCII case does not
// matter to it, nor does a final dot if there is another dot.
func sameForGo(field []byte, name string) bool {
	same, exact := sameName(field, name)
	return same && exact
}

// sameName reports whether a and b are one name but for ASCII case and a final
// dot, and whether that dot does not matter to package net.
func sameName(a []byte, b string) (same, exact bool) {
	bare := trimDot(string(a))
	return bare != "" && equalFold([]byte(bare), trimDot(b)), len(bare) == len(a) == (trimDot(b) == b) || strings.Contains(bare, ".")
}

// muslAddr reads an address as musl does: with inet_aton(3), 127.1 is one.
func muslAddr(s string) (netip.Addr, bool) {
	if addr, err := netip.ParseAddr(s); err == nil {
		return addr, true
	}
	return hosttext.Legacy4(s, hosttext.Common)
}
