package loopback

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf8"

	"example.com/loopback/internal/syserr"
)

// Verdict sums up a report, or one [Finding], in a word that a person can
// search for and a script can compare. The empty Verdict says nothing.
type Verdict string

// What a name means on this machine: the verdicts of [Resolve].
const (
	VerdictOK           Verdict = "OK"            // loopback, in every family that this machine has
	VerdictIPv4Only     Verdict = "IPv4-ONLY"     // the name has IPv4 only, the machine has both families
	VerdictIPv6Only     Verdict = "IPv6-ONLY"     // the name has IPv6 only, the machine has both families
	VerdictNoIPv6       Verdict = "NO-IPV6"       // the name has an IPv6 loopback address that cannot be bound here
	VerdictNoIPv4       Verdict = "NO-IPV4"       // the name has an IPv4 loopback address that cannot be bound here
	VerdictUnreachable  Verdict = "UNREACHABLE"   // an address can be bound but not connected to: lo is down
	VerdictNotLoopback  Verdict = "NOT-LOOPBACK"  // the name leads to an address that is not loopback
	VerdictFromDNS      Verdict = "FROM-DNS"      // no hosts entry for localhost: the answer came over the network
	VerdictMissing      Verdict = "MISSING"       // the name has no address
	VerdictLookupFailed Verdict = "LOOKUP-FAILED" // the resolver failed or did not answer in time
)

// What answers on a port: the verdicts of [Probe].
const (
	VerdictOpen      Verdict = "OPEN"       // open on every family that this machine has
	VerdictClosed    Verdict = "CLOSED"     // nothing listens
	VerdictSplit     Verdict = "SPLIT"      // open on one family only, the machine has both
	VerdictNoAnswer  Verdict = "NO-ANSWER"  // not open, and at least one attempt hung
	VerdictTwoOwners Verdict = "TWO-OWNERS" // the families belong to sockets of different users
)

// Level is how much a [Finding] matters. The zero value is LevelInfo; a more
// severe level is greater.
type Level uint8

const (
	LevelInfo  Level = iota // good to know
	LevelWarn               // some clients fail
	LevelError              // others get in, or localhost cannot be used
)

// String returns the name of the level: info, warn or error.
func (l Level) String() string {
	switch l {
	case LevelInfo:
		return "info"
	case LevelWarn:
		return "warn"
	case LevelError:
		return "error"
	}
	return "Level(" + strconv.Itoa(int(l)) + ")"
}

// MarshalText returns the String of the level. The error is always nil.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// Finding is one thing that a report has to say.
type Finding struct {
	Verdict  Verdict `json:"verdict"`
	Level    Level   `json:"level"`
	Message  string  `json:"message"`  // what is so, in one sentence
	Evidence string  `json:"evidence"` // where it was seen: "hosts:2", "resolver", an address, an error; "" if there is nothing to show
	Fix      string  `json:"fix"`      // what to do about it; "" if nothing needs doing
}

// String returns the finding in one line, without its fix.
func (f Finding) String() string {
	s := f.Level.String() + ": " + string(f.Verdict) + ": " + f.Message
	if f.Evidence != "" {
		s += " (" + f.Evidence + ")"
	}
	return s
}

// Outcome is how an attempt ended. The zero Outcome was not tried.
//
// As JSON it is null if it was not tried, {"ok":true} if it succeeded, and
// otherwise {"ok":false,"error":"...","errno":"ECONNREFUSED"}, without errno
// where the error was not the operating system's, as with a timeout. Windows
// error codes have the names of their POSIX equivalents.
type Outcome struct {
	Tried bool
	Err   error // nil if it succeeded
}

// OK reports whether the attempt was made and succeeded.
func (o Outcome) OK() bool { return o.Tried && o.Err == nil }

// String returns "not tried", "ok", or the cause of the failure in a few words.
func (o Outcome) String() string {
	switch {
	case !o.Tried:
		return "not tried"
	case o.Err == nil:
		return "ok"
	case timedOut(o.Err):
		return "no answer"
	}
	if errno, ok := errors.AsType[syscall.Errno](o.Err); ok {
		return errno.Error()
	}
	return o.Err.Error()
}

// MarshalJSON returns the outcome as described at [Outcome].
func (o Outcome) MarshalJSON() ([]byte, error) {
	if !o.Tried {
		return []byte("null"), nil
	}
	out := struct {
		OK    bool   `json:"ok"`
		Error string `json:"error,omitempty"`
		Errno string `json:"errno,omitempty"`
	}{OK: o.Err == nil}
	if o.Err != nil {
		out.Error = o.Err.Error()
		if errno, ok := errors.AsType[syscall.Errno](o.Err); ok {
			out.Errno = syserr.Name(errno)
		}
	}
	return json.Marshal(out)
}

// timedOut reports whether err means that nothing answered in time: by a
// deadline of ours, by the operating system's, or because a context ended.
func timedOut(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && t.Timeout() || errors.Is(err, context.Canceled)
}

// bySeverity puts the most severe findings first and leaves those of one level
// in their order.
func bySeverity(findings []Finding) {
	slices.SortStableFunc(findings, func(a, b Finding) int { return int(b.Level) - int(a.Level) })
}

// align lays rows out as lines of columns with two spaces before each, as wide
// as their widest cell. Lines have no trailing spaces; the last cell of a row
// does not count towards its column.
func align(rows [][]string) string {
	var width []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(width) {
				width = append(width, 0)
			}
			if i < len(row)-1 {
				width[i] = max(width[i], utf8.RuneCountInString(cell))
			}
		}
	}
	var b strings.Builder
	for _, row := range rows {
		line := ""
		for i, cell := range row {
			line += "  " + cell + strings.Repeat(" ", max(0, width[i]-utf8.RuneCountInString(cell)))
		}
		b.WriteString(strings.TrimRight(line, " "))
		b.WriteByte('\n')
	}
	return b.String()
}

// list joins what text makes of the items, up to four of them.
func list[T any](items []T, sep string, text func(T) string) string {
	var parts []string
	for i, item := range items {
		if i == 4 {
			parts = append(parts, fmt.Sprintf("and %d more", len(items)-i))
			break
		}
		parts = append(parts, text(item))
	}
	return strings.Join(parts, sep)
}

// reportText returns a report as text. The message of the finding that is the
// verdict is not repeated: the headline says it.
func reportText(name string, verdict Verdict, headline string, rows [][]string, findings []Finding) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s  %s\n%s", name, verdict, headline, align(rows))
	fixes := []string{""}
	for i, f := range findings {
		if i > 0 || f.Verdict != verdict {
			fmt.Fprintf(&b, "  %v\n", f)
		}
		if !slices.Contains(fixes, f.Fix) {
			fmt.Fprintf(&b, "  fix: %s\n", f.Fix)
			fixes = append(fixes, f.Fix)
		}
	}
	return b.String()
}
