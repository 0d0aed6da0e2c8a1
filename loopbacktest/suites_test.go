package loopbacktest_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
	"example.com/loopback/loopbackhttp"
	"example.com/loopback/loopbacktest"
)

var hello = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") })

// guarded is a guard that serves what check accepts.
func guarded(check func(r *http.Request) bool) http.HandlerFunc {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !check(r) {
			http.Error(w, "forbidden", http.StatusForbidden)
			return
		}
		hello(w, r)
	})
}

// sameSite is the second half of a guard, written by hand: against cross-site
// requests.
func sameSite(r *http.Request) bool {
	site, origin := r.Header.Get("Sec-Fetch-Site"), r.Header["Origin"]
	switch {
	case site == "same-origin" || site == "none":
		return true
	case site == "" && len(origin) == 0:
		return true
	case site == "":
		_, host, ok := strings.Cut(origin[0], "://")
		return ok && strings.HasPrefix(origin[0], "http") && strings.EqualFold(host, r.Host)
	}
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
}

// localHost is the first half, against DNS rebinding.
func localHost(r *http.Request) bool {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if local != nil && local.Network() == "unix" {
		return true
	}
	if local != nil && !loopback.IsNetAddr(local) {
		return false
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	} else {
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
		if strings.HasPrefix(r.Host, "[") != strings.HasSuffix(r.Host, "]") {
			return false
		}
	}
	if strings.EqualFold(host, "localhost") || strings.EqualFold(host, "localhost.") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Zone() == "" && addr.IsLoopback() && (addr.Is4() || strings.HasPrefix(r.Host, "["))
}

// switchProtocols answers a WebSocket handshake that is complete, as libraries do:
// RFC 6455, section 4.2.
func switchProtocols(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Sec-WebSocket-Version") != "13" || r.Header.Get("Sec-WebSocket-Key") == "" {
		http.Error(w, "no WebSocket", http.StatusBadRequest)
		return
	}
	c, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
}

// webSockets is a right handler, but for WebSockets that check accepts.
func webSockets(check func(r *http.Request) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "websocket" && check(r) {
			switchProtocols(w, r)
			return
		}
		guarded(func(r *http.Request) bool { return localHost(r) && sameSite(r) })(w, r)
	})
}

func TestTestHandlerAcceptsRightOnes(t *testing.T) {
	requireNothingLeft(t)
	assert.NoError(t, loopbacktest.TestHandler(new(loopbackhttp.Guard).Handler(hello)))
	right := guarded(func(r *http.Request) bool { return localHost(r) && sameSite(r) })
	assert.NoError(t, loopbacktest.TestHandler(right))
	assert.NoError(t, loopbacktest.TestHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		right(w, r)
	})), "an informational response is not the answer")
	assert.NoError(t, loopbacktest.TestHandler(webSockets(func(r *http.Request) bool { return localHost(r) && sameSite(r) })))
	assert.NoError(t, loopbacktest.TestHandler(guarded(func(r *http.Request) bool {
		return r.RemoteAddr == "@" || localHost(r) && sameSite(r)
	})), "a client of a unix socket has that address")
}

func TestTestHandlerFindsFaults(t *testing.T) {
	skipSlow(t)
	unless := func(also func(r *http.Request) bool) http.Handler { // right, but for what also lets pass
		return guarded(func(r *http.Request) bool { return localHost(r) && sameSite(r) || also(r) })
	}
	but := func(not func(r *http.Request) bool) http.Handler { // right, but for what not refuses
		return guarded(func(r *http.Request) bool { return localHost(r) && sameSite(r) && !not(r) })
	}
	for _, tt := range []faulty[http.Handler]{
		{"no guard", hello, "Host: evil.example:8080"},
		{"refuses everything", http.NotFoundHandler(), "got refused (404), want served"},
		{"cross-origin protection alone", http.NewCrossOriginProtection().Handler(hello), "GET / Host: evil.example:8080: got served (200)"},
		{"the Host alone", guarded(localHost), "Origin: http://evil.example"},
		{"the Host by prefix", unless(func(r *http.Request) bool {
			return sameSite(r) && (strings.HasPrefix(r.Host, "localhost") || strings.HasPrefix(r.Host, "127."))
		}), "Host: localhost.evil.example:8080"},
		{"the Host by suffix", unless(func(r *http.Request) bool {
			return sameSite(r) && strings.HasSuffix(strings.Split(r.Host, ":")[0], "localhost")
		}), "evillocalhost"},
		{"SplitHostPort, with brackets left over", but(func(r *http.Request) bool { return r.Host == "[::1]" }), "Host: [::1]: got refused"},
		{"the Host by case", but(func(r *http.Request) bool { return r.Host != strings.ToLower(r.Host) }), "Host: LOCALHOST:8080: got refused"},
		{"the port of the listener alone", but(func(r *http.Request) bool { return !strings.HasSuffix(r.Host, ":8080") }), "Host: localhost:9999: got refused"},
		{"private addresses", unless(func(r *http.Request) bool { return sameSite(r) && strings.HasPrefix(r.Host, "192.168.") }), "Host: 192.168.1.10:8080"},
		{"names of the network", unless(func(r *http.Request) bool { return sameSite(r) && strings.HasSuffix(r.Host, ".local:8080") }), "Host: laptop.local:8080"},
		{"every GET", unless(func(r *http.Request) bool { return r.Method == http.MethodGet }), "GET / Host: evil.example:8080"},
		{"an Origin equal to the Host", unless(func(r *http.Request) bool { return r.Header.Get("Origin") == "http://"+r.Host }), "Origin: http://evil.example:8080"},
		{"the Origin by prefix", unless(func(r *http.Request) bool { return strings.HasPrefix(r.Header.Get("Origin"), "http://localhost") }), "http://localhost:8080.evil.example"},
		{"same-site for same-origin", unless(func(r *http.Request) bool { return r.Header.Get("Sec-Fetch-Site") == "same-site" }), "Sec-Fetch-Site: same-site"},
		{"listeners on every interface", unless(func(r *http.Request) bool {
			local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
			return !loopback.IsNetAddr(local)
		}), "Host: 192.0.2.10:8080"},
		{"links from other sites are refused", but(func(r *http.Request) bool { return r.Header.Get("Sec-Fetch-Site") == "cross-site" }), "Sec-Fetch-Dest: document: got refused"},
		{"unix sockets", but(func(r *http.Request) bool { return r.Host == "" }), "unix socket, empty Host"},
		{"a forwarded Host", guarded(func(r *http.Request) bool {
			if h := r.Header.Get("X-Forwarded-Host"); h != "" {
				r.Host = h
			}
			return localHost(r) && sameSite(r)
		}), "X-Forwarded-Host: localhost:8080: got served"},
		{"a forwarded client", unless(func(r *http.Request) bool { return r.Header.Get("X-Real-IP") == "127.0.0.1" }), "X-Real-IP: 127.0.0.1: got served"},
		{"a header Forwarded", unless(func(r *http.Request) bool { return strings.Contains(r.Header.Get("Forwarded"), "localhost") }), "Forwarded: for=127.0.0.1"},
		{"an Origin for the Host", unless(func(r *http.Request) bool { return r.Header.Get("Origin") == "http://localhost:8080" }), "Host: evil.example:8080; Origin: http://localhost:8080: got served"},
		{"a Referer for the Host", unless(func(r *http.Request) bool { return strings.HasPrefix(r.Referer(), "http://localhost:8080/") }), "Referer: http://localhost:8080/: got served"},
		{"a token for the Host", unless(func(r *http.Request) bool { return r.Header.Get("Authorization") != "" }), "Authorization: Bearer token"},
		{"same-origin before the Host", unless(func(r *http.Request) bool { return r.Header.Get("Sec-Fetch-Site") == "same-origin" }), "Host: evil.example:8080; Sec-Fetch-Site: same-origin: got served"},
		{"links before the Host", unless(func(r *http.Request) bool { return r.Header.Get("Sec-Fetch-Dest") == "document" && sameSite(r) }), "Host: evil.example:8080; Sec-Fetch-Site: cross-site"},
		{"HEAD", unless(func(r *http.Request) bool { return r.Method == http.MethodHead }), "HEAD / Host: evil.example:8080: got served"},
		{"OPTIONS, for preflights", unless(func(r *http.Request) bool { return r.Method == http.MethodOptions && r.Header.Get("Origin") == "" }), "OPTIONS / Host: evil.example:8080: got served"},
		{"DELETE", unless(func(r *http.Request) bool { return r.Method == http.MethodDelete && localHost(r) }), "DELETE / Host: localhost:8080"},
		{"methods of its own", unless(func(r *http.Request) bool { return r.Method == "PROPFIND" }), "PROPFIND / Host: evil.example:8080"},
		{"WebSockets", unless(func(r *http.Request) bool { return localHost(r) && r.Header.Get("Upgrade") != "" }), "Upgrade: websocket: got served"},
		{"WebSockets of every page", webSockets(localHost), "Upgrade: websocket: got served (101)"},
		{"WebSockets to every Host", webSockets(func(r *http.Request) bool { return r.Header.Get("Origin") == "http://"+r.Host }), "Host: evil.example:8080; Origin: http://evil.example:8080; Connection"},
		{"GET of old browsers", unless(func(r *http.Request) bool {
			return localHost(r) && r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Site") == ""
		}), "Origin: http://evil.example; Connection"},
		{"any loopback Origin of old browsers", unless(func(r *http.Request) bool {
			u, err := url.Parse(r.Header.Get("Origin"))
			return localHost(r) && err == nil && u.User == nil && u.Scheme == "http" && loopback.IsHost(u.Hostname()) && r.Header.Get("Sec-Fetch-Site") == ""
		}), "Origin: http://localhost:3000: got served"},
		{"an Origin of null in old browsers", unless(func(r *http.Request) bool {
			return localHost(r) && r.Header.Get("Origin") == "null" && r.Header.Get("Sec-Fetch-Site") == ""
		}), "Origin: null: got served"},
		{"GET but for frames", unless(func(r *http.Request) bool {
			return localHost(r) && r.Method == http.MethodGet && r.Header.Get("Origin") == "" && !strings.HasSuffix(r.Header.Get("Sec-Fetch-Dest"), "frame")
		}), "Sec-Fetch-Dest: script: got served"},
		{"frames but for iframe", unless(func(r *http.Request) bool { return localHost(r) && r.Header.Get("Sec-Fetch-Dest") == "frame" }), "Sec-Fetch-Dest: frame: got served"},
		{".localhost within the Host", unless(func(r *http.Request) bool {
			return sameSite(r) && strings.Contains(r.Host, ".localhost.") && !strings.HasPrefix(r.Host, "localhost.")
		}), "Host: app.localhost.evil.example:8080"},
		{"other private addresses", unless(func(r *http.Request) bool { return sameSite(r) && strings.HasPrefix(r.Host, "10.") }), "Host: 10.0.0.1:8080"},
		{"link-local addresses", unless(func(r *http.Request) bool { return sameSite(r) && strings.HasPrefix(r.Host, "[fe80:") }), "Host: [fe80::1]:8080"},
		{"embedded addresses", unless(func(r *http.Request) bool { return sameSite(r) && strings.HasPrefix(r.Host, "[64:ff9b::7f") }), "Host: [64:ff9b::7f00:1]:8080"},
		{"a redirect", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://localhost/", http.StatusFound)
		}), "got served (302)"},
		{"a switch of protocols", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusSwitchingProtocols) }), "got refused (101), want served"},
		{"a panic", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), "got refused (without an answer), want served"},
		{"ends its server at an attack", guarded(func(r *http.Request) bool {
			if r.Header.Get("X-Forwarded-Host") != "" { // which comes after those to be served
				_ = r.Context().Value(http.ServerContextKey).(*http.Server).Close()
			}
			return localHost(r) && sameSite(r)
		}), "got dial tcp "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			requireNothingLeft(t)
			err := loopbacktest.TestHandler(tt.impl)
			failuresOf(t, err)
			assert.ErrorContains(t, err, tt.find)
		})
	}
}

func TestTestHandlerOfNoneAndOfOneThatHangs(t *testing.T) {
	requireNothingLeft(t)
	for _, none := range []http.Handler{nil, http.HandlerFunc(nil), (*http.ServeMux)(nil)} {
		assert.EqualError(t, loopbacktest.TestHandler(none), "loopbacktest: TestHandler: the handler is nil")
	}
	if testing.Short() {
		t.Skip("waits for a call to take its time")
	}
	slow := sync.OnceFunc(func() { time.Sleep(4 * time.Second) }) // a call may take five
	assert.NoError(t, loopbacktest.TestHandler(guarded(func(r *http.Request) bool { slow(); return localHost(r) && sameSite(r) })))
	err := loopbacktest.TestHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	assert.EqualError(t, err, "loopbacktest: POST / Host: localhost: got no answer in time, want served: default port, no port in Host")
	err = loopbacktest.TestHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // no more than that
		if !localHost(r) {
			<-r.Context().Done()
		}
		hello(w, r)
	}))
	assert.EqualError(t, err, "loopbacktest: POST / Host: localhost.evil.example:8080: got no answer in time, want refused: prefix trick")
}

// The table is the one of package loopbackhttp.
func TestTablesAreTheSame(t *testing.T) {
	ours, err := os.ReadFile(filepath.Join("testdata", "host_headers.tsv"))
	require.NoError(t, err)
	theirs, err := os.ReadFile(filepath.Join("..", "loopbackhttp", "testdata", "host_headers.tsv"))
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("needs the source of package loopbackhttp")
	}
	require.NoError(t, err)
	assert.Equal(t, string(theirs), string(ours))
}

// dialFunc is what TestForbid tests.
type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// checkThenDial looks a host up, refuses what check refuses of its addresses, and
// dials by then.
func checkThenDial(check func(ips []net.IP) bool, then func(ctx context.Context, network, host, port string, ips []net.IP) (net.Conn, error)) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		ips, err := net.DefaultResolver.LookupIP(ctx, "ip", host)
		if err != nil {
			return nil, err
		}
		if !check(ips) {
			return nil, errors.New("refused")
		}
		return then(ctx, network, host, port, ips)
	}
}

var plain net.Dialer

func byName(ctx context.Context, network, host, port string, _ []net.IP) (net.Conn, error) {
	return plain.DialContext(ctx, network, net.JoinHostPort(host, port))
}

func byIP(ctx context.Context, network, _, port string, ips []net.IP) (conn net.Conn, err error) {
	for _, ip := range ips {
		if conn, err = plain.DialContext(ctx, network, net.JoinHostPort(ip.String(), port)); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

func all(bad func(ip net.IP) bool) func(ips []net.IP) bool {
	return func(ips []net.IP) bool {
		for _, ip := range ips {
			if bad(ip) {
				return false
			}
		}
		return len(ips) > 0
	}
}

func isLocal(ip net.IP) bool { return ip.IsLoopback() || ip.IsUnspecified() }

func TestTestForbidAcceptsRightOnes(t *testing.T) {
	requireNothingLeft(t)
	for name, dial := range map[string]dialFunc{
		"Forbid":               (&net.Dialer{Control: loopback.Forbid}).DialContext,
		"ForbidSelf":           (&net.Dialer{Control: loopback.ForbidSelf}).DialContext,
		"what was checked":     checkThenDial(all(isLocal), byIP),
		"reaches nothing":      func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no") },
		"in an http.Transport": (&http.Transport{DialContext: (&net.Dialer{Control: loopback.Forbid}).DialContext}).DialContext,
	} {
		resolver := net.DefaultResolver
		assert.NoError(t, loopbacktest.TestForbid(t.Context(), dial), name)
		assert.Same(t, resolver, net.DefaultResolver)
	}
}

// literal refuses an address that check refuses, and dials whatever is none.
func literal(check func(addr netip.Addr) bool) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		if addr, err := netip.ParseAddr(host); err == nil && !check(addr) || strings.EqualFold(host, "localhost") {
			return nil, errors.New("refused")
		}
		return plain.DialContext(ctx, network, address)
	}
}

func TestTestForbidFindsFaults(t *testing.T) {
	skipSlow(t)
	control := func(bad func(ip net.IP) bool) dialFunc {
		return (&net.Dialer{ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			host, _, _ := net.SplitHostPort(address)
			if bad(net.ParseIP(host)) {
				return errors.New("refused")
			}
			return nil
		}}).DialContext
	}
	forbid := (&net.Dialer{Control: loopback.Forbid}).DialContext
	for _, tt := range []faulty[dialFunc]{
		{"no check", plain.DialContext, "tcp 127.0.0.1:"},
		{"a name checked before it is dialled", checkThenDial(all(isLocal), byName), "tcp rebind.loopbacktest.test"},
		{"the IPv4 answers alone", func(ctx context.Context, network, address string) (net.Conn, error) {
			host, _, _ := net.SplitHostPort(address)
			if ips, err := net.DefaultResolver.LookupIP(ctx, "ip4", host); err != nil || !all(isLocal)(ips) {
				return nil, errors.New("refused")
			}
			return plain.DialContext(ctx, network, address)
		}, "tcp mixed.loopbacktest.test"},
		{"private for loopback", control(net.IP.IsPrivate), "tcp 127.0.0.1:"},
		{"loopback, and not unspecified", control(net.IP.IsLoopback), "got a connection to"},
		{"127.0.0.1 and ::1 alone", control(func(ip net.IP) bool {
			return isLocal(ip) && ip[15] == 1 && ip[13] == 0 && ip[14] == 0 || ip.IsUnspecified()
		}), "tcp 127.0.0.2:"},
		{"IPv4 alone", control(func(ip net.IP) bool { return ip.To4() != nil && isLocal(ip) }), "tcp [::1]:"},
		{"the literals alone", literal(func(addr netip.Addr) bool { return !addr.IsLoopback() && !addr.IsUnspecified() }), "tcp a.loopbacktest.test:"},
		{"without unmapping", literal(func(addr netip.Addr) bool {
			return !netip.MustParsePrefix("127.0.0.0/8").Contains(addr) && addr != loopback.IPv6() && !addr.IsUnspecified()
		}), "[::ffff:127.0.0.1]"},
		{"a name whose check fails", func(ctx context.Context, network, address string) (net.Conn, error) {
			host, _, _ := net.SplitHostPort(address)
			if ips, err := net.DefaultResolver.LookupIP(ctx, "ip", host); err == nil && !all(isLocal)(ips) {
				return nil, errors.New("refused")
			}
			return plain.DialContext(ctx, network, address)
		}, "tcp appears.loopbacktest.test"},
		{"TCP alone", func(ctx context.Context, network, address string) (net.Conn, error) {
			if strings.HasPrefix(network, "tcp") {
				return forbid(ctx, network, address)
			}
			return plain.DialContext(ctx, network, address)
		}, "udp 127.0.0.1:"},
		{"UDP by family", func(ctx context.Context, network, address string) (net.Conn, error) {
			if network != "udp6" {
				return forbid(ctx, network, address)
			}
			return plain.DialContext(ctx, network, address)
		}, "udp6 [::1]:"},
		{"a name checked twice before it is dialled", checkThenDial(all(isLocal), func(ctx context.Context, network, host, port string, _ []net.IP) (net.Conn, error) {
			return checkThenDial(all(isLocal), byName)(ctx, network, net.JoinHostPort(host, port))
		}), "tcp third.loopbacktest.test"},
		{"a name allowed once", func() dialFunc {
			allowed := map[string]bool{}
			return checkThenDial(func([]net.IP) bool { return true }, func(ctx context.Context, network, host, port string, ips []net.IP) (net.Conn, error) {
				if !allowed[host] && !all(isLocal)(ips) {
					return nil, errors.New("refused")
				}
				allowed[host] = true
				return byIP(ctx, network, host, port, ips)
			})
		}(), "tcp moved.loopbacktest.test"},
		{"the addresses of a list", control(func(ip net.IP) bool {
			return ip.Equal(net.IPv4(127, 0, 0, 1)) || ip.Equal(net.IPv6loopback) || ip.IsUnspecified()
		}), "tcp 127.0.0.2:"},
		{"the text of an address", func(ctx context.Context, network, address string) (net.Conn, error) {
			if strings.HasPrefix(address, "127.") || strings.HasPrefix(address, "[::1]") || strings.HasPrefix(strings.ToLower(address), "localhost") {
				return nil, errors.New("refused")
			}
			return plain.DialContext(ctx, network, address)
		}, "tcp [::ffff:127.0.0.1]:"},
		{"an empty host", func(ctx context.Context, network, address string) (net.Conn, error) {
			if strings.HasPrefix(address, ":") {
				return plain.DialContext(ctx, network, address)
			}
			return forbid(ctx, network, address)
		}, "tcp :"},
		{"names below localhost", func(ctx context.Context, network, address string) (net.Conn, error) {
			if strings.Contains(address, ".localhost") {
				return plain.DialContext(ctx, network, address)
			}
			return forbid(ctx, network, address)
		}, "tcp app.localhost:"},
		{"many connections at once", func(ctx context.Context, network, address string) (net.Conn, error) {
			for range 1100 { // more than a server of the suite remembers
				if !strings.HasPrefix(address, "127.0.0.1:") || network != "tcp" {
					break
				}
				c, err := plain.DialContext(ctx, network, address)
				if err != nil {
					break
				}
				_ = c.(*net.TCPConn).SetLinger(0)
				c.Close()
			}
			return nil, errors.New("refused")
		}, "tcp 127.0.0.1:"},
		{"an end of the goroutine", func(context.Context, string, string) (net.Conn, error) { runtime.Goexit(); return nil, nil }, "got an end of the goroutine, want refused"},
		{"refuses what it has connected", func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := plain.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			conn.Close()
			return nil, errors.New("refused")
		}, "tcp 127.0.0.1:"},
		{"neither a connection nor an error", func(context.Context, string, string) (net.Conn, error) { return nil, nil }, "got neither a connection nor an error"},
		{"a panic", func(context.Context, string, string) (net.Conn, error) { panic("oh") }, "got a panic (oh), want refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			requireNothingLeft(t)
			err := loopbacktest.TestForbid(t.Context(), tt.impl)
			failuresOf(t, err)
			assert.ErrorContains(t, err, tt.find)
		})
	}
}

func TestTestForbidInParallel(t *testing.T) {
	resolver := net.DefaultResolver
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			assert.NoError(t, loopbacktest.TestForbid(t.Context(), (&net.Dialer{Control: loopback.Forbid}).DialContext))
		})
	}
	wg.Wait()
	assert.Same(t, resolver, net.DefaultResolver)
}

func TestTestForbidEnds(t *testing.T) {
	requireNothingLeft(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	none := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no") }
	assert.ErrorIs(t, loopbacktest.TestForbid(ctx, none), context.Canceled)
	assert.EqualError(t, loopbacktest.TestForbid(t.Context(), nil), "loopbacktest: TestForbid: the dial function is nil")
	var nilCtx context.Context
	assert.EqualError(t, loopbacktest.TestForbid(nilCtx, none), "loopbacktest: TestForbid: the context is nil")

	ctx, cancel = context.WithCancel(t.Context())
	err := loopbacktest.TestForbid(ctx, func(context.Context, string, string) (net.Conn, error) { cancel(); return nil, errors.New("no") })
	assert.ErrorIs(t, err, context.Canceled, "not all was dialled")

	block := make(chan struct{})
	defer close(block)
	err = loopbacktest.TestForbid(t.Context(), func(context.Context, string, string) (net.Conn, error) { <-block; return nil, nil })
	assert.Len(t, failuresOf(t, err), 1)
	assert.ErrorContains(t, err, "got no answer within 5s, want refused")
}

// A pair is two listeners as one, written by hand.
type pair struct {
	lns   []net.Listener
	conns chan net.Conn
	start sync.Once

	closed chan struct{}
}

func newPair(lns ...net.Listener) *pair {
	return &pair{lns: lns, conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (p *pair) Accept() (net.Conn, error) {
	p.start.Do(func() {
		for _, ln := range p.lns {
			go func() {
				for {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					select {
					case p.conns <- c:
					case <-p.closed:
						c.Close()
						return
					}
				}
			}()
		}
	})
	return <-p.conns, nil
}
func (p *pair) Addr() net.Addr { return p.lns[0].Addr() }
func (p *pair) Close() error {
	close(p.closed)
	for _, ln := range p.lns {
		ln.Close()
	}
	return nil
}

// A wrapped listener does otherwise in one method.
type wrapped struct {
	net.Listener
	accept func() (net.Conn, error)
	addr   func() net.Addr
}

func (w wrapped) Accept() (net.Conn, error) {
	if w.accept == nil {
		return w.Listener.Accept()
	}
	return w.accept()
}

func (w wrapped) Addr() net.Addr {
	if w.addr == nil {
		return w.Listener.Addr()
	}
	return w.addr()
}

// onConns returns a listener whose connections are changed.
func onConns(ln net.Listener, change func(c net.Conn) net.Conn) net.Listener {
	return wrapped{Listener: ln, accept: func() (net.Conn, error) {
		c, err := ln.Accept()
		if err != nil {
			return nil, err
		}
		return change(c), nil
	}}
}

// Connections that do otherwise in one method.
type (
	silent    struct{ net.Conn }
	lowering  struct{ net.Conn }
	elsewhere struct {
		net.Conn
		addr net.Addr
	}
)

func (silent) Write(b []byte) (int, error) { return len(b), nil }
func (e elsewhere) RemoteAddr() net.Addr   { return e.addr }
func (c lowering) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	copy(b[:n], strings.ToLower(string(b[:n])))
	return n, err
}

// A raw listener has a socket that cannot be asked.
type raw struct{ net.Listener }

func (raw) SyscallConn() (syscall.RawConn, error) { panic("no socket") }
func (raw) File() (*os.File, error)               { panic("no file") }

// A filed listener has files of sockets that it does not accept from, of which
// the second is bound to every interface.
type filed struct {
	net.Listener
	t *testing.T
}

func (f filed) Files() (files []*os.File, err error) {
	for _, address := range []string{"127.0.0.1:0", "0.0.0.0:0"} {
		file, err := listenOn(f.t, "tcp4", address).(*net.TCPListener).File()
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

// A oneFile listener has the method File.
type oneFile struct {
	net.Listener
	file func() (*os.File, error)
}

func (f oneFile) File() (*os.File, error) { return f.file() }

func listenOn(t *testing.T, network, address string) net.Listener {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Skipf("needs to listen on %s: %v", address, err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

var noDescriptors = &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept", syscall.EMFILE)}

func TestTestListenerAcceptsRightOnes(t *testing.T) {
	requireNothingLeft(t)
	both := loopbacktest.Listen(t)
	assert.NoError(t, loopbacktest.TestListener(both))
	assert.NoError(t, loopbacktest.TestListener(both), "it is open")

	lc := loopback.ListenConfig{Ingress: loopback.IngressAny}
	weak, err := lc.Listen(t.Context(), "tcp", ":0")
	require.NoError(t, err)
	defer weak.Close()
	assert.NoError(t, loopbacktest.TestListener(weak))

	calls := 0
	assert.NoError(t, loopbacktest.TestListener(wrapped{Listener: both, accept: func() (net.Conn, error) {
		if calls++; calls%2 == 1 {
			return nil, noDescriptors
		}
		return both.Accept()
	}}), "Serve of net/http goes on after such an error")

	four := listenOn(t, "tcp4", "127.0.0.1:0")
	six := listenOn(t, "tcp6", fmt.Sprintf("[::1]:%d", four.Addr().(*net.TCPAddr).Port))
	byHand := newPair(four, six)
	defer byHand.Close()
	assert.NoError(t, loopbacktest.TestListener(byHand))
}

func listenerFaults() []faulty[func(t *testing.T) net.Listener] {
	broken := errors.New("broken")
	return []faulty[func(t *testing.T) net.Listener]{
		{"every interface", func(t *testing.T) net.Listener { return listenOn(t, "tcp", ":0") }, "every interface"},
		{"every interface of IPv4", func(t *testing.T) net.Listener { return listenOn(t, "tcp4", "0.0.0.0:0") }, "every interface"},
		{"every interface, hidden", func(t *testing.T) net.Listener { return wrapped{Listener: listenOn(t, "tcp", ":0")} }, "other machines reach"},
		{"127.0.0.1 alone", func(t *testing.T) net.Listener { return listenOn(t, "tcp", "127.0.0.1:0") }, "loopbacktest: [::1]:"},
		{"::1 alone", func(t *testing.T) net.Listener { return listenOn(t, "tcp", "[::1]:0") }, "loopbacktest: 127.0.0.1:"},
		{"127.0.0.2 alone", func(t *testing.T) net.Listener { return listenOn(t, "tcp", "127.0.0.2:0") }, "loopbacktest: 127.0.0.1:"},
		{"a closed one", func(t *testing.T) net.Listener {
			ln := listenOn(t, "tcp", "127.0.0.1:0")
			ln.Close()
			return ln
		}, "loopbacktest: 127.0.0.1:"},
		{"a unix socket", func(t *testing.T) net.Listener { return listenOn(t, "unix", filepath.Join(t.TempDir(), "s")) }, "want a TCP address"},
		{"another port than it says", func(t *testing.T) net.Listener {
			return wrapped{Listener: loopbacktest.Listen(t), addr: func() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }}
		}, "127.0.0.1:1"},
		{"no address", func(t *testing.T) net.Listener {
			return wrapped{Listener: loopbacktest.Listen(t), addr: func() net.Addr { return nil }}
		}, "want a TCP address"},
		{"an address of UDP", func(t *testing.T) net.Listener {
			return wrapped{Listener: loopbacktest.Listen(t), addr: func() net.Addr { return &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }}
		}, "want a TCP address"},
		{"accepts with an error", func(t *testing.T) net.Listener {
			return wrapped{Listener: loopbacktest.Listen(t), accept: func() (net.Conn, error) { return nil, broken }}
		}, "got broken, want a connection"},
		{"accepts nothing without an error", func(t *testing.T) net.Listener {
			return wrapped{Listener: loopbacktest.Listen(t), accept: func() (net.Conn, error) { return nil, nil }}
		}, "neither a connection nor an error"},
		{"accepts with a panic", func(t *testing.T) net.Listener {
			return wrapped{Listener: loopbacktest.Listen(t), accept: func() (net.Conn, error) { panic(broken) }}
		}, "a panic in Accept (broken)"},
		{"accepts with an error of two lines", func(t *testing.T) net.Listener {
			return wrapped{Listener: loopbacktest.Listen(t), accept: func() (net.Conn, error) { return nil, errors.Join(broken, broken) }}
		}, `got "broken\nbroken", want a connection`},
		{"accepts with the end of the goroutine", func(t *testing.T) net.Listener {
			return wrapped{Listener: loopbacktest.Listen(t), accept: func() (net.Conn, error) { runtime.Goexit(); return nil, nil }}
		}, "an end of the goroutine in Accept"},
		{"has no descriptors", func(t *testing.T) net.Listener {
			return wrapped{Listener: loopbacktest.Listen(t), accept: func() (net.Conn, error) { return nil, noDescriptors }}
		}, "got accept tcp: accept: "},
		{"has a deadline that has passed", func(t *testing.T) net.Listener {
			ln := listenOn(t, "tcp4", "127.0.0.1:0").(*net.TCPListener)
			require.NoError(t, ln.SetDeadline(time.Now().Add(-time.Second)))
			return ln
		}, "i/o timeout, want a connection"},
		{"closes at once", func(t *testing.T) net.Listener {
			ln := loopbacktest.Listen(t)
			return wrapped{Listener: ln, accept: func() (net.Conn, error) {
				c, err := ln.Accept()
				if err == nil {
					c.Close()
				}
				return c, err
			}}
		}, "want what the other end has written"},
		{"127.0.0.1 for every loopback client", func(t *testing.T) net.Listener {
			ln := loopbacktest.Listen(t)
			if c, err := net.Listen("tcp", "127.0.0.2:0"); err != nil {
				t.Skipf("needs another address: %v", err)
			} else {
				c.Close()
			}
			return wrapped{Listener: ln, accept: func() (net.Conn, error) {
				for {
					c, err := ln.Accept()
					if err != nil {
						return nil, err
					}
					if host, _, _ := net.SplitHostPort(c.RemoteAddr().String()); host == "127.0.0.1" || host == "::1" {
						return c, nil
					}
					c.Close()
				}
			}}
		}, "as this one at 127.0.0.2"},
		{"every interface of IPv6, beside 127.0.0.1", func(t *testing.T) net.Listener {
			four := listenOn(t, "tcp4", "127.0.0.1:0")
			six := listenOn(t, "tcp6", fmt.Sprintf("[::]:%d", four.Addr().(*net.TCPAddr).Port))
			return newPair(four, six)
		}, "other machines reach"},
		{"serves one client", func(t *testing.T) net.Listener {
			ln := loopbacktest.Listen(t)
			return wrapped{Listener: ln, accept: func() (net.Conn, error) { defer ln.Close(); return ln.Accept() }}
		}, "loopbacktest: [::1]:"},
		{"loses what is written", func(t *testing.T) net.Listener {
			return onConns(loopbacktest.Listen(t), func(c net.Conn) net.Conn { return silent{c} })
		}, "want what the other end has written"},
		{"changes what is read", func(t *testing.T) net.Listener {
			return onConns(loopbacktest.Listen(t), func(c net.Conn) net.Conn { return lowering{c} })
		}, "got other data"},
		{"another client's address", func(t *testing.T) net.Listener {
			return onConns(loopbacktest.Listen(t), func(c net.Conn) net.Conn { return elsewhere{Conn: c, addr: nil} })
		}, "no connection from Accept"},
		{"a connection that panics", func(t *testing.T) net.Listener {
			return onConns(loopbacktest.Listen(t), func(net.Conn) net.Conn { return elsewhere{} })
		}, "the listener: got a panic"},
		{"a panic in Addr", func(t *testing.T) net.Listener {
			return wrapped{Listener: loopbacktest.Listen(t), addr: func() net.Addr { panic(broken) }}
		}, "Addr: got a panic (broken)"},
		{"a panic in SyscallConn", func(t *testing.T) net.Listener { return raw{Listener: loopbacktest.Listen(t)} }, "there is no socket: a method of loopbacktest_test.raw panics: no socket"},
		{"a panic in File", func(t *testing.T) net.Listener { return raw{Listener: loopbacktest.Listen(t)} }, "the files of the listener: got a panic"},
		{"one of its files is bound to every interface", func(t *testing.T) net.Listener {
			return filed{Listener: loopbacktest.Listen(t), t: t}
		}, "a socket of the listener: got verify tcp"},
		{"its file is bound to every interface", func(t *testing.T) net.Listener {
			return oneFile{Listener: loopbacktest.Listen(t), file: func() (*os.File, error) {
				return listenOn(t, "tcp4", "0.0.0.0:0").(*net.TCPListener).File()
			}}
		}, "a socket of the listener: got verify tcp"},
		{"drops IPv6 clients", func(t *testing.T) net.Listener {
			ln := loopbacktest.Listen(t)
			return wrapped{Listener: ln, accept: func() (net.Conn, error) {
				for {
					c, err := ln.Accept()
					if err != nil || c.RemoteAddr().(*net.TCPAddr).IP.To4() != nil {
						return c, err
					}
					c.Close()
				}
			}}
		}, "loopbacktest: [::1]:"},
	}
}

// withoutNumbers returns the lines of an error, without ports, descriptors and
// paths.
func withoutNumbers(err error) []string {
	text := regexp.MustCompile(`(\.\d+|\]):\d+\b`).ReplaceAllString(fmt.Sprint(err), "$1:PORT")
	text = regexp.MustCompile(`descriptor \d+`).ReplaceAllString(text, "descriptor N")
	return strings.Split(regexp.MustCompile(`got /.*/s,`).ReplaceAllString(text, "got PATH,"), "\n")
}

func TestTestListenerFindsFaults(t *testing.T) {
	skipSlow(t)
	faults := listenerFaults()
	said := make([][]string, len(faults))
	var all sync.WaitGroup
	for i, tt := range faults {
		all.Go(func() { // most wait
			t.Run(tt.name, func(t *testing.T) {
				ln := tt.impl(t)
				err := loopbacktest.TestListener(ln)
				said[i] = withoutNumbers(err)
				ln.Close()
				failuresOf(t, err)
				assert.ErrorContains(t, err, tt.find)
			})
		})
	}
	all.Wait()
	if runtime.GOOS != "linux" || len(loopbacktest.Listen(t).AddrPorts()) < 2 {
		return // the texts are those of Linux with both families
	}
	var got []string
	for i, tt := range faults {
		if !strings.HasPrefix(tt.name, "every interface") { // what it says depends on the addresses of the machine
			got = append(append(got, tt.name+":"), said[i]...)
		}
	}
	assertAsked(t, "listener_failures.txt", got, none)
	assert.EqualError(t, loopbacktest.TestListener(nil), "loopbacktest: TestListener: the listener is nil")
	assert.EqualError(t, loopbacktest.TestListener((*loopback.Listener)(nil)), "loopbacktest: TestListener: the listener is nil")
}

// A held listener drops connections to ::1, so that a call of Accept waits. It
// counts the calls that wait, and takes deadlines unless it has an error.
type held struct {
	net.Listener
	waiting   atomic.Int32
	err       error
	deadlines []time.Time
}

func (h *held) Accept() (net.Conn, error) {
	h.waiting.Add(1)
	defer h.waiting.Add(-1)
	for {
		c, err := h.Listener.Accept()
		if err != nil || c.LocalAddr().(*net.TCPAddr).IP.To4() != nil {
			return c, err
		}
		c.Close()
	}
}

// A heldUntil is a held listener with deadlines.
type heldUntil struct{ *held }

func (h heldUntil) SetDeadline(t time.Time) error {
	if h.deadlines = append(h.deadlines, t); errors.Is(h.err, net.ErrClosed) {
		return h.err
	} else if h.err != nil {
		panic(h.err)
	}
	return h.Listener.(*loopback.Listener).SetDeadline(t)
}

// A call of Accept that waits ends with the suite, which leaves the listener as
// it was.
func TestTestListenerEndsItsAccept(t *testing.T) {
	if len(loopbacktest.Listen(t).AddrPorts()) < 2 {
		t.Skip("needs both families")
	}
	requireNothingLeft(t)
	var all sync.WaitGroup
	for _, how := range []string{"by a deadline", "by a connection", "by a connection, as it takes no deadline", "by a connection, as SetDeadline panics"} {
		all.Go(func() {
			ln := loopbacktest.Listen(t)
			defer ln.Close()
			h := &held{Listener: ln}
			var err error
			switch how {
			case "by a connection":
				err = loopbacktest.TestListener(h)
			case "by a deadline":
				err = loopbacktest.TestListener(heldUntil{h})
			default:
				h.err = net.ErrClosed
				if strings.HasSuffix(how, "panics") {
					h.err = errors.New("no deadline")
				}
				err = loopbacktest.TestListener(heldUntil{h})
			}
			assert.ErrorContains(t, err, "got no connection from Accept within 5s, want a connection", how)
			assert.Zero(t, h.waiting.Load(), how)
			switch how {
			case "by a deadline":
				assert.Len(t, h.deadlines, 2)
				assert.True(t, h.deadlines[1].IsZero(), "no deadline is left")
			case "by a connection":
				assert.Empty(t, h.deadlines)
			}
			assert.NoError(t, ln.SetDeadline(time.Now().Add(-time.Second)))
			_, err = ln.Accept()
			assert.ErrorIs(t, err, os.ErrDeadlineExceeded, how)
		})
	}
	all.Wait()
}

// Another program's connection does not count as the suite's own.
func TestTestListenerAmongOtherClients(t *testing.T) {
	ln := loopbacktest.Listen(t)
	for range 5 {
		c, err := net.Dial("tcp", ln.Addr().String())
		require.NoError(t, err)
		defer c.Close()
	}
	assert.NoError(t, loopbacktest.TestListener(ln))
	require.NoError(t, ln.SetDeadline(time.Now().Add(-time.Second)))
}
