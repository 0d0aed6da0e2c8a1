package loopback_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
	"example.com/loopback/internal/syserr"
)

func TestOutcome(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	timeout := &net.OpError{Op: "dial", Net: "tcp", Err: context.DeadlineExceeded}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	_, canceled := new(net.Dialer).DialContext(done, "tcp", "127.0.0.1:1")
	for _, tt := range []struct {
		name    string
		outcome loopback.Outcome
		json    string
		text    string
		ok      bool
	}{
		{"zero", loopback.Outcome{}, `null`, "not tried", false},
		{"ok", loopback.Outcome{Tried: true}, `{"ok":true}`, "ok", true},
		{"errno", loopback.Outcome{Tried: true, Err: refused},
			`{"ok":false,"error":"dial tcp: connect: connection refused","errno":"ECONNREFUSED"}`, "connection refused", false},
		{"timeout", loopback.Outcome{Tried: true, Err: timeout},
			`{"ok":false,"error":"dial tcp: context deadline exceeded"}`, "no answer", false},
		{"end of a context", loopback.Outcome{Tried: true, Err: &net.OpError{Op: "dial", Net: "tcp", Err: context.Canceled}},
			`{"ok":false,"error":"dial tcp: context canceled"}`, "no answer", false},
		{"end of the context of a Dialer", loopback.Outcome{Tried: true, Err: canceled},
			`{"ok":false,"error":"dial tcp 127.0.0.1:1: operation was canceled"}`, "no answer", false},
		{"kernel timeout", loopback.Outcome{Tried: true, Err: syscall.ETIMEDOUT},
			`{"ok":false,"error":"connection timed out","errno":"ETIMEDOUT"}`, "no answer", false},
		{"other", loopback.Outcome{Tried: true, Err: errors.New("no")}, `{"ok":false,"error":"no"}`, "no", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data, err := json.Marshal(tt.outcome)
			require.NoError(t, err)
			assert.Equal(t, tt.json, string(data))
			assert.Equal(t, tt.text, tt.outcome.String())
			assert.Equal(t, tt.ok, tt.outcome.OK())

			back := loopback.Outcome{Tried: true, Err: errors.New("overwritten")}
			require.NoError(t, json.Unmarshal(data, &back))
			assert.Equal(t, tt.outcome.Tried, back.Tried)
			assert.Equal(t, tt.outcome.Err == nil, back.Err == nil)
			for _, errno := range []error{syscall.ECONNREFUSED, syscall.ETIMEDOUT, syscall.EADDRINUSE} {
				assert.Equal(t, errors.Is(tt.outcome.Err, errno), errors.Is(back.Err, errno), "%v", errno)
			}
			if runtime.GOOS != "windows" || tt.name != "errno" { // where it is read back as that of Winsock
				assert.Equal(t, tt.text, back.String())
			}
			again, err := json.Marshal(back)
			require.NoError(t, err)
			assert.Equal(t, tt.json, string(again))
		})
	}
}

// The Timeout of package syscall is false for WSAETIMEDOUT, which a connection to
// loopback soon ends with on Windows.
func TestOutcomeOfAKernelTimeout(t *testing.T) {
	errno, ok := syserr.Number("ETIMEDOUT") // of Winsock, on Windows
	require.True(t, ok)
	o := loopback.Outcome{Tried: true, Err: &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connectex", errno)}}
	assert.Equal(t, "no answer", o.String())
	const ofWindows = `{"ok":false,"error":"dial tcp 127.0.0.1:80: connectex: A connection attempt failed","errno":"ETIMEDOUT"}`
	require.NoError(t, json.Unmarshal([]byte(ofWindows), &o))
	assert.Equal(t, "no answer", o.String())
}

// A UDP socket that finds no port to connect from has not waited for an answer.
func TestOutcomeOfNoPortIsNoTimeout(t *testing.T) {
	o := loopback.Outcome{Tried: true, Err: os.NewSyscallError("connect", syscall.EAGAIN)}
	assert.Equal(t, syscall.EAGAIN.Error(), o.String())
}

// What is not UTF-8 in the text of an error changes once, when it is written.
func TestErrorsThatAreNotUTF8AreReadBack(t *testing.T) {
	outcome := loopback.Outcome{Tried: true, Err: errors.New("a\xff\xfeb")}
	binding := loopback.Binding{Network: "tcp4", Err: outcome.Err}
	for v, again := range map[any]any{outcome: new(loopback.Outcome), binding: new(loopback.Binding)} {
		text, err := json.Marshal(v)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, again))
		back, err := json.Marshal(again)
		require.NoError(t, err)
		assert.Equal(t, string(text), string(back))
		assert.Contains(t, string(text), "a\ufffd\ufffdb")
	}
}

// A report need not come from a Probe, whole: it may be read from JSON.
func TestReportsWithoutContentHaveText(t *testing.T) {
	verdicts := []loopback.Verdict{"", loopback.VerdictOpen, loopback.VerdictSplit, loopback.VerdictTwoOwners, loopback.VerdictElsewhere, loopback.VerdictClosed}
	for _, verdict := range verdicts {
		finding := loopback.Finding{Message: "why"}
		for _, attempts := range [][]loopback.Attempt{nil, {{}}, {{}, {}}, {{}, {}, {}}} {
			r := &loopback.PortReport{Verdict: verdict, Attempts: attempts, Findings: []loopback.Finding{finding}}
			assert.Contains(t, r.String(), "localhost: "+string(verdict))
		}
		assert.NotContains(t, (&loopback.Resolution{Verdict: verdict}).String(), "every family", "of which nothing is known")
		works := loopback.FamilyReport{Bind: loopback.Outcome{Tried: true}, TCP: loopback.Outcome{Tried: true}, UDP: loopback.Outcome{Tried: true}}
		assert.NotContains(t, (&loopback.Report{Verdict: verdict, IPv4: works, Wire: []loopback.WireReport{}}).String(), "keeps other machines out")
	}
}

// A report of another system has names that this one does not know.
func TestOutcomeKeepsForeignErrno(t *testing.T) {
	const text = `{"ok":false,"error":"connect: strange","errno":"ESTRANGE"}`
	var o loopback.Outcome
	require.NoError(t, json.Unmarshal([]byte(text), &o))
	assert.EqualError(t, o.Err, "connect: strange")
	_, ok := errors.AsType[syscall.Errno](o.Err)
	assert.False(t, ok)
	again, err := json.Marshal(o)
	require.NoError(t, err)
	assert.Equal(t, text, string(again))
}

func TestOutcomeRefusesOtherJSON(t *testing.T) {
	o := loopback.Outcome{Tried: true}
	for _, text := range []string{`1`, `"ok"`, `[]`, `{"ok":"yes"}`, `{`} {
		assert.Error(t, json.Unmarshal([]byte(text), &o), text)
		assert.Equal(t, loopback.Outcome{Tried: true}, o, text)
	}
}

// Whether the characters of HTML are escaped is for the encoder to say.
func TestJSONIsEscapedByItsEncoder(t *testing.T) {
	for name, v := range map[string]any{
		"Outcome":     loopback.Outcome{Tried: true, Err: errors.New("<&>")},
		"Binding":     loopback.Binding{Err: errors.New("<&>")},
		"Explanation": loopback.Explain("<&>"),
	} {
		for escaped, want := range map[bool]string{true: `"\u003c\u0026\u003e"`, false: `"<&>"`} {
			var b strings.Builder
			enc := json.NewEncoder(&b)
			enc.SetEscapeHTML(escaped)
			require.NoError(t, enc.Encode(v))
			assert.Contains(t, b.String(), want, name)
		}
	}
}

func TestLevel(t *testing.T) {
	var zero loopback.Level
	assert.Equal(t, loopback.LevelInfo, zero)
	assert.Less(t, loopback.LevelInfo, loopback.LevelWarn)
	assert.Less(t, loopback.LevelWarn, loopback.LevelError)
	for level, want := range map[loopback.Level]string{
		loopback.LevelInfo: "info", loopback.LevelWarn: "warn", loopback.LevelError: "error", 9: "Level(9)",
	} {
		assert.Equal(t, want, level.String())
		text, err := level.MarshalText()
		require.NoError(t, err)
		assert.Equal(t, want, string(text))
		var back loopback.Level
		if level <= loopback.LevelError {
			require.NoError(t, back.UnmarshalText(text))
			assert.Equal(t, level, back)
		} else {
			assert.EqualError(t, back.UnmarshalText(text), `loopback: unknown Level "Level(9)"`)
		}
	}
}

func TestFinding(t *testing.T) {
	f := loopback.Finding{Verdict: loopback.VerdictNotLoopback, Level: loopback.LevelError,
		Message: "localhost is 192.0.2.2", Evidence: "hosts:1", Fix: "edit it"}
	assert.Equal(t, "error: NOT-LOOPBACK: localhost is 192.0.2.2 (hosts:1)", f.String())
	data, err := json.Marshal(f)
	require.NoError(t, err)
	assert.Equal(t, `{"verdict":"NOT-LOOPBACK","level":"error","message":"localhost is 192.0.2.2","evidence":"hosts:1","fix":"edit it"}`, string(data))
	assert.Equal(t, "info: OK: fine", loopback.Finding{Verdict: loopback.VerdictOK, Message: "fine"}.String())
}

func TestVerdictNames(t *testing.T) {
	for verdict, want := range map[loopback.Verdict]string{
		loopback.VerdictOK:           "OK",
		loopback.VerdictIPv4Only:     "IPv4-ONLY",
		loopback.VerdictIPv6Only:     "IPv6-ONLY",
		loopback.VerdictNoIPv6:       "NO-IPV6",
		loopback.VerdictNoIPv4:       "NO-IPV4",
		loopback.VerdictUnreachable:  "UNREACHABLE",
		loopback.VerdictNotLoopback:  "NOT-LOOPBACK",
		loopback.VerdictFromDNS:      "FROM-DNS",
		loopback.VerdictMissing:      "MISSING",
		loopback.VerdictLookupFailed: "LOOKUP-FAILED",
		loopback.VerdictOpen:         "OPEN",
		loopback.VerdictClosed:       "CLOSED",
		loopback.VerdictSplit:        "SPLIT",
		loopback.VerdictNoAnswer:     "NO-ANSWER",
		loopback.VerdictTwoOwners:    "TWO-OWNERS",
		loopback.VerdictHostsFile:    "HOSTS-FILE",
		loopback.VerdictUnixSocket:   "UNIX-SOCKET",
	} {
		assert.Equal(t, want, string(verdict))
	}
}
