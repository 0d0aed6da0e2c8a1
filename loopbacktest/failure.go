package loopbacktest

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Failure is one line of the error of a Test function: an input with a wrong
// answer.
type Failure struct {
	Input string // as the implementation was given it
	Got   string
	Want  string
	Why   string // the reason for Want
}

// Error returns the failure in one line. It quotes an input or an answer that is
// empty or has characters that do not show.
func (f *Failure) Error() string {
	s := fmt.Sprintf("loopbacktest: %s: got %s, want %s", show(f.Input), show(f.Got), f.Want)
	if f.Why != "" {
		s += ": " + f.Why
	}
	return s
}

// show returns text, quoted if it is empty or has characters that do not show.
func show(text string) string {
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsGraphic(r) || r == unicode.ReplacementChar }) ||
		strings.TrimSpace(text) != text {
		return strconv.Quote(text)
	}
	return text
}

// failures is the error of a Test function.
type failures []error

func (fs failures) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the failures, each a *Failure. The last one is another error if
// the suite has ended early.
func (fs failures) Unwrap() []error { return fs }

// err returns nil if there are no failures.
func (fs failures) err() error {
	if len(fs) == 0 {
		return nil
	}
	return fs
}

// callTime is how long one call of an implementation may take.
const callTime = 5 * time.Second

// suiteTime is how long all calls of one suite may take.
const suiteTime = time.Minute

// tooSlow is the failure of an implementation that takes more.
var tooSlow = &Failure{Input: "all calls", Got: fmt.Sprintf("more than %v", suiteTime), Want: "less", Why: "the rest is not tested"}

// A verdict is how a call of an implementation ended.
type verdict[T any] struct {
	answer  T
	problem string // "", or what came instead of an answer
	hung    bool   // it has not returned, and the suite goes no further
}

// ask calls f, which may panic and may never return.
func ask[T any](limit time.Duration, f func() T) verdict[T] {
	ended := make(chan verdict[T], 1)
	go func() {
		v := verdict[T]{problem: "an end of the goroutine"}
		defer func() {
			if p := recover(); p != nil {
				v.problem = fmt.Sprintf("a panic (%v)", p)
			}
			ended <- v
		}()
		v.answer = f()
		v.problem = ""
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case v := <-ended:
		return v
	case <-timer.C:
		return verdict[T]{problem: fmt.Sprintf("no answer within %v", limit), hung: true}
	}
}
