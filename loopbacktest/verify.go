package loopbacktest

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"example.com/loopback"
)

// TestingT is the part of [testing.TB] that VerifyNoneExposed needs. It calls
// Helper as well, if there is such a method.
type TestingT interface {
	Error(args ...any)
}

// TestingM is the part of [testing.M] that VerifyTestMain needs.
type TestingM interface {
	Run() int
}

// VerifyNoneExposed fails the test if [loopback.Exposed] finds a socket of this
// process that other machines may reach. It calls t.Error once, with every such
// socket and the way to mend it. It ignores a socket for which one of the ignore
// functions returns true.
//
// VerifyNoneExposed waits up to half a second for sockets that another goroutine
// is about to close. It does not see a socket that was closed before. It looks at
// the whole process: parallel tests see each other's sockets.
func VerifyNoneExposed(t TestingT, ignore ...func(loopback.Socket) bool) {
	if isNil(t) {
		panic("loopbacktest: VerifyNoneExposed: the TestingT is nil")
	}
	if h, ok := t.(interface{ Helper() }); ok {
		h.Helper()
	}
	if why := awaitNoneExposed("VerifyNoneExposed", ignore); why != "" {
		t.Error(why)
	}
}

// VerifyTestMain runs the tests of a package and ends the process with their exit
// code. If they have passed, it looks for exposed sockets as [VerifyNoneExposed]
// does, and the exit code is 1 if it finds one. VerifyTestMain replaces the call
// of m.Run in TestMain:
//
//	func TestMain(m *testing.M) { loopbacktest.VerifyTestMain(m) }
//
// VerifyTestMain does not return, so a call after it has no effect. Another check
// of the whole run, such as that of go.uber.org/goleak, is for the Run of m.
func VerifyTestMain(m TestingM, ignore ...func(loopback.Socket) bool) {
	if isNil(m) {
		panic("loopbacktest: VerifyTestMain: the TestingM is nil")
	}
	code := m.Run()
	if code == 0 {
		if why := awaitNoneExposed("VerifyTestMain", ignore); why != "" {
			fmt.Fprintln(os.Stderr, why)
			code = 1
		}
	}
	os.Exit(code)
}

// isNil reports whether v is nil, or a nil pointer or function.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	r := reflect.ValueOf(v)
	return (r.Kind() == reflect.Pointer || r.Kind() == reflect.Func) && r.IsNil()
}

// patience is how long a socket may take to be closed.
const patience = 500 * time.Millisecond

// awaitNoneExposed returns "", or the message about the sockets that stay
// exposed.
func awaitNoneExposed(caller string, ignore []func(loopback.Socket) bool) string {
	if slices.ContainsFunc(ignore, func(f func(loopback.Socket) bool) bool { return f == nil }) {
		panic("loopbacktest: " + caller + ": a function of ignore is nil")
	}
	wait := time.Millisecond
	for waited := time.Duration(0); ; waited += wait {
		exposed, err := loopback.Exposed()
		if err != nil {
			return "loopbacktest: " + err.Error()
		}
		exposed = slices.DeleteFunc(exposed, func(s loopback.Socket) bool {
			return slices.ContainsFunc(ignore, func(f func(loopback.Socket) bool) bool { return f(s) })
		})
		if len(exposed) == 0 {
			return ""
		}
		if waited >= patience {
			return describe(exposed)
		}
		time.Sleep(wait)
		wait = min(2*wait, 50*time.Millisecond)
	}
}

func describe(exposed []loopback.Socket) string {
	var b strings.Builder
	b.WriteString("loopbacktest: this process has sockets that other machines may reach:\n")
	for _, s := range exposed {
		fmt.Fprintf(&b, "\t%v\n", s)
	}
	b.WriteString("fix: listen with loopback.Listen or on \"127.0.0.1:0\", not on \":0\"; close what is left over; " +
		"hand a function to ignore what is meant to be reached")
	return b.String()
}
