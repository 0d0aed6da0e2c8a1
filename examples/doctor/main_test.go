package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
)

// doctor runs the program.
func doctor(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(stdin), &out, &errs, false)
	return code, out.String(), errs.String()
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{"-nonsense"}, {"argument"}, {"-json=maybe"}, {"-json", "argument"},
		{"-port"}, {"-port", "0"}, {"-port", "65536"}, {"-port", "-1"}, {"-port", "http"}, {"-port", ""},
		{"-port", "80", "http"}, {"-json", "80", "-port", "80"}, {"-explain", "::1", "-nonsense"},
		{"-name"}, {"-explain"},
	} {
		code, stdout, stderr := doctor(t, "", args...)
		assert.Equal(t, 2, code, "%q", args)
		assert.Empty(t, stdout, "%q", args)
		assert.Contains(t, stderr, "usage: doctor", "%q", args)
	}
	code, stdout, stderr := doctor(t, "", "-h")
	assert.Equal(t, 0, code)
	assert.Contains(t, stdout, "exit status")
	assert.Empty(t, stderr)
}

func TestBadName(t *testing.T) {
	for _, name := range []string{"", "a b", "nul\x00", strings.Repeat("long.", 60)} {
		code, stdout, stderr := doctor(t, "", "-name", name)
		assert.Equal(t, 2, code, "%q", name)
		assert.Empty(t, stdout, "%q", name)
		assert.Contains(t, stderr, "doctor: ", "%q", name)
		assert.Less(t, len(stderr), 300, "%q", name)
	}
}

func TestMachine(t *testing.T) {
	code, page, stderr := doctor(t, "")
	assert.Equal(t, 0, code)
	assert.Empty(t, stderr)
	assert.Regexp(t, `^loopback: [A-Za-z0-9/.-]+  `, page)
	for _, heading := range []string{"interfaces", "round trips", "packets from other machines to 127.0.0.1", "localhost", `loopback.Listen("tcp", ":0")`} {
		assert.Contains(t, page, "\n\n"+heading+"\n")
	}
	assert.NotContains(t, page, "\x1b")
	assert.False(t, strings.HasSuffix(page, "\n\n"))

	code, data, stderr := doctor(t, "", "-json")
	assert.Equal(t, 0, code)
	assert.Empty(t, stderr)
	assert.Equal(t, []string{"listen", "machine"}, keys(t, data))
}

// keys returns the names of the fields of a JSON object.
func keys(t *testing.T, data string) []string {
	t.Helper()
	var fields map[string]any
	require.NoError(t, json.Unmarshal([]byte(data), &fields), data)
	return slices.Sorted(maps.Keys(fields))
}

func TestPorts(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	port := strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
	code, page, stderr := doctor(t, "", "-port", port, "1")
	assert.Equal(t, 0, code)
	assert.Empty(t, stderr)
	assert.Contains(t, page, port)
	assert.Equal(t, 2, strings.Count("\n"+page, "\nlocalhost: "), page)
	assert.NotContains(t, page, "interfaces")

	_, data, _ := doctor(t, "", "-port", port, "-port", "1", "-json")
	var got struct{ Ports []struct{ Port int } }
	require.NoError(t, json.Unmarshal([]byte(data), &got))
	require.Len(t, got.Ports, 2)
	assert.Equal(t, port, strconv.Itoa(got.Ports[0].Port), "in the order of the questions")
	assert.Equal(t, []string{"ports"}, keys(t, data))
}

func TestNames(t *testing.T) {
	code, page, stderr := doctor(t, "", "-name", "127.0.0.1", "-name", "::1")
	assert.Equal(t, 0, code)
	assert.Empty(t, stderr)
	assert.Regexp(t, `(?s)^127\.0\.0\.1: .*\n\n::1: `, page)
	_, data, _ := doctor(t, "", "-json", "-name", "127.0.0.1")
	assert.Equal(t, []string{"names"}, keys(t, data))
}

func TestExplain(t *testing.T) {
	code, page, stderr := doctor(t, "127.1\r\n\n"+strings.Repeat("x", 1<<20)+"\nlast", "-explain", "::1", "-explain", "-", "-explain", "http://localhost/")
	assert.Equal(t, 0, code)
	assert.Empty(t, stderr)
	var quoted []string
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, `"`) && len(line) < 100 {
			quoted = append(quoted, strings.TrimSpace(line))
		}
	}
	assert.Equal(t, []string{`"::1"`, `"127.1"`, `""`, `"last"`, `"http://localhost/"`}, quoted)

	_, again, _ := doctor(t, "one\ntwo\n", "-explain", "::1", "-", "http://localhost/", "-name", "127.0.0.1")
	_, same, _ := doctor(t, "one\ntwo\n", "-name", "127.0.0.1", "-explain", "::1", "-explain", "-", "-explain", "http://localhost/")
	assert.Equal(t, same, again)

	code, data, _ := doctor(t, "", "-explain", "<127.0.0.1>", "-json")
	assert.Equal(t, 0, code)
	assert.Contains(t, data, `"input": "<127.0.0.1>"`)
	assert.Equal(t, []string{"explain"}, keys(t, data))

	_, data, _ = doctor(t, "", "-explain", "-", "-json")
	assert.JSONEq(t, `{"explain": []}`, data, "no lines")
	_, data, _ = doctor(t, "", "-name", "127.0.0.1", "-json")
	assert.Equal(t, []string{"names"}, keys(t, data), "no texts")

	// A step that were quadratic would take minutes here.
	_, page, _ = doctor(t, strings.Repeat("a b ", 1<<20), "-explain", "-")
	assert.Less(t, len(page), 5<<20)
	assert.Greater(t, strings.Count(page, "\n"), 1<<22/80)
}

// Nothing comes from a terminal, and somebody presses Ctrl-C.
func TestInterruptedInput(t *testing.T) {
	stdin, keyboard := io.Pipe()
	defer keyboard.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int)
	var stderr bytes.Buffer
	go func() { ended <- run(ctx, []string{"-explain", "-"}, stdin, io.Discard, &stderr, false) }()
	_, err := keyboard.Write([]byte("::1")) // it is reading
	require.NoError(t, err)
	cancel()
	assert.Equal(t, 1, <-ended)
	assert.Contains(t, stderr.String(), "canceled")
}

func TestFailures(t *testing.T) {
	var stderr bytes.Buffer
	code := run(t.Context(), []string{"-explain", "-"}, iotest.ErrReader(errors.New("unreadable")), &bytes.Buffer{}, &stderr, false)
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr.String(), "unreadable")

	for _, args := range [][]string{nil, {"-json"}, {"-explain", "::1"}} {
		stderr.Reset()
		code = run(t.Context(), args, strings.NewReader(""), failingWriter{}, &stderr, false)
		assert.Equal(t, 1, code, "%q", args)
		assert.Contains(t, stderr.String(), "no space", "%q", args)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range [][]string{nil, {"-name", "localhost"}, {"-port", "80"}} {
		stderr.Reset()
		var stdout bytes.Buffer
		code = run(ctx, args, strings.NewReader(""), &stdout, &stderr, false)
		assert.Equal(t, 1, code, "%q", args)
		assert.Contains(t, stderr.String(), "canceled", "%q", args)
		assert.Empty(t, stdout.String(), "%q", args)
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("no space") }

func TestColour(t *testing.T) {
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	t.Setenv("WT_SESSION", "1")
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	require.NoError(t, err)
	defer file.Close()
	assert.False(t, colour(file), "a file")
	if runtime.GOOS == "windows" || runtime.GOOS == "js" || runtime.GOOS == "wasip1" {
		t.Skip("no device file to take for a terminal")
	}
	device, err := os.Open(os.DevNull) // as good a character device as any
	require.NoError(t, err)
	defer device.Close()
	assert.True(t, colour(device), "a device")
	t.Setenv("NO_COLOR", "1")
	assert.False(t, colour(device), "NO_COLOR")
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "dumb")
	assert.False(t, colour(device), "a dumb terminal")
}

func TestPainted(t *testing.T) {
	page := "loopback: WIRE  let in\n  seen: x\n\nalso found\n  warn   A: b\n  info   C: d\n\nfacts\n  let in at  eth0\n"
	findings := []loopback.Finding{{Level: loopback.LevelWarn}, {Level: loopback.LevelError}}
	got := painted(page, loopback.VerdictWire, findings)
	assert.Equal(t, "loopback: \x1b[31mWIRE\x1b[0m  let in\n  seen: x\n\n\x1b[1malso found\x1b[0m\n\x1b[33m  warn\x1b[0m   A: b\n"+
		"  info   C: d\n\n\x1b[1mfacts\x1b[0m\n\x1b[31m  let in at\x1b[0m  eth0\n", got)
	assert.Equal(t, "x: \x1b[32mOK\x1b[0m  fine\n", painted("x: OK  fine\n", loopback.VerdictOK, nil))
	assert.Equal(t, "x: \x1b[1mCLOSED\x1b[0m  shut\n", painted("x: CLOSED  shut\n", loopback.VerdictClosed, nil))
}

func TestWrapped(t *testing.T) {
	long := "  " + strings.Repeat("word ", 30) + "end"
	for line := range strings.Lines(wrapped(long + "\nshort\n")) {
		assert.LessOrEqual(t, len(line), 81)
	}
	assert.Equal(t, strings.Fields(long), strings.Fields(wrapped(long)))
	unbroken := strings.Repeat("x", 200) + "\n"
	assert.Equal(t, unbroken, wrapped(unbroken))
	fix := "  fix: " + long + "\n"
	assert.Equal(t, fix, wrapped(fix))
}

func TestSeveralTexts(t *testing.T) {
	code, data, stderr := doctor(t, "from stdin\n", "-explain", "::1", "127.1", "-json", "-explain", "localhost", "-")
	require.Zero(t, code, stderr)
	var a struct{ Explain []struct{ Input string } }
	require.NoError(t, json.Unmarshal([]byte(data), &a))
	var inputs []string
	for _, e := range a.Explain {
		inputs = append(inputs, e.Input)
	}
	assert.Equal(t, []string{"::1", "127.1", "localhost", "from stdin"}, inputs)
}

// A mode that is not proved is said on every system.
func TestWhatIsNotProvedIsSaid(t *testing.T) {
	var b loopback.Binding
	require.NoError(t, json.Unmarshal([]byte(`{"network":"tcp4","addr":"127.0.0.1:80","ingress":"remote","bound":true}`), &b))
	b.Err = fmt.Errorf("ingress check: %w; not proved, nothing gets through: lo is down", errors.ErrUnsupported)
	l := &listening{Bindings: []loopback.Binding{b}}
	assert.Contains(t, l.String(), "; not proved, nothing gets through: lo is down")
}
