package loopback

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
	maxHostsLine = 64 << 10 // package net stops reading at a line that does not fit in this
	maxHosts     = 64 << 20 // no more of a hosts file than this is read
	maxEntries   = 256      // nor more addresses than this remembered, and as many lines that repeat one
)

// A hostsFile is what the hosts file says about one name.
type hostsFile struct {
	path    string
	entries []hostsEntry // in the order of the file
	tooBig  bool         // there is more of it than maxHosts, and package net would read all of it
	err     error        // it cannot be read
}

// A hostsEntry is a line of the hosts file that has the name.
type hostsEntry struct {
	line int        // from 1
	addr netip.Addr // unmapped; the zero Addr if what stands there is none
	lost lost
}

// lost is why package net does not find an entry.
type lost struct {
	why  string // "" if it does find it
	fix  string
	libc bool // other resolvers find it
}

// source returns the entry as it is shown in reports.
func (e hostsEntry) source() string { return "hosts:" + strconv.Itoa(e.line) }

// found reports whether package net finds the entry, or with libc, whether
// other resolvers do.
func (e hostsEntry) found(libc bool) bool { return e.lost.why == "" || libc && e.lost.libc }

// readHosts reads what the hosts file at path says about name, as package net
// would, and what it would miss. The memory it needs does not depend on the
// file.
func readHosts(path, name string) *hostsFile {
	h := &hostsFile{path: path}
	f, err := openRegular(path)
	if err != nil {
		h.err = err
		return h
	}
	defer f.Close()
	h.err = h.parse(f, name)
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

func (h *hostsFile) parse(f io.Reader, name string) error {
	r := bufio.NewReaderSize(f, maxHostsLine)
	cut := 0 // the line that is too long
	read := 0
	for n := 1; ; n++ {
		line, err := r.ReadSlice('\n')
		if err == bufio.ErrBufferFull && cut == 0 {
			cut = n
		}
		h.parseLine(n, line, name, cut)
		read += len(line)
		for err == bufio.ErrBufferFull && read < maxHosts {
			line, err = r.ReadSlice('\n')
			read += len(line)
		}
		switch {
		case err == io.EOF:
			return nil
		case read >= maxHosts:
			h.tooBig = cut == 0
			return nil
		case err != nil:
			return err
		}
	}
}

// parseLine adds the entry of line n, if it has the name.
func (h *hostsFile) parseLine(n int, line []byte, name string, cut int) {
	if len(h.entries) == 2*maxEntries {
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
	e := hostsEntry{line: n}
	addr, err := netip.ParseAddr(string(text))
	e.addr = addr.Unmap()
	switch {
	case err != nil:
		e.lost = lost{why: fmt.Sprintf("%.64q is not an address", text), fix: "correct it"}
	case bom:
		e.lost = lost{why: "a byte order mark stands before the address", fix: "save the file without it"}
	case !exact:
		e.lost = lost{why: "with a final dot it is another name", fix: "write it there without the dot"}
		if strings.HasSuffix(name, ".") {
			e.lost.fix = "ask for it without the dot, or write the dot there, too"
		}
	case cut > 0:
		e.lost = lost{
			why:  fmt.Sprintf("package net reads no further than line %d, which is longer than 64 KiB", cut),
			fix:  fmt.Sprintf("break up line %d of %s", cut, h.path),
			libc: true,
		}
	}
	said := func(o hostsEntry) bool { return o.addr == e.addr && o.lost == e.lost }
	if len(h.entries) < maxEntries || !slices.ContainsFunc(h.entries, said) { // a file may say it a thousand times
		h.entries = append(h.entries, e)
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

// find returns the first entry that says addr, with the zone if there is one
// with it, among those that package net finds, or with libc, other resolvers.
func (h *hostsFile) find(addr netip.Addr, libc bool) (hostsEntry, bool) {
	for _, bare := range []bool{false, true} {
		for _, e := range h.entries {
			if e.found(libc) && (e.addr == addr || bare && e.addr.WithZone("") == addr.WithZone("")) {
				return e, true
			}
		}
	}
	return hostsEntry{}, false
}

// has reports whether package net finds the name in the file, or with libc,
// whether other resolvers do.
func (h *hostsFile) has(libc bool) bool {
	return slices.ContainsFunc(h.entries, func(e hostsEntry) bool { return e.found(libc) })
}
