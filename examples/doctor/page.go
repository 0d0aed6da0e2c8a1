package main

import (
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"unicode/utf8"

	"example.com/loopback"
)

// print writes the answers as a page for a person.
func (a *answer) print(w io.Writer, paint bool) error {
	var parts []string
	add := func(part string, verdict loopback.Verdict, findings []loopback.Finding) {
		part = wrapped(strings.TrimRight(part, "\n") + "\n")
		if paint {
			part = painted(part, verdict, findings)
		}
		parts = append(parts, part)
	}
	for _, e := range a.Explain {
		add(strconv.Quote(e.Input)+"\n  "+e.String(), "", nil)
	}
	for _, r := range a.Names {
		add(r.String(), r.Verdict, r.Findings)
	}
	for _, r := range a.Ports {
		add(r.String(), r.Verdict, r.Findings)
	}
	if a.Machine != nil {
		add(a.Machine.String()+"\n"+a.Listen.String(), a.Machine.Verdict, a.Machine.Findings)
	}
	_, err := io.WriteString(w, strings.Join(parts, "\n"))
	return err
}

const (
	red, yellow, green = "\x1b[31m", "\x1b[33m", "\x1b[32m"
	bold, plain        = "\x1b[1m", "\x1b[0m"
)

// colour reports whether f is a terminal that understands colours, and the
// environment does not object to them: https://no-color.org.
func colour(f *os.File) bool {
	if os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	if runtime.GOOS == "windows" && os.Getenv("WT_SESSION") == "" { // an old console prints them as text
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// wrapped breaks lines that are longer than 80 columns where there are spaces,
// and indents what follows. A fix stays in one line: it may be a command to copy.
func wrapped(page string) string {
	var b strings.Builder
	for line := range strings.Lines(page) {
		line = strings.TrimSuffix(line, "\n")
		text := strings.TrimLeft(line, " ")
		if strings.HasPrefix(text, "fix: ") {
			b.WriteString(line + "\n")
			continue
		}
		indent, pad := len(line)-len(text)+4, ""
		// Of a line as long as the input only the beginning is counted, and nothing copied.
		for len(pad)+utf8.RuneCountInString(line[:min(len(line), 81*utf8.UTFMax)]) > 80 {
			i := strings.LastIndexByte(line[:80-len(pad)], ' ')
			if len(pad)+i <= indent {
				break
			}
			b.WriteString(strings.TrimRight(pad+line[:i], " ") + "\n")
			pad, line = strings.Repeat(" ", indent), line[i+1:]
		}
		b.WriteString(pad + line + "\n")
	}
	return b.String()
}

// painted colours the verdict in the first line of a page, the levels of its
// findings, and its headings.
func painted(page string, verdict loopback.Verdict, findings []loopback.Finding) string {
	hue := bold
	switch worst(findings) {
	case loopback.LevelError:
		hue = red
	case loopback.LevelWarn:
		hue = yellow
	default:
		if verdict == loopback.VerdictOK || verdict == loopback.VerdictOpen {
			hue = green
		}
	}
	first, rest, _ := strings.Cut(page, "\n")
	if verdict != "" {
		first = strings.Replace(first, ": "+string(verdict), ": "+hue+string(verdict)+plain, 1)
	}
	var b strings.Builder
	b.WriteString(first + "\n")
	for line := range strings.Lines(rest) {
		for mark, hue := range map[string]string{"  error": red, "  warn": yellow, "  let in at": red} {
			if tail, ok := strings.CutPrefix(line, mark); ok {
				line = hue + mark + plain + tail
			}
		}
		if text := strings.TrimSuffix(line, "\n"); text != "" && text[0] != ' ' && text[0] != '\x1b' {
			line = bold + text + plain + "\n"
		}
		b.WriteString(line)
	}
	return b.String()
}
