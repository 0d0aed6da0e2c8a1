package loopbackhttp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
	"example.com/loopback/loopbackhttp"
)

// The ways in which testdata/browser.html asks a server.
var ways = []string{"fetch", "form", "image", "iframe", "websocket"}

// A pageConfig is what testdata/browser.html is told.
type pageConfig struct {
	Wait    string   `json:"wait"`
	Report  string   `json:"report"`
	Targets []string `json:"targets"`
}

// A pageReport is what testdata/browser.html found.
type pageReport struct {
	Page   string          `json:"page"`
	Secure bool            `json:"secure"`
	Got    map[string]bool `json:"got"` // by target and way
}

// A browserTest is a set of servers, and what they and the pages saw.
type browserTest struct {
	one, other, attacker *loopback.Listener
	reports              chan pageReport

	unguarded, guarded http.Handler

	mu    sync.Mutex
	now   http.Handler      // what one serves, nil before the name is rebound
	asked map[string]string // "served" or "denied", by target and way
}

// newBrowserTest starts the servers: one, which is the attacker's until its name is
// rebound, other, which is guarded, and that of the attacker.
func newBrowserTest(t *testing.T) *browserTest {
	b := &browserTest{
		one: listen(t), other: listen(t), attacker: listen(t),
		reports: make(chan pageReport, 1), asked: make(map[string]string),
	}
	guard := &loopbackhttp.Guard{Hosts: []string{".localhost"}, OnDeny: func(r *http.Request, _ error) { b.note(r, "denied") }}
	b.unguarded = http.HandlerFunc(b.service)
	b.guarded = guard.Handler(b.unguarded)
	serveOn(t, &http.Server{Handler: b.guarded}, b.other)
	serveOn(t, &http.Server{Handler: http.HandlerFunc(b.attack)}, b.attacker)
	serveOn(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		now := b.now
		b.mu.Unlock()
		if now == nil {
			w.Header().Set("Connection", "close") // the service has connections of its own
			now = http.HandlerFunc(b.attack)
		}
		now.ServeHTTP(w, r)
	})}, b.one)
	for _, ln := range []*loopback.Listener{b.one, b.other, b.attacker} {
		if len(ln.AddrPorts()) < 2 {
			t.Skipf("needs both families: %v", ln.Bindings())
		}
	}
	return b
}

// at returns the URL of a server under a name.
func at(name string, ln *loopback.Listener) string {
	return fmt.Sprintf("http://%s:%d", name, ln.Port())
}

func (b *browserTest) note(r *http.Request, outcome string) {
	if asked := r.URL.Query().Get("asked"); asked != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.asked[asked] = outcome
	}
}

// rebind makes h the server behind the name and the port of one.
func (b *browserTest) rebind(h http.Handler) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = h
}

// attack serves the pages of evil.example.
func (b *browserTest) attack(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	config := pageConfig{Report: at("evil.example", b.attacker) + "/report", Targets: []string{
		at("evil.example", b.other), at("127.0.0.1", b.other), at("localhost", b.other),
	}}
	switch r.URL.Path {
	case "/unguarded":
		config.Wait = at("evil.example", b.attacker) + "/rebind/unguarded"
		config.Targets = []string{at("evil.example", b.one)}
		writePage(w, config)
	case "/guarded":
		config.Wait = at("evil.example", b.attacker) + "/rebind/guarded"
		config.Targets = append([]string{at("evil.example", b.one)}, config.Targets...)
		writePage(w, config)
	case "/public":
		writePage(w, config)
	case "/rebind/unguarded":
		b.rebind(b.unguarded)
	case "/rebind/guarded":
		b.rebind(b.guarded)
	case "/report":
		b.report(w, r)
	default:
		http.NotFound(w, r)
	}
}

// service is what the Guard protects.
func (b *browserTest) service(w http.ResponseWriter, r *http.Request) {
	b.note(r, "served")
	switch r.URL.Path {
	case "/":
		config := pageConfig{Report: "/report", Targets: []string{}}
		if r.Host == strings.TrimPrefix(at("localhost", b.one), "http://") {
			config.Targets = []string{at("localhost", b.one), at("127.0.0.1", b.one), at("localhost", b.other)}
		}
		writePage(w, config)
	case "/report":
		b.report(w, r)
	case "/image":
		w.Header().Set("Content-Type", "image/svg+xml")
		io.WriteString(w, `<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>`)
	case "/websocket":
		acceptWebSocket(w, r)
	case "/fetch", "/form", "/iframe":
		io.WriteString(w, "the secret of the server")
	default:
		http.NotFound(w, r)
	}
}

func writePage(w http.ResponseWriter, config pageConfig) {
	page, err := os.ReadFile("testdata/browser.html")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	text, err := json.Marshal(config)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	io.WriteString(w, strings.Replace(string(page), "CONFIG;", string(text)+";", 1))
}

// report takes a report, and answers with the page to go to next.
func (b *browserTest) report(w http.ResponseWriter, r *http.Request) {
	var report pageReport
	if err := json.NewDecoder(r.Body).Decode(&report); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	names := []string{"localhost", "127.0.0.1", "[::1]", "app.localhost"}
	for i, name := range names[:len(names)-1] {
		if report.Page == at(name, b.one) {
			io.WriteString(w, at(names[i+1], b.one)+"/")
		}
	}
	b.reports <- report
}

// A chromium is a program, and the arguments that every run of it has.
type chromium struct {
	path, version string
	args          []string
}

// findChromium skips the test where no Chromium works.
func findChromium(t *testing.T) chromium {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		out, err := exec.CommandContext(t.Context(), path, "--version").Output()
		if err != nil {
			t.Skipf("needs a %s that works: %v", name, err)
		}
		dir, err := os.MkdirTemp("", "browser")
		require.NoError(t, err)
		t.Cleanup(func() { os.RemoveAll(dir) }) // what its last processes write to it stays
		c := chromium{path: path, version: string(out), args: []string{
			"--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
			"--no-first-run", "--disable-quic", "--no-proxy-server", "--user-data-dir=" + dir, "--host-resolver-rules=MAP evil.example 127.0.0.1",
		}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if out, err := exec.CommandContext(ctx, path, append(c.args, "--dump-dom", "about:blank")...).CombinedOutput(); err != nil {
			t.Skipf("needs a %s that works: %v\n%s", name, err, out)
		}
		return c
	}
	t.Skip("needs chromium")
	return chromium{}
}

// browse opens a page until it and those that follow have sent n reports.
func (b *browserTest) browse(t *testing.T, c chromium, n int, url string, args ...string) (reports []pageReport) {
	t.Helper()
	b.mu.Lock()
	clear(b.asked)
	b.mu.Unlock()
	cmd := exec.Command(c.path, append(append(args, c.args...), url)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it has many processes
	var stderr strings.Builder
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	timeout := time.After(2 * time.Minute)
	for len(reports) < n {
		select {
		case report := <-b.reports:
			reports = append(reports, report)
		case err := <-ended:
			require.Fail(t, "the browser ended", "%v\n%s", err, &stderr)
		case <-timeout:
			assert.Fail(t, "the page does not report", "%v\n%s", reports, &stderr)
			n = 0
		}
	}
	require.NoError(t, syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL))
	<-ended
	require.NotZero(t, n)
	return reports
}

// row returns what became of the attempts of a page on a target, as a row of the
// table in docs/browser.md. The page must have got what was served and no more.
func (b *browserTest) row(t *testing.T, report pageReport, target string) string {
	t.Helper()
	name := func(url string) string {
		return strings.NewReplacer(fmt.Sprint(":", b.one.Port()), ":A", fmt.Sprint(":", b.other.Port()), ":B",
			fmt.Sprint(":", b.attacker.Port()), ":C").Replace(url)
	}
	cells := []string{name(report.Page), name(target)}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, way := range ways {
		asked := target + " " + way
		got, ok := report.Got[asked]
		assert.True(t, ok, "%s: not tried", asked)
		outcome := b.asked[asked]
		assert.Equal(t, outcome == "served", got, "%s: %s", asked, outcome)
		if outcome == "" {
			outcome = "not sent"
		}
		cells = append(cells, outcome)
	}
	return "| " + strings.Join(cells, " | ") + " |"
}

// A page of evil.example gets nothing from a guarded server, whether its own name
// leads there or it asks for loopback. A page of the server gets everything. The
// tables of docs/browser.md are what this run finds.
func TestBrowser(t *testing.T) {
	switch {
	case testing.Short():
		t.Skip("takes seconds: not with -short")
	case os.Getenv("LOOPBACK_TEST_EMULATED") != "":
		t.Skip("Chromium is a program of another processor")
	}
	c := findChromium(t)
	t.Log(c.version)
	text, err := os.ReadFile("../docs/browser.md")
	require.NoError(t, err)
	doc := string(text)
	assert.Regexp(t, regexp.MustCompile(`Chromium [0-9]+(\.[0-9]+){3}`), doc)
	b := newBrowserTest(t)
	rows := func(report pageReport, targets ...string) (table string) {
		for _, target := range targets {
			table += b.row(t, report, target) + "\n"
		}
		return table
	}
	others := []string{at("evil.example", b.other), at("127.0.0.1", b.other), at("localhost", b.other)}

	t.Run("a page at a public address", func(t *testing.T) {
		public := fmt.Sprintf("--ip-address-space-overrides=127.0.0.1:%d=public", b.attacker.Port())
		report := b.browse(t, c, 1, at("evil.example", b.attacker)+"/public", public)[0]
		assert.Contains(t, doc, rows(report, others...))
	})
	t.Run("rebinding without a Guard", func(t *testing.T) {
		b.rebind(nil)
		report := b.browse(t, c, 1, at("evil.example", b.one)+"/unguarded")[0]
		assert.Contains(t, doc, rows(report, at("evil.example", b.one)))
	})
	t.Run("rebinding", func(t *testing.T) {
		b.rebind(nil)
		report := b.browse(t, c, 1, at("evil.example", b.one)+"/guarded")[0]
		table := rows(report, append([]string{at("evil.example", b.one)}, others...)...)
		assert.NotContains(t, table, "served")
		assert.Contains(t, doc, table)
	})
	t.Run("the server's own page", func(t *testing.T) {
		b.rebind(b.guarded)
		reports := b.browse(t, c, 4, at("localhost", b.one)+"/")
		table := rows(reports[0], at("localhost", b.one), at("127.0.0.1", b.one), at("localhost", b.other))
		assert.Contains(t, doc, table)
		table = ""
		for _, report := range reports {
			u, err := url.Parse(report.Page)
			require.NoError(t, err)
			secure := map[bool]string{true: "yes", false: "no"}[report.Secure]
			table += fmt.Sprintf("| http://%s | %s |\n", strings.TrimSuffix(u.Host, ":"+u.Port()), secure)
		}
		assert.Contains(t, doc, table)
	})
}
