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
)

// MaxSize bounds what is read of a hosts file.
const MaxSize = 64 << 20

const (
	maxLine    = 64 << 10 // package net stops at a line that does not fit in this
	maxEntries = 256      // of different entries, and as many again that repeat one
)

// File is what the hosts file says of one name.
type File struct {
	Path    string
	Entries []Entry // in the order of the file
	Problem Problem // why package net would not read a line at the end of the file
	Unended bool    // no line feed ends the last line
	TooBig  bool    // the file is larger than MaxSize, and package net would read all of it
	Err     error   // why the file cannot be read
}

// Entry is a line of the hosts file that has the name.
type Entry struct {
	Line    int        // from 1
	Addr    netip.Addr // unmapped; the zero Addr if no program reads an address there
	Problem Problem
	by      readers
}

// Problem is why package net does not read an entry. The zero Problem is that of
// an entry that it reads.
type Problem struct {
	Why string
	Fix string
}

// Path returns the path of the hosts file.
func Path() string { return systemPath() }

// Source returns the entry as it is shown in reports: "hosts:2".
func (e Entry) Source() string { return "hosts:" + strconv.Itoa(e.Line) }

// ReadBy reports whether r reads the entry.
func (e Entry) ReadBy(r Reader) bool { return e.by&(1<<r) != 0 }

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

// Read reads what the file at path says of name. Entries has the lines that some
// program reads and the lines that look as if they had the name. The memory that
// Read needs does not depend on the file.
func Read(path, name string) *File {
	f, err := openRegular(path)
	if err != nil {
		return &File{Path: path, Err: err}
	}
	defer f.Close()
	return Parse(path, f, name)
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

// Parse does what Read does with the content r of the file at path.
func Parse(path string, r io.ReadSeeker, name string) *File {
	p := parser{File: &File{Path: path}, name: name}
	head := make([]byte, 512)
	n, _ := io.ReadFull(r, head)
	order := utf16Order(head[:n])
	p.literal = order != nil
	if _, p.Err = r.Seek(0, io.SeekStart); p.Err == nil {
		p.Err = p.scan(r)
	}
	if order == nil || p.Err != nil {
		return p.File
	}
	p.Problem = Problem{Why: "the file is in UTF-16", Fix: "save " + path + " as UTF-8 without a byte order mark"}
	p.literal, p.decoded, p.Unended = false, true, false
	if _, p.Err = r.Seek(0, io.SeekStart); p.Err == nil {
		p.Err = p.scan(&utf16Reader{from: bufio.NewReader(r), order: order})
	}
	return p.File
}

// A parser reads the lines of a File.
type parser struct {
	*File
	name    string
	cut     bool // package net has stopped reading
	literal bool // the lines are only what programs read
	decoded bool // no program reads the lines, which were in UTF-16
}

// scan reads all lines of f.
func (p *parser) scan(f io.Reader) error {
	r := bufio.NewReaderSize(f, maxLine)
	read := 0
	for n := 1; ; n++ {
		line, err := r.ReadSlice('\n')
		if err == bufio.ErrBufferFull && !p.cut && !p.decoded {
			p.cut = true
			p.Problem = Problem{
				Why: fmt.Sprintf("package net reads no further than line %d, which is longer than 64 KiB", n),
				Fix: fmt.Sprintf("break up line %d of %s", n, p.Path),
			}
		}
		p.line(n, line)
		read += len(line)
		for err == bufio.ErrBufferFull && read < MaxSize {
			line, err = r.ReadSlice('\n')
			read += len(line)
		}
		switch {
		case err == io.EOF:
			p.Unended = p.Unended || len(line) > 0
			return nil
		case read >= MaxSize:
			p.TooBig = p.TooBig || !p.cut && !p.decoded
			return nil
		case err != nil:
			return err
		}
	}
}

// line adds the entries of line n.
func (p *parser) line(n int, line []byte) {
	if len(line) == 0 || len(p.Entries) == 2*maxEntries || isASCII(line) && !containsFold(line, p.name) {
		return
	}
	addr, by := readLine(line, p.name)
	e := Entry{Line: n, Addr: addr, by: by}
	switch {
	case !e.ReadBy(ByGo) && p.literal:
		return
	case !e.ReadBy(ByGo):
		var meant netip.Addr
		meant, e.Problem = explain(line, p.name)
		switch {
		case by == 0:
			e.Addr = meant
		case e.Problem == (Problem{}): // the address is the only cause that is left
			first, _ := cutField(line, libcSpace)
			_, e.Problem = explainAddr(string(first))
		}
	case p.cut, p.decoded:
		e.Problem = p.Problem
		e.by &^= 1 << ByGo
	}
	if p.decoded {
		e.by = 0
	}
	if e.by != 0 || e.Problem != (Problem{}) {
		p.add(e)
	}
	if p.literal {
		return
	}
	for _, within := range linesWithin(line) {
		if addr, by := readLine(within.text, p.name); by != 0 && addr != e.Addr {
			p.add(Entry{Line: n, Addr: addr, Problem: Problem{
				Why: within.mark + " does not end a line",
				Fix: "save " + p.Path + " with line feeds at the ends of its lines",
			}})
		}
	}
}

// add adds an entry: a file may say the same thing a thousand times.
func (p *parser) add(e Entry) {
	said := func(o Entry) bool { return o.Addr == e.Addr && o.Problem == e.Problem && o.by == e.by }
	if len(p.Entries) < maxEntries || len(p.Entries) < 2*maxEntries && !slices.ContainsFunc(p.Entries, said) {
		p.Entries = append(p.Entries, e)
	}
}

func isASCII(line []byte) bool {
	return !slices.ContainsFunc(line, func(c byte) bool { return c >= 0x80 })
}

// containsFold reports whether name, without its final dot, is in line, but for
// ASCII case.
func containsFold(line []byte, name string) bool {
	name = trimDot(name)
	for i := 0; i+len(name) <= len(line); i++ {
		if equalFold(line[i:i+len(name)], name) {
			return true
		}
	}
	return false
}

// equalFold reports whether a and b are equal but for ASCII case.
func equalFold(a []byte, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// trimDot returns name without its final dot.
func trimDot(name string) string {
	if len(name) > 0 && name[len(name)-1] == '.' {
		return name[:len(name)-1]
	}
	return name
}

// cutComment returns what is before the first # of a line, and what is behind.
func cutComment(line []byte) (before, comment []byte) {
	before, comment, _ = bytes.Cut(line, []byte("#"))
	return before, comment
}
