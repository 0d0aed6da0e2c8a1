package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// asProgram makes the test binary the program itself.
const asProgram = "DEVSERVER_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	m.Run()
}

// A server is the program, running.
type server struct {
	url, port string
	bindings  []string
	stop      func() (code int) // interrupts it
}

// start starts the program until the end of the test.
func start(t *testing.T, args ...string) server {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	if err := cmd.Start(); err != nil {
		cancel()
		t.Skipf("needs to start itself: %v", err)
	}
	t.Cleanup(func() { cancel(); cmd.Wait() })

	lines := bufio.NewScanner(stdout)
	require.True(t, lines.Scan(), "%s", &stderr)
	s := server{url: lines.Text()}
	host, ok := strings.CutPrefix(s.url, "http://")
	require.True(t, ok, s.url)
	_, s.port, err = net.SplitHostPort(host)
	require.NoError(t, err)
	for range 2 {
		require.True(t, lines.Scan(), "%s", &stderr)
		s.bindings = append(s.bindings, lines.Text())
	}
	s.stop = func() int {
		require.NoError(t, cmd.Process.Signal(os.Interrupt))
		err := cmd.Wait()
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			return exit.ExitCode()
		}
		require.NoError(t, err)
		return 0
	}
	return s
}

// command runs a client and returns what it printed. The test is skipped where
// none of the programs is installed, or the one that is cannot even do what idle
// asks of it, without the server.
func command(t *testing.T, programs, idle []string, args ...string) string {
	t.Helper()
	for _, program := range programs {
		path, err := exec.LookPath(program)
		if err != nil {
			continue
		}
		out, stderr, err := output(t, path, args)
		if err != nil {
			if out, stderr, err := output(t, path, idle); err != nil {
				t.Skipf("needs a %s that works: %v\n%s\n%s", program, err, out, stderr)
			}
		}
		require.NoError(t, err, "%s\n%s", out, stderr)
		return out
	}
	t.Skipf("needs %s", strings.Join(programs, " or "))
	return ""
}

func output(t *testing.T, path string, args []string) (stdout, stderr string, err error) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// localhost skips the test where this machine's localhost is not loopback.
func localhost(t *testing.T) {
	t.Helper()
	addrs, err := net.DefaultResolver.LookupNetIP(t.Context(), "ip", "localhost")
	for _, addr := range addrs {
		if !addr.Unmap().IsLoopback() {
			err = errors.Join(err, fmt.Errorf("it is %v", addr))
		}
	}
	if err != nil {
		t.Skipf("needs a localhost that is loopback: %v", err)
	}
}

func both(t *testing.T, s server) {
	t.Helper()
	if strings.Contains(strings.Join(s.bindings, "\n"), "not bound") {
		t.Skipf("needs both families: %q", s.bindings)
	}
}

func TestClients(t *testing.T) {
	s := start(t, "-addr", ":0")
	t.Run("bindings", func(t *testing.T) {
		both(t, s)
		assert.Equal(t, "http://localhost:"+s.port, s.url)
		assert.True(t, strings.HasPrefix(s.bindings[0], "  tcp4 127.0.0.1:"+s.port+" (ingress "), s.bindings[0])
		assert.True(t, strings.HasPrefix(s.bindings[1], "  tcp6 [::1]:"+s.port+" (ingress "), s.bindings[1])
	})
	t.Run("net/http", func(t *testing.T) {
		localhost(t)
		resp, err := http.Get(s.url)
		require.NoError(t, err)
		defer resp.Body.Close()
		out, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		assert.Regexp(t, `^IPv[46] from `, string(out))
	})
	t.Run("other host", func(t *testing.T) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url, nil)
		require.NoError(t, err)
		r.URL.Host = strings.Fields(s.bindings[0])[1]
		r.Host = "evil.example"
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		assert.Equal(t, http.StatusForbidden, resp.StatusCode)
	})
	curl := func(t *testing.T, args ...string) string {
		return command(t, []string{"curl"}, []string{"--version"}, append(args, "-sS", "-f", "--noproxy", "*", "--max-time", "30")...)
	}
	t.Run("curl -4", func(t *testing.T) {
		both(t, s)
		out := curl(t, "-4", "--resolve", "localhost:"+s.port+":127.0.0.1", s.url)
		assert.Regexp(t, `^IPv4 from 127\.0\.0\.1:\d+ to 127\.0\.0\.1:`+s.port+", asking for localhost:"+s.port+"\n$", out)
	})
	t.Run("curl -6", func(t *testing.T) {
		both(t, s)
		out := curl(t, "-6", "--resolve", "localhost:"+s.port+":[::1]", s.url)
		assert.Regexp(t, `^IPv6 from \[::1\]:\d+ to \[::1\]:`+s.port+", asking for localhost:"+s.port+"\n$", out)
	})
	t.Run("curl localhost", func(t *testing.T) {
		localhost(t)
		assert.Regexp(t, `^IPv[46] from `, curl(t, "localhost:"+s.port))
	})
	t.Run("node", func(t *testing.T) {
		both(t, s)
		localhost(t)
		out := command(t, []string{"node"}, []string{"--version"}, "-e", fmt.Sprintf("require('http').get(%q, r => r.pipe(process.stdout))", s.url))
		assert.Regexp(t, `^IPv[46] from .*, asking for localhost:`+s.port+"\n$", out)
	})
	t.Run("chromium", func(t *testing.T) {
		both(t, s)
		if testing.Short() {
			t.Skip("takes seconds: not with -short")
		}
		dir, err := os.MkdirTemp("", "devserver")
		require.NoError(t, err)
		t.Cleanup(func() { os.RemoveAll(dir) }) // what its last processes write to it stays
		browse := func(url string) []string {
			return []string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
				"--disable-sync", "--no-first-run", "--disable-quic", "--no-proxy-server", "--user-data-dir=" + dir, "--dump-dom", url}
		}
		out := command(t, []string{"chromium", "chromium-browser", "google-chrome"}, browse("about:blank"), browse(s.url)...)
		assert.Regexp(t, `<h1>This request came by IPv[46]</h1>`, out)
		assert.Contains(t, out, "<dd>localhost:"+s.port+"</dd>")
	})
	t.Run("interrupt", func(t *testing.T) {
		if runtime.GOOS == "windows" {
			t.Skip("needs a signal that asks for an end")
		}
		assert.Equal(t, 0, s.stop())
		_, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", s.port), 10*time.Second)
		require.Error(t, err)
	})
}

// A browser gets a page, in which nothing of the request is markup.
func TestShow(t *testing.T) {
	request := func(accept string) *httptest.ResponseRecorder {
		ctx := context.WithValue(t.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 3000})
		r := httptest.NewRequestWithContext(ctx, "GET", "/", nil)
		r.RemoteAddr = "127.0.0.1:5000"
		r.Header.Set("Accept", accept)
		r.Header.Set("User-Agent", "<script>alert(1)</script>")
		w := httptest.NewRecorder()
		show(w, r)
		return w
	}
	w := request("text/html,application/xhtml+xml,*/*;q=0.8")
	assert.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"))
	assert.Contains(t, w.Body.String(), "This request came by IPv4")
	assert.NotContains(t, w.Body.String(), "<script>")
	w = request("*/*")
	assert.Equal(t, "text/plain; charset=utf-8", w.Header().Get("Content-Type"))
	assert.Equal(t, "IPv4 from 127.0.0.1:5000 to 127.0.0.1:3000, asking for example.com\n", w.Body.String())
}

// program runs the program in this process, for calls that end.
func program(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"-nonsense"}, {"argument"}} {
		code, stdout, stderr := program(t, args...)
		assert.Equal(t, 2, code, "%q", args)
		assert.Empty(t, stdout, "%q", args)
		assert.Contains(t, stderr, "usage: devserver", "%q", args)
	}
	code, _, stderr := program(t, "-h")
	assert.Equal(t, 0, code)
	assert.Contains(t, stderr, "exit status")
}

func TestCannotListen(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", "example.com:80", "localhost", "[::1]:http:"} {
		code, stdout, stderr := program(t, "-addr", addr)
		assert.Equal(t, 1, code, "%q", addr)
		assert.Empty(t, stdout, "%q", addr)
		assert.Contains(t, stderr, "devserver: listen tcp", "%q", addr)
	}
}

// One address has a URL of its own: localhost might be the other.
func TestOneAddress(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // it listens and ends
	var out bytes.Buffer
	require.NoError(t, serve(ctx, "127.0.0.1:0", &out))
	assert.Regexp(t, `^http://127\.0\.0\.1:\d+\n  tcp4 127\.0\.0\.1:\d+ \(ingress `, out.String())
}
