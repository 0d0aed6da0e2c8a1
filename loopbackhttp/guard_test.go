package loopbackhttp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback/loopbackhttp"
)

// Every row of the tables holds through a server of net/http, in each version of
// HTTP, and the reason for a denial stays out of the response.
func TestTables(t *testing.T) {
	rows := append(readRows(t, "host_headers.tsv"), readRows(t, "host_headers_more.tsv")...)
	require.Greater(t, len(rows), 240)
	var current atomic.Pointer[row] // one request at a time
	denials := make(chan error, 1)
	server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		guard := &loopbackhttp.Guard{
			Hosts: current.Load().guard.Hosts, Origins: current.Load().guard.Origins,
			OnDeny: func(_ *http.Request, err error) { denials <- err },
		}
		guard.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, served)
		})).ServeHTTP(w, r)
	}), func() net.Addr { return current.Load().local })

	for _, r := range rows {
		current.Store(&r)
		for _, protocol := range []string{"HTTP/1.0", "HTTP/1.1", "HTTP/2"} {
			if r.only != "" && r.only != protocol || r.message.method == http.MethodHead { // TestHead
				continue
			}
			name := fmt.Sprintf("%s %s %+v", r.name, protocol, r.message)
			answer := r.message.exchange(t, protocol, server)
			select {
			case err := <-denials: // before the response
				assert.False(t, r.allow, "%s: %v", name, err)
				assert.ErrorIs(t, err, loopbackhttp.ErrDenied, name)
				assert.True(t, bytes.HasSuffix(answer, []byte("Forbidden\n")), "%s: %q", name, answer)
			default: // served, or denied by net/http
				assert.Equal(t, r.allow, bytes.HasSuffix(answer, []byte(served)), "%s: %q", name, answer)
			}
			if !r.allow {
				assert.NotContains(t, string(answer), served, name)
			}
		}
	}
}

// Check agrees with the tables, and with the slow reading of the rules on them.
func TestCheckTables(t *testing.T) {
	for _, r := range append(readRows(t, "host_headers.tsv"), readRows(t, "host_headers_more.tsv")...) {
		request := r.request()
		err := r.guard.Check(request)
		assert.Equal(t, r.allow, err == nil, "%s: %v", r.name, err)
		assert.Equal(t, r.allow, slowCheck(r.guard, request), "%s: the oracle", r.name)
	}
}

// request returns the request of r as net/http would make it.
func (r row) request() *http.Request {
	request := &http.Request{Method: r.message.method, Header: http.Header{}}
	if r.message.host != nil {
		request.Host = *r.message.host
	}
	for _, h := range r.message.headers {
		request.Header.Add(h.name, h.value)
	}
	return request.WithContext(context.WithValue(context.Background(), http.LocalAddrContextKey, r.local))
}

// All combinations of what a request can say are judged as the rules read.
func TestCheckCombinations(t *testing.T) {
	hosts := []string{"localhost:8080", "[::1]:80", "App.Example.com:1", "evil.example"}
	values := func(name string, values ...string) (sets [][]header) {
		sets = append(sets, nil)
		for i, v := range values {
			sets = append(sets, []header{{name, v}})
			if i == 0 {
				sets = append(sets, []header{{name, v}, {name, v}})
			}
		}
		return sets
	}
	origins := values("Origin", "http://localhost:8080", "null", "", "http://[::1]:80", "http://app.example.com:1",
		"http://front.example:3000", "http://evil.example")
	sites := values("Sec-Fetch-Site", "none", "cross-site", "same-origin", "same-site", "")
	modes := values("Sec-Fetch-Mode", "navigate", "cors")
	dests := values("Sec-Fetch-Dest", "document", "iframe")
	others := values("Sec-Fetch-User", "?1")
	guards := []*loopbackhttp.Guard{{}, {Hosts: []string{".example.com", ".localhost"}, Origins: []string{"http://front.example:3000"}}}
	n, passed := 0, 0
	for _, method := range []string{"GET", "HEAD", "POST"} {
		for _, host := range hosts {
			for _, origin := range origins {
				for _, site := range sites {
					for _, mode := range modes {
						for _, dest := range dests {
							for _, other := range others {
								r := &http.Request{Method: method, Host: host, Header: http.Header{}}
								for _, h := range slices.Concat(origin, site, mode, dest, other) {
									r.Header.Add(h.name, h.value)
								}
								for _, guard := range guards {
									err := guard.Check(r)
									want := slowCheck(guard, r)
									if (err == nil) != want {
										t.Fatalf("%s %q %v: %v, want %v", method, host, r.Header, err, want)
									}
									n++
									if want {
										passed++
									}
								}
							}
						}
					}
				}
			}
		}
	}
	assert.Greater(t, n, 50_000)
	assert.Greater(t, passed, n/100)
}

// A response to HEAD has no body to tell by.
func TestHead(t *testing.T) {
	reached := 0
	h := new(loopbackhttp.Guard).Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ }))
	r := httptest.NewRequest(http.MethodHead, "http://localhost/", nil)
	for name, value := range map[string]string{"Site": "cross-site", "Mode": "navigate", "Dest": "document"} {
		r.Header.Set("Sec-Fetch-"+name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	assert.Equal(t, 1, reached)
	r.Header.Set("Sec-Fetch-Dest", "image")
	w = httptest.NewRecorder()
	h.ServeHTTP(w, r)
	assert.Equal(t, 1, reached)
	assert.Equal(t, http.StatusForbidden, w.Code)
}

// The Host header of a request whose target is absolute does not count: RFC 9112,
// section 3.2.2.
func TestAbsoluteTarget(t *testing.T) {
	server := serve(t, new(loopbackhttp.Guard).Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, served)
	})), func() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} })
	for _, protocol := range []string{"HTTP/1.0", "HTTP/1.1"} {
		good, evil := "localhost", "evil.example"
		answer := message{method: "GET", target: "http://evil.example/", host: &good}.exchange(t, protocol, server)
		assert.Contains(t, string(answer), "403 Forbidden")
		answer = message{method: "GET", target: "http://localhost/", host: &evil}.exchange(t, protocol, server)
		assert.Contains(t, string(answer), served)
	}
}

// An oddAddr is an address of a connection that is no socket.
type oddAddr struct{ network, text string }

func (a oddAddr) Network() string { return a.network }
func (a oddAddr) String() string  { return a.text }

func TestLocalAddress(t *testing.T) {
	var (
		noTCP  *net.TCPAddr
		noUnix *net.UnixAddr
		noOdd  *oddAddr
	)
	for _, test := range []struct {
		local any
		allow bool
	}{
		{local: nil, allow: true},
		{local: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, allow: true},
		{local: &net.TCPAddr{IP: net.IPv4(127, 3, 2, 1).To4()}, allow: true},
		{local: &net.TCPAddr{IP: net.IPv6loopback, Zone: "lo"}, allow: true},
		{local: &net.UDPAddr{IP: net.IPv6loopback}, allow: true}, // HTTP/3
		{local: &net.UnixAddr{Net: "unix", Name: "@socket"}, allow: true},
		{local: oddAddr{"unix", "socket"}, allow: true},
		{local: oddAddr{"tcp", "127.0.0.1:80"}, allow: true},
		{local: oddAddr{"tcp", "[::1]:80"}, allow: true},
		{local: oddAddr{"tcp", "192.0.2.1:80"}},
		{local: oddAddr{"tcp", "localhost:80"}},
		{local: oddAddr{"", ""}},
		{local: oddAddr{"vsock", "host(2):80"}},
		{local: &net.TCPAddr{}},
		{local: &net.TCPAddr{IP: net.IP{127, 0, 0}}},
		{local: &net.TCPAddr{IP: net.IPv4zero}},
		{local: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}},
		{local: &net.UDPAddr{IP: net.IPv6zero}},
		{local: noTCP},
		{local: noUnix},
		{local: noOdd},
		{local: struct{ net.Addr }{}},
		{local: "127.0.0.1:80"},
		{local: 80},
	} {
		r := httptest.NewRequest(http.MethodGet, "http://localhost/", nil)
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, test.local))
		err := new(loopbackhttp.Guard).Check(r)
		assert.Equal(t, test.allow, err == nil, "%#v: %v", test.local, err)
		if !test.allow {
			checkError(t, err)
			assert.ErrorContains(t, err, "local address", "%#v", test.local)
		}
	}
}

// A connection that is no socket is served or denied, and never crashes the server.
func TestNoSocket(t *testing.T) {
	client, conn := net.Pipe() // its address is "pipe"
	ln := &oneConn{conn: conn}
	server := new(loopbackhttp.Guard).Server(http.NotFoundHandler())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ln) }()
	io.WriteString(client, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	answer, err := io.ReadAll(client)
	require.NoError(t, err)
	assert.Contains(t, string(answer), "403 Forbidden")
	assert.ErrorIs(t, <-ended, io.EOF)
}

// oneConn is a listener with one connection.
type oneConn struct{ conn net.Conn }

func (l *oneConn) Accept() (net.Conn, error) {
	if l.conn == nil {
		return nil, io.EOF
	}
	conn := l.conn
	l.conn = nil
	return conn, nil
}
func (l *oneConn) Close() error   { return nil }
func (l *oneConn) Addr() net.Addr { return oddAddr{"pipe", "pipe"} }

// checkError checks what Check promises of every error.
func checkError(t testing.TB, err error) {
	t.Helper()
	if !assert.ErrorIs(t, err, loopbackhttp.ErrDenied) {
		return
	}
	text := err.Error()
	assert.True(t, strings.HasPrefix(text, "loopbackhttp: request denied: "), "%q", text)
	assert.Less(t, len(text), 1000)
	assert.NotContains(t, strings.Map(func(c rune) rune {
		if unicode.IsControl(c) || !unicode.IsPrint(c) {
			return 0
		}
		return c
	}, text), "\x00", "%q", text)
}

// The error names what is wrong, and quotes it.
func TestErrors(t *testing.T) {
	denied := func(guard *loopbackhttp.Guard, host string, headers ...string) string {
		r := &http.Request{Method: http.MethodPost, Host: host, Header: http.Header{}}
		for i := 0; i < len(headers); i += 2 {
			r.Header.Add(headers[i], headers[i+1])
		}
		err := guard.Check(r)
		checkError(t, err)
		return strings.TrimPrefix(err.Error(), "loopbackhttp: request denied: ")
	}
	guard := new(loopbackhttp.Guard)
	assert.Equal(t, `Host "evil.example": neither loopback nor listed`, denied(guard, "evil.example"))
	assert.Equal(t, `Host "a\x00\r\n\x1b[1m": neither loopback nor listed`, denied(guard, "a\x00\r\n\x1b[1m"))
	assert.Equal(t, `Host "\u202e\u0085\xff": neither loopback nor listed`, denied(guard, "\u202e\u0085\xff"))
	assert.Equal(t, `Host "`+strings.Repeat("a", 64)+`"...: neither loopback nor listed`, denied(guard, strings.Repeat("a", 1<<20)))
	for cut, want := range map[string]string{ // before a character that 64 bytes cut, if it is one
		strings.Repeat("a", 63) + "éa": strings.Repeat("a", 63),
		strings.Repeat("a", 62) + "éa": strings.Repeat("a", 62) + "é",
		strings.Repeat("a", 62) + "世a": strings.Repeat("a", 62),
		strings.Repeat("a", 61) + "🙂a": strings.Repeat("a", 61),
		strings.Repeat("a", 60) + "🙂a": strings.Repeat("a", 60) + "🙂",
		strings.Repeat("\x80", 65):     strings.Repeat(`\x80`, 60),
		strings.Repeat("a", 64):        "",
		strings.Repeat("a", 63) + "é":  strings.Repeat("a", 63),
		strings.Repeat("é", 33):        strings.Repeat("é", 32),
	} {
		quoted := `"` + want + `"...`
		if want == "" {
			quoted = `"` + cut + `"`
		}
		assert.Equal(t, `Host `+quoted+`: neither loopback nor listed`, denied(guard, cut))
	}
	assert.Equal(t, `Origin "null": neither the Host's own nor listed`, denied(guard, "localhost", "Origin", "null"))
	assert.Equal(t, `Sec-Fetch-Site "cross-site": sent by a page of another origin`, denied(guard, "localhost", "Sec-Fetch-Site", "cross-site"))
	assert.Equal(t, `Origin is repeated`, denied(guard, "localhost", "Origin", "null", "Origin", "null"))
	for _, name := range []string{"Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest", "Sec-Fetch-User", "Sec-Fetch-Storage-Access"} {
		assert.Equal(t, name+" is repeated", denied(guard, "localhost", name, "a", name, "a"))
		one := []string{"Accept", "*/*", "Cookie", "a"} // beside one of each other
		for _, other := range []string{"Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest", "Sec-Fetch-User", "Sec-Fetch-Storage-Access"} {
			one = append(one, other, "same-origin")
		}
		assert.Equal(t, name+" is repeated", denied(guard, "localhost", append(one, name, "same-origin")...))
	}
	long := "Sec-Fetch-" + strings.Repeat("a", 2000)
	assert.Equal(t, `Sec-Fetch-Dest is repeated`, denied(guard, "localhost", "Sec-Fetch-Dest", "a", "Sec-Fetch-Dest", "b", long, "a", long, "b"))
	assert.Equal(t, `Guard.Hosts: entry "a:80": has a port`, denied(&loopbackhttp.Guard{Hosts: []string{"a:80"}}, "localhost"))
	wildcard := &http.Request{Host: "localhost"}
	wildcard = wildcard.WithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 80}))
	assert.EqualError(t, guard.Check(wildcard), `loopbackhttp: request denied: local address "192.0.2.1:80": not loopback`)
	err := guard.Check(nil)
	checkError(t, err)
	assert.ErrorContains(t, err, "request is nil")
	assert.NoError(t, guard.Check(&http.Request{Host: "localhost"})) // no URL, no Header, no context
}

// OnDeny has the request and the reason before the client has the response, and
// is not called for what passes, or by Check.
func TestOnDeny(t *testing.T) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "http://evil.example/", nil)
	calls := 0
	guard := &loopbackhttp.Guard{OnDeny: func(got *http.Request, err error) {
		calls++
		assert.Same(t, r, got)
		assert.Empty(t, w.Body.String())
		checkError(t, err)
	}}
	h := guard.Handler(http.NotFoundHandler())
	h.ServeHTTP(w, r)
	assert.Equal(t, 1, calls)
	assert.Equal(t, http.StatusForbidden, w.Code)
	assert.Equal(t, "Forbidden\n", w.Body.String())
	assert.Equal(t, http.Header{"Content-Type": {"text/plain; charset=utf-8"}, "X-Content-Type-Options": {"nosniff"}}, w.Header())
	require.Error(t, guard.Check(r))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "http://localhost/", nil))
	assert.Equal(t, 1, calls)
}

// A malformed list is a panic that names the entry, and denies all.
func TestMalformedLists(t *testing.T) {
	check := func(guard *loopbackhttp.Guard, list, entry, reason string) {
		t.Helper()
		quoted := strconv.Quote(entry)
		if len(entry) > 64 {
			quoted = strconv.Quote(entry[:64]) + "..."
		}
		want := "Guard." + list + ": entry " + quoted + ": " + reason
		for _, use := range []func(){
			func() { guard.Handler(http.NotFoundHandler()) },
			func() { guard.Handler(nil) },
			func() { guard.Server(nil) },
		} {
			assert.PanicsWithValue(t, "loopbackhttp: "+want, use)
		}
		r := httptest.NewRequest(http.MethodGet, "http://localhost/", nil)
		assert.EqualError(t, guard.Check(r), "loopbackhttp: request denied: "+want)
		unix := r.WithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, &net.UnixAddr{Net: "unix"}))
		checkError(t, guard.Check(unix))
	}
	for reason, entries := range map[string][]string{
		"has a port":                          {"app.example.com:8080", "app.example.com:", ":8080", ":", "192.0.2.1:80", "[2001:db8::1]:80", "[2001:db8::1", "a:0", "a:9"},
		"has a zone":                          {"fe80::1%eth0", "[fe80::1%eth0]"},
		"has brackets around an IPv4 address": {"[192.0.2.1]"},
		"neither a host name nor an IP address": {
			"", ".", "..", "a..b", ".a..b", "..example.com", "*", "*.example.com", ".*.example.com",
			"http://app.example.com", "app.example.com/", "app.example.com/path", "user@app.example.com", "app example.com", " app.example.com",
			"app.example.com\n", "-a.example.com", "a-.example.com", "bücher.example", "a,b", "192.0.2.1.", "192.0.2.256", "192.0.2.01",
			"192.0.2.0/24", "127.1", "0x7f.1", "a.0x1f", "a.0X1F", "2130706433", "0", "9", "a.0", "a.9.", ".1", "2001:db8::1]", "[[2001:db8::1]]",
			"2001:db8::1.", "[app.example.com]", "[]", "[", "]", "2001:db8::/32", "a@b", "a`b", "a[b", "a{b", "a/b", "a;b", "a^b", "-", "a.-", strings.Repeat("a", 64) + ".example",
			strings.Repeat("a.", 126) + "ab", strings.Repeat("a.", 130) + "b", "null\x00",
		},
	} {
		for _, entry := range entries {
			check(&loopbackhttp.Guard{Hosts: []string{"app.example.com", entry, "*"}}, "Hosts", entry, reason)
		}
	}
	for _, entry := range []string{
		"", "null", "*", "localhost", "localhost:3000", "//localhost", "http:", "http:localhost", "http://", "http:///", "http://:80", "http://localhost/",
		"http://localhost?", "http://localhost#", "http://localhost?q", "http://localhost#f", "http://localhost:", "http://localhost:port",
		"http://user@localhost", "http://@localhost", "http://*.example.com", "http://*", "http://local host", " http://localhost", "http://localhost\n",
		"http://bücher.example", "http://\u0080", "http://[::1", "http://::1", "http://[fe80::1%25eth0]", "http://a%41", "file://", "file:///", "data:", "blob:http://localhost", "1http://localhost",
		"http://a,http://b", "http://a http://b", "app://localhost::3000",
	} {
		check(&loopbackhttp.Guard{Hosts: []string{"a"}, Origins: []string{"http://localhost:3000", entry, "*"}}, "Origins", entry, `not a scheme, "://" and a host, with a port or without`)
	}
}

func TestLists(t *testing.T) {
	for _, entry := range []string{
		"app.example.com", "APP.example.com", "app.example.com.", ".example.com", ".example.com.", ".localhost", "localhost", "a", "my_app", "xn--bcher-kva.example",
		"az.AZ.09.a-z",
		"192.0.2.1", "127.0.0.1", "2001:db8::1", "[2001:db8::1]", "::1", "::ffff:192.0.2.1", "0.0.0.0", "::", "1.example", strings.Repeat("a", 63),
		strings.Repeat("a.", 126) + "a", strings.Repeat("a.", 126) + "a.", "." + strings.Repeat("a.", 126) + "a",
	} {
		assert.NotPanics(t, func() { (&loopbackhttp.Guard{Hosts: []string{entry}}).Handler(nil) }, "%q", entry)
	}
	for _, entry := range []string{
		"http://localhost:3000", "https://app.example.com", "app://obsidian.md", "app://-", "chrome-extension://abcdef", "moz-extension://0a-1b",
		"http://[::1]:3000", "http://127.0.0.1", "vscode-webview://x", "tauri://localhost", "http://my_app",
	} {
		guard := &loopbackhttp.Guard{Origins: []string{entry}}
		assert.NotPanics(t, func() { guard.Handler(nil) }, "%q", entry)
		r := httptest.NewRequest(http.MethodPost, "http://localhost/", nil)
		r.Header.Set("Origin", entry)
		assert.NoError(t, guard.Check(r), "%q", entry)
	}
	bracketed := &loopbackhttp.Guard{Hosts: []string{"[2001:db8::1]", "::ffff:192.0.2.1"}}
	for _, host := range []string{"[2001:db8::1]:80", "192.0.2.1", "[::ffff:c000:201]"} {
		assert.NoError(t, bracketed.Check(&http.Request{Host: host}), host)
	}
	for _, host := range []string{"[::ffff:c000:201%lo]", "[192.0.2.1]", "2001:db8::1", "[2001:db8::1%lo]", "[2001:db8::2]", "192.0.2.2", ""} {
		assert.ErrorIs(t, bracketed.Check(&http.Request{Host: host}), loopbackhttp.ErrDenied, host)
	}
	below := &loopbackhttp.Guard{Hosts: []string{".example.com"}}
	for _, host := range []string{"a.example.com", "az.AZ.09.a_-z.example.com", strings.Repeat("a", 63) + ".example.com.", strings.Repeat("a.", 121) + "example.com", strings.Repeat("a.", 121) + "example.com.:80"} {
		assert.NoError(t, below.Check(&http.Request{Host: host}), host)
	}
	for _, host := range []string{
		"example.com", ".example.com", "a..example.com", "a/b.example.com", "a:b.example.com", "a@b.example.com", "a`b.example.com", "a[b.example.com",
		"a{b.example.com", "-a.example.com", "a-.example.com", "é.example.com", strings.Repeat("a", 64) + ".example.com", "aa." + strings.Repeat("a.", 120) + "example.com",
	} {
		assert.ErrorIs(t, below.Check(&http.Request{Host: host}), loopbackhttp.ErrDenied, host)
	}
}

// What passes costs no allocation, in whichever way it passes.
func TestAllocations(t *testing.T) {
	reached := 0
	next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ })
	local := func(addr net.Addr, r *http.Request) *http.Request {
		return r.WithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, addr))
	}
	guards := map[string]*loopbackhttp.Guard{
		"zero": {},
		"listed": {
			Hosts:   []string{"other.example", "2001:db8::2", "app.example.com", ".example.org", ".localhost", "192.0.2.1", "2001:db8::1"},
			Origins: []string{"https://other.example", "http://localhost:3000"},
		},
	}
	for name, guard := range guards {
		h := guard.Handler(next)
		n := 0
		for _, row := range append(readRows(t, "host_headers.tsv"), readRows(t, "host_headers_more.tsv")...) {
			for _, r := range []*http.Request{row.request(), local(&net.TCPAddr{IP: net.IPv6loopback}, row.request())} {
				if guard.Check(r) != nil {
					continue
				}
				n++
				before := reached
				assert.Zero(t, testing.AllocsPerRun(10, func() { h.ServeHTTP(nil, r) }), "%s: %s", name, row.name)
				assert.Equal(t, 11, reached-before)
				assert.Zero(t, testing.AllocsPerRun(10, func() { _ = guard.Check(r) }), "%s: %s", name, row.name)
			}
		}
		assert.Greater(t, n, 50, name)
	}
	for _, host := range []string{"app.example.com", "a.b.example.org", "app.localhost:80", "192.0.2.1:80", "[2001:db8::1]:80"} {
		assert.NoError(t, guards["listed"].Check(&http.Request{Host: host}), host)
	}
}

// A Guard may be used from its first moment on by many goroutines.
func TestConcurrentUse(t *testing.T) {
	guard := &loopbackhttp.Guard{Hosts: []string{"app.example.com", "192.0.2.1"}, Origins: []string{"http://localhost:3000"}}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for _, host := range []string{"app.example.com", "192.0.2.1", "localhost"} {
				assert.NoError(t, guard.Check(&http.Request{Host: host}))
			}
			w := httptest.NewRecorder()
			guard.Handler(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://evil.example", nil))
			assert.Equal(t, http.StatusForbidden, w.Code)
		})
	}
	wg.Wait()
}

func FuzzCheck(f *testing.F) {
	for _, r := range append(readRows(f, "host_headers.tsv"), readRows(f, "host_headers_more.tsv")...) {
		request := r.request()
		f.Add(request.Method, request.Host, strings.Join(request.Header["Origin"], "\n"), strings.Join(request.Header["Sec-Fetch-Site"], "\n"),
			strings.Join(request.Header["Sec-Fetch-Mode"], "\n"), strings.Join(request.Header["Sec-Fetch-Dest"], "\n"),
			strings.Join(r.guard.Hosts, "\n"), strings.Join(r.guard.Origins, "\n"), "", r.local.String())
	}
	f.Fuzz(func(t *testing.T, method, host, origin, site, mode, dest, hosts, origins, network, local string) {
		list := func(s string) []string {
			if s == "" {
				return nil
			}
			return strings.Split(s, "\n")
		}
		guard := &loopbackhttp.Guard{Hosts: list(hosts), Origins: list(origins)}
		r := &http.Request{Method: method, Host: host, Header: http.Header{
			"Origin": list(origin), "Sec-Fetch-Site": list(site), "Sec-Fetch-Mode": list(mode), "Sec-Fetch-Dest": list(dest),
		}}
		if local != "" {
			r = r.WithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, oddAddr{network, local}))
		}
		err := guard.Check(r)
		if (err == nil) != slowCheck(guard, r) {
			t.Fatalf("%v, want passed %v", err, slowCheck(guard, r))
		}
		if err != nil {
			checkError(t, err)
		}
		panicked := func() (p any) {
			defer func() { p = recover() }()
			guard.Handler(http.NotFoundHandler())
			return nil
		}()
		assert.Equal(t, slowMalformed(guard), panicked != nil, "%v", panicked)
	})
}

// Bytes from the network reach the Guard through net/http.
func FuzzServer(f *testing.F) {
	var denied error
	h := (&loopbackhttp.Guard{Hosts: []string{".example.com"}, OnDeny: func(_ *http.Request, err error) { denied = err }}).Handler(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, served+" "+r.Host) }))
	server := new(loopbackhttp.Guard).Server(nil)
	server.Handler = h
	server.ErrorLog = nil
	for _, seed := range []string{
		"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "GET / HTTP/1.0\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: evil.example\r\n\r\n",
		"GET http://localhost/ HTTP/1.1\r\nHost: evil.example\r\n\r\n", "CONNECT evil.example:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a.example.com\r\nOrigin: null\r\nOrigin: null\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, request []byte) {
		client, conn := net.Pipe()
		go func() {
			client.Write(request)
			io.WriteString(client, "\r\n\r\n")
		}()
		denied = nil
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			server.Serve(&oneConn{conn: localConn{Conn: conn, local: &net.TCPAddr{IP: net.IPv6loopback}}})
		}()
		answer := make([]byte, 4096)
		n, err := client.Read(answer)
		client.Close()
		<-ended
		if err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if _, host, ok := strings.Cut(string(answer[:n]), served+" "); ok {
			guard := &loopbackhttp.Guard{Hosts: []string{".example.com"}}
			assert.True(t, slowHost(guard, host), "%q", host)
		}
		if denied != nil {
			checkError(t, denied)
		}
	})
}
