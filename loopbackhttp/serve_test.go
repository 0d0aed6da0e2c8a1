package loopbackhttp_test

import (
	"bufio"
	"context"
	_ "expvar" // what ListenAndServe makes safe
	"go/build"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	_ "net/http/pprof"
	"net/rpc"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
	"example.com/loopback/loopbackhttp"
)

// start serves server on both loopback addresses until the end of the test.
func start(t *testing.T, server *http.Server) *loopback.Listener {
	t.Helper()
	ln := listen(t)
	serveOn(t, server, ln)
	return ln
}

func listen(t *testing.T) *loopback.Listener {
	t.Helper()
	ln, err := loopback.Listen("tcp", ":0")
	require.NoError(t, err)
	return ln
}

func serveOn(t *testing.T, server *http.Server, ln *loopback.Listener) {
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ln) }()
	t.Cleanup(func() {
		server.Close()
		assert.ErrorIs(t, <-ended, http.ErrServerClosed)
	})
}

// get asks url for what is at host, and returns the status and the body.
func get(t *testing.T, url, host string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	r.Host = host
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(text)
}

func TestServer(t *testing.T) {
	server := new(loopbackhttp.Guard).Server(http.NotFoundHandler())
	assert.Equal(t, 10*time.Second, server.ReadHeaderTimeout)
	assert.Equal(t, 2*time.Minute, server.IdleTimeout)
	assert.Zero(t, server.ReadTimeout)
	assert.Zero(t, server.WriteTimeout)
	assert.True(t, server.DisableGeneralOptionsHandler)
}

// "OPTIONS *" is not answered before the Guard.
func TestOptionsAsterisk(t *testing.T) {
	ln := start(t, new(loopbackhttp.Guard).Server(nil))
	evil := "evil.example"
	answer := message{method: "OPTIONS", target: "*", host: &evil}.exchange(t, "HTTP/1.1", ln.Addr().String())
	assert.Contains(t, string(answer), "403 Forbidden")
}

// With a nil handler the mux of net/http, to which pprof and expvar add
// themselves, is served on both families, to those who ask for loopback.
func TestDefaultServeMux(t *testing.T) {
	ln := start(t, new(loopbackhttp.Guard).Server(nil))
	for _, addr := range ln.AddrPorts() {
		for _, path := range []string{"/debug/pprof/cmdline", "/debug/vars"} {
			status, _ := get(t, "http://"+addr.String()+path, "")
			assert.Equal(t, http.StatusOK, status, "%v %s", addr, path)
			status, body := get(t, "http://"+addr.String()+path, "evil.example")
			assert.Equal(t, http.StatusForbidden, status, "%v %s", addr, path)
			assert.Equal(t, "Forbidden\n", body)
		}
	}
}

// A program may replace http.DefaultServeMux after the Handler was made.
func TestDefaultServeMuxReplaced(t *testing.T) {
	h := new(loopbackhttp.Guard).Handler(nil)
	defer func(mux *http.ServeMux) { http.DefaultServeMux = mux }(http.DefaultServeMux)
	http.DefaultServeMux = http.NewServeMux()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://localhost/debug/vars", nil))
	assert.Equal(t, http.StatusNotFound, w.Code)
}

// A client that does not finish its header, or does not begin it, is cut off.
func TestSlowClient(t *testing.T) {
	server := new(loopbackhttp.Guard).Server(http.NotFoundHandler())
	server.ReadHeaderTimeout = 50 * time.Millisecond
	ln := start(t, server)
	for _, header := range []string{"", "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "} {
		conn, err := net.Dial("tcp", ln.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		_, err = io.WriteString(conn, header)
		require.NoError(t, err)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
		answer, err := io.ReadAll(conn)
		require.NoError(t, err, "the connection is still open")
		assert.Empty(t, string(answer))
	}
}

// A client may take its time for the body, and the server for the response.
func TestSlowBody(t *testing.T) {
	server := new(loopbackhttp.Guard).Server(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		w.Write(body)
	}))
	server.ReadHeaderTimeout = 10 * time.Millisecond
	ln := start(t, server)
	body, sender := io.Pipe()
	timer := time.AfterFunc(5*server.ReadHeaderTimeout, func() {
		io.WriteString(sender, "late")
		sender.Close()
	})
	defer timer.Stop()
	resp, err := http.Post(ln.URL("http"), "text/plain", body)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Equal(t, "late", string(text))
}

func TestListenAndServe(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", "[::]:0", "example.com:80", "192.0.2.1:0"} {
		assert.ErrorIs(t, loopbackhttp.ListenAndServe(address, http.NotFoundHandler()), loopback.ErrNotLoopback, address)
	}
	assert.ErrorContains(t, loopbackhttp.ListenAndServe("localhost", nil), "missing port")

	// A free port, which the server takes over.
	ln, err := loopback.Listen("tcp", ":0")
	require.NoError(t, err)
	address := ln.Addr().String()
	assert.ErrorContains(t, loopbackhttp.ListenAndServe(address, nil), address) // in use
	ln.Close()
	ended := make(chan error, 1)
	reached := make(chan struct{})
	go func() {
		ended <- loopbackhttp.ListenAndServe(address, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(reached) }))
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for { // until it listens; it ends with the test binary
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", address)
		if err == nil {
			io.WriteString(conn, "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
			answer, err := io.ReadAll(conn)
			require.NoError(t, err)
			assert.Contains(t, string(answer), "403 Forbidden")
			assert.Contains(t, string(answer), "200 OK")
			conn.Close()
			break
		}
		select {
		case err := <-ended:
			t.Skipf("needs a port that stays free: %v", err)
		default:
			require.NoError(t, ctx.Err())
		}
	}
	<-reached
}

// An empty address is ":http", as in net/http.
func TestListenAndServePortHTTP(t *testing.T) {
	ln, err := loopback.Listen("tcp", ":http")
	if err != nil {
		err80 := loopbackhttp.ListenAndServe("", nil)
		assert.EqualError(t, err80, err.Error())
		return
	}
	defer ln.Close()
	assert.ErrorContains(t, loopbackhttp.ListenAndServe("", nil), ":80: bind: ") // in use
}

// A reverse proxy on this machine is served once the Guard knows its name.
func TestReverseProxy(t *testing.T) {
	guard := &loopbackhttp.Guard{Hosts: []string{"app.example.com"}}
	ln := start(t, guard.Server(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, served) })))
	target, err := url.Parse(ln.URL("http"))
	require.NoError(t, err)
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.SetXForwarded()
		r.Out.Host = r.In.Host
	}})
	defer proxy.Close()
	status, body := get(t, proxy.URL, "app.example.com")
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, served, body)
	status, _ = get(t, proxy.URL, "other.example.com")
	assert.Equal(t, http.StatusForbidden, status)
}

// A reverse proxy that replaces the Host hides the page's name from the Guard
// behind it, and its own Origin is another's there. A Guard in front sees both.
func TestReverseProxyReplacesHost(t *testing.T) {
	ln := start(t, new(loopbackhttp.Guard).Server(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, served) })))
	target, err := url.Parse(ln.URL("http"))
	require.NoError(t, err)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Header.Del("Origin")
	}}
	status, _ := get(t, start(t, &http.Server{Handler: proxy}).URL("http"), "evil.example")
	assert.Equal(t, http.StatusOK, status, "the Guard behind the proxy cannot tell")
	guarded := start(t, new(loopbackhttp.Guard).Server(proxy)).URL("http")
	status, _ = get(t, guarded, "evil.example")
	assert.Equal(t, http.StatusForbidden, status)
	status, _ = get(t, guarded, "localhost")
	assert.Equal(t, http.StatusOK, status)

	proxy.Rewrite = func(r *httputil.ProxyRequest) { r.SetURL(target) }
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, guarded, nil)
	require.NoError(t, err)
	r.Header.Set("Origin", guarded)
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, http.StatusForbidden, resp.StatusCode, "the Origin is not the Host that the proxy sends")
}

// DialHTTP of net/rpc sends no Host.
func TestDialHTTPIsDenied(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle(rpc.DefaultRPCPath, rpc.NewServer())
	_, err := rpc.DialHTTP("tcp", start(t, new(loopbackhttp.Guard).Server(mux)).Addr().String())
	assert.ErrorContains(t, err, "403 Forbidden")
}

// A WebSocket of the server's own page is served, one of another page is not.
func TestWebSocket(t *testing.T) {
	ln := start(t, new(loopbackhttp.Guard).Server(http.HandlerFunc(acceptWebSocket)))
	own := ln.Addr().String()
	for _, test := range []struct {
		host, origin, site string
		status             int
	}{
		{host: own, origin: "http://" + own, status: http.StatusSwitchingProtocols},
		{host: own, origin: "http://" + own, site: "same-origin", status: http.StatusSwitchingProtocols},
		{host: own, status: http.StatusSwitchingProtocols}, // no browser
		{host: own, origin: "http://evil.example", status: http.StatusForbidden},
		{host: own, origin: "http://localhost:1", site: "same-site", status: http.StatusForbidden},
		{host: "evil.example", origin: "http://evil.example", status: http.StatusForbidden},
	} {
		conn, err := net.Dial("tcp", own)
		require.NoError(t, err)
		defer conn.Close()
		r := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/"}, Host: test.host, Header: http.Header{
			"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
		}}
		if test.origin != "" {
			r.Header.Set("Origin", test.origin)
		}
		if test.site != "" {
			r.Header.Set("Sec-Fetch-Site", test.site)
			r.Header.Set("Sec-Fetch-Mode", "websocket")
		}
		require.NoError(t, r.Write(conn))
		resp, err := http.ReadResponse(bufio.NewReader(conn), r)
		require.NoError(t, err)
		assert.Equal(t, test.status, resp.StatusCode, "%+v", test)
	}
}

// httptest is served as the doc of Guard says.
func TestHTTPTest(t *testing.T) {
	h := new(loopbackhttp.Guard).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, served) }))
	for target, status := range map[string]int{"/": http.StatusForbidden, "http://localhost/": http.StatusOK} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
		assert.Equal(t, status, w.Code, target)
	}
	w := httptest.NewRecorder()
	(&loopbackhttp.Guard{Hosts: []string{"example.com"}}).Handler(h).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	assert.Equal(t, http.StatusForbidden, w.Code) // by the inner Guard
	for name, newServer := range map[string]func(http.Handler) *httptest.Server{"http": httptest.NewServer, "https": httptest.NewTLSServer} {
		server := newServer(h)
		resp, err := server.Client().Get(server.URL)
		require.NoError(t, err, name)
		resp.Body.Close()
		assert.Equal(t, http.StatusOK, resp.StatusCode, name)
		server.Close()
	}
}

// The package needs the standard library and the root, and nothing else.
func TestImports(t *testing.T) {
	pkg, err := build.ImportDir(".", 0)
	require.NoError(t, err)
	root := strings.TrimSuffix("example.com/loopback/loopbackhttp", "/loopbackhttp")
	for _, path := range pkg.Imports {
		first, _, _ := strings.Cut(path, "/")
		assert.True(t, path == root || !strings.Contains(first, "."), path)
	}
}
