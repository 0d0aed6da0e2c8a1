package loopback

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"example.com/loopback/internal/enum"
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
	VerdictNoIPv6       Verdict = "NO-IPV6"       // the name has an IPv6 loopback address that this machine does not have
	VerdictNoIPv4       Verdict = "NO-IPV4"       // the name has an IPv4 loopback address that this machine does not have
	VerdictUnreachable  Verdict = "UNREACHABLE"   // an address can be bound but not connected to: lo is down
	VerdictNotLoopback  Verdict = "NOT-LOOPBACK"  // the name leads to an address that is not loopback
	VerdictFromDNS      Verdict = "FROM-DNS"      // no hosts entry for localhost: the answer came over the network
	VerdictMissing      Verdict = "MISSING"       // the name has no address
	VerdictLookupFailed Verdict = "LOOKUP-FAILED" // the resolver failed or did not answer in time
	VerdictHostsFile    Verdict = "HOSTS-FILE"    // of findings alone: a line of the hosts file is not read as it looks, or has another address
)

// What answers on a port: the verdicts of [Probe].
const (
	VerdictOpen       Verdict = "OPEN"        // open on every family that this machine has
	VerdictClosed     Verdict = "CLOSED"      // nothing listens
	VerdictSplit      Verdict = "SPLIT"       // open on one family only, the machine has both
	VerdictNoAnswer   Verdict = "NO-ANSWER"   // not open, and at least one attempt hung
	VerdictElsewhere  Verdict = "ELSEWHERE"   // not open, but something listens on the port at another address of this machine
	VerdictTwoOwners  Verdict = "TWO-OWNERS"  // the families belong to sockets of different users or programs
	VerdictUnixSocket Verdict = "UNIX-SOCKET" // of findings alone: some clients make a unix socket of localhost
)

// What is wrong with a machine: the verdicts that [Diagnose] adds to those of
// [Resolve].
const (
	VerdictWire          Verdict = "WIRE"            // routing delivers to 127.0.0.1 what comes from other machines
	VerdictLoDown        Verdict = "LO-DOWN"         // no loopback interface is up
	VerdictNoLo          Verdict = "NO-LO"           // no interface has the loopback flag
	VerdictLoRenamed     Verdict = "LO-RENAMED"      // the loopback interface of Linux is not called lo
	VerdictPartialRange  Verdict = "PARTIAL-127/8"   // 127.0.0.1 works, but not all of 127.0.0.0/8
	VerdictLoopbackOffLo Verdict = "LOOPBACK-OFF-LO" // a loopback address on an interface that is not loopback
	VerdictForeignOnLo   Verdict = "FOREIGN-ON-LO"   // an address on a loopback interface that is not loopback
	VerdictRouteLocalnet Verdict = "ROUTE-LOCALNET"  // route_localnet is on, though nothing gets in at present
	VerdictExposed       Verdict = "EXPOSED"         // this process has sockets that other machines may reach, most of them on purpose: level info
	VerdictRewritten     Verdict = "REWRITTEN"       // a packet filter gives local clients another source address
	VerdictDetour        Verdict = "DETOUR"          // local traffic leaves by an interface that is not loopback, and comes back
)

// Level is how much a [Finding] matters. The zero value is LevelInfo; a more
// severe level is greater.
type Level uint8

const (
	LevelInfo  Level = iota // good to know
	LevelWarn               // some clients fail
	LevelError              // other machines or users get in, or localhost cannot be used
)

var levelNames = []string{LevelInfo: "info", LevelWarn: "warn", LevelError: "error"}

// String returns the name of the level: info, warn or error.
func (l Level) String() string { return enum.Text(l, "Level", levelNames) }

// MarshalText returns the String of the level. The error is always nil.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText sets the level to the one that text names. Any other text is
// an error, and the level stays as it is.
func (l *Level) UnmarshalText(text []byte) error { return enum.Parse(l, text, "Level", levelNames) }

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
// otherwise {"ok":false,"error":"...","errno":"ECONNREFUSED"}. There is no errno
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

// outcomeJSON is the form of an Outcome that was tried.
type outcomeJSON struct {
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
	Errno string `json:"errno,omitempty"`
}

// MarshalJSON returns the outcome as described at [Outcome].
func (o Outcome) MarshalJSON() ([]byte, error) {
	if !o.Tried {
		return []byte("null"), nil
	}
	out := outcomeJSON{OK: o.Err == nil}
	if o.Err != nil {
		out.Error, out.Errno = inUTF8(o.Err.Error()), errnoOf(o.Err)
	}
	return marshal(out)
}

// marshal returns v as JSON, for a MarshalJSON method. Whether the characters of
// HTML are escaped is left to the encoder that calls the method.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return b.Bytes(), err
}

// inUTF8 returns s with U+FFFD for each byte that is not UTF-8, as package json
// reads it back.
func inUTF8(s string) string { return string([]rune(s)) }

// UnmarshalJSON reads what MarshalJSON writes. Err is then an error with the
// same text, and [errors.Is] finds the [syscall.Errno] in it if this platform
// has one of that name.
func (o *Outcome) UnmarshalJSON(b []byte) error {
	var in *outcomeJSON
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	switch {
	case in == nil:
		*o = Outcome{}
	case in.OK:
		*o = Outcome{Tried: true}
	default:
		*o = Outcome{Tried: true, Err: errorRead{text: in.Error, errno: in.Errno}}
	}
	return nil
}

// An errorRead is an error that was read back from JSON.
type errorRead struct {
	text  string
	errno string // its name; "" if there was none
}

func (e errorRead) Error() string { return e.text }

// Unwrap returns the error number, if this platform has it.
func (e errorRead) Unwrap() error {
	if errno, ok := syserr.Number(e.errno); ok {
		return errno
	}
	return nil
}

// Is compares error numbers by name: Windows has two for one.
func (e errorRead) Is(target error) bool {
	errno, ok := target.(syscall.Errno)
	return ok && e.errno != "" && syserr.Name(errno) == e.errno
}

// Timeout reports whether the text is that of a time that was up.
func (e errorRead) Timeout() bool {
	return strings.HasSuffix(e.text, "operation was canceled") || // what package net makes of context.Canceled
		slices.ContainsFunc([]error{os.ErrDeadlineExceeded, context.DeadlineExceeded, context.Canceled, syscall.ETIMEDOUT},
			func(err error) bool { return strings.HasSuffix(e.text, err.Error()) })
}

// errnoOf returns the name of the error number in err, or "" if there is none.
func errnoOf(err error) string {
	if e, ok := errors.AsType[errorRead](err); ok {
		return e.errno
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return syserr.Name(errno)
	}
	return ""
}

// timedOut reports whether err means that nothing answered in time: by a
// deadline of ours, by the operating system's, or because a context ended.
func timedOut(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	lacking := errors.Is(err, syscall.EAGAIN) // a port or the like, though its Timeout is true
	return ok && t.Timeout() && !lacking || errors.Is(err, context.Canceled) ||
		syserr.Is(err, "ETIMEDOUT") // package syscall takes that of Winsock for no timeout
}

// bySeverity puts the most severe findings first and leaves those of one level
// in their order.
func bySeverity(findings []Finding) {
	slices.SortStableFunc(findings, func(a, b Finding) int { return int(b.Level) - int(a.Level) })
}

// reportText returns a report as text: the verdict, the lines of body, and the
// findings. The message of the finding that is the verdict is not repeated, as
// the headline says it.
func reportText(name string, verdict Verdict, headline, body string, findings []Finding) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s  %s\n%s", name, verdict, headline, body)
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
