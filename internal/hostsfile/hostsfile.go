// Package hostsfile reads what the hosts file says of one name, and which source
// of names nsswitch.conf asks first.
package hostsfile

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

const (
	maxLine    = 64 << 10 // package net stops reading at a line that does not fit in this
	MaxSize    = 64 << 20 // no more of a hosts file than this is read
	maxEntries = 256      // nor more addresses than this remembered, and as many lines that repeat one
)

// File is what the hosts file says about one name.
type File struct {
	Path    string
	Entries []Entry // in the order of the file
	TooBig  bool    // there is more of it than MaxSize, and package net would read all of it
	Err     error   // it cannot be read
}

// Entry is a line of the hosts file that has the name.
type Entry struct {
	Line    int        // from 1
	Addr    netip.Addr // unmapped; the zero Addr if what stands there is none
	Problem Problem
}

// Problem is why package net does not read an entry. The zero Problem is that of
// an entry that it reads.
type Problem struct {
	Why  string
	Fix  string
	Libc bool // a C library reads the entry all the same
}

// Reader is who reads a hosts file.
type Reader uint8

const (
	ByGo   Reader = iota // package net
	ByLibc               // a C library
)

// Source returns the entry as it is shown in reports: "hosts:2".
func (e Entry) Source() string { return "hosts:" + strconv.Itoa(e.Line) }

// ReadBy reports whether r reads the entry.
func (e Entry) ReadBy(r Reader) bool { return e.Problem.Why == "" || r == ByLibc && e.Problem.Libc }

// Read reads what the hosts file at path says about name, as package net
// would, and what it would miss. The memory it needs does not depend on the
// file.
func Read(path, name string) *File {
	h := &File{Path: path}
	f, err := openRegular(path)
	if err != nil {
		h.Err = err
		return h
	}
	defer f.Close()
	h.Err = h.parse(f, name)
	return h
}

// openRegular opens a regular file: a pipe could keep the reader waiting.
func openRegular(path string) (*os.File, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file but %v", path, fi.Mode())
	}
	return os.Open(path)
}

func (h *File) parse(f io.Reader, name string) error {
	r := bufio.NewReaderSize(f, maxLine)
	cut := 0 // the line that is too long
	read := 0
	for n := 1; ; n++ {
		line, err := r.ReadSlice('\n')
		if err == bufio.ErrBufferFull && cut == 0 {
			cut = n
		}
		h.parseLine(n, line, name, cut)
		read += len(line)
		for err == bufio.ErrBufferFull && read < MaxSize {
			line, err = r.ReadSlice('\n')
			read += len(line)
		}
		switch {
		case err == io.EOF:
			return nil
		case read >= MaxSize:
			h.TooBig = cut == 0
			return nil
		case err != nil:
			return err
		}
	}
}

// parseLine adds the entry of line n, if it has the name.
func (h *File) parseLine(n int, line []byte, name string, cut int) {
	if len(h.Entries) == 2*maxEntries {
		return
	}
	line, bom := bytes.CutPrefix(line, []byte("\ufeff"))
	line, _, _ = bytes.Cut(line, []byte("#"))
	text, line := hostsField(line)
	exact, found := false, false
	for !exact && len(line) > 0 {
		var field []byte
		field, line = hostsField(line)
		if f, e := sameName(field, name); f {
			exact, found = e, true
		}
	}
	if !found {
		return
	}
	e := Entry{Line: n}
	addr, err := netip.ParseAddr(string(text))
	e.Addr = addr.Unmap()
	switch {
	case err != nil:
		e.Problem = Problem{Why: fmt.Sprintf("%.64q is not an address", text), Fix: "correct it"}
	case bom:
		e.Problem = Problem{Why: "a byte order mark stands before the address", Fix: "save the file without it"}
	case !exact:
		e.Problem = Problem{Why: "with a final dot it is another name", Fix: "write it there without the dot"}
		if strings.HasSuffix(name, ".") {
			e.Problem.Fix = "ask for it without the dot, or write the dot there, too"
		}
	case cut > 0:
		e.Problem = Problem{
			Why:  fmt.Sprintf("package net reads no further than line %d, which is longer than 64 KiB", cut),
			Fix:  fmt.Sprintf("break up line %d of %s", cut, h.Path),
			Libc: true,
		}
	}
	said := func(o Entry) bool { return o.Addr == e.Addr && o.Problem == e.Problem }
	if len(h.Entries) < maxEntries || !slices.ContainsFunc(h.Entries, said) { // a file may say it a thousand times
		h.Entries = append(h.Entries, e)
	}
}

// hostsField returns the first field of a line of the hosts file, and the rest.
func hostsField(line []byte) (field, rest []byte) {
	sep := func(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }
	i := 0
	for i < len(line) && sep(line[i]) {
		i++
	}
	j := i
	for j < len(line) && !sep(line[j]) {
		j++
	}
	return line[i:j], line[j:]
}

// sameName reports whether a and b are one name but for ASCII case and a final
// dot, and whether package net takes them for one: it overlooks the dot only
// in a name that has another.
func sameName(a []byte, b string) (same, exact bool) {
	a, dotA := bytes.CutSuffix(a, []byte("."))
	b, dotB := strings.CutSuffix(b, ".")
	if len(a) != len(b) || len(a) == 0 {
		return false, false
	}
	for i := range a {
		if lowerASCII(a[i]) != lowerASCII(b[i]) {
			return false, false
		}
	}
	return true, dotA == dotB || strings.Contains(b, ".")
}

func lowerASCII(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// Find returns the first entry with addr that r reads: with the zone of addr if
// there is one, else with any zone.
func (h *File) Find(addr netip.Addr, r Reader) (Entry, bool) {
	for _, bare := range []bool{false, true} {
		for _, e := range h.Entries {
			if e.ReadBy(r) && (e.Addr == addr || bare && e.Addr.WithZone("") == addr.WithZone("")) {
				return e, true
			}
		}
	}
	return Entry{}, false
}

// Has reports whether r reads an entry of the file.
func (h *File) Has(r Reader) bool {
	return slices.ContainsFunc(h.Entries, func(e Entry) bool { return e.ReadBy(r) })
}
