// Package conformance runs the suites of package loopbacktest over libraries that
// do one of these jobs. It is a module of its own, so that nobody else downloads
// them. What it logs is in ../conformance.md.
package conformance

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"testing"

	"code.dny.dev/ssrf"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/unrolled/secure"
	"golang.org/x/net/http/httpproxy"

	"example.com/loopback/loopbacktest"
)

var hello = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })

// found tells what a suite found, which is no failure: a library may have its
// reasons. The test fails if it is not as much as ../conformance.md says.
func found(t *testing.T, faults int, err error) {
	t.Helper()
	var all []error
	if err != nil {
		t.Logf("\n%v", err)
		all = err.(interface{ Unwrap() []error }).Unwrap()
	}
	if len(all) != faults {
		t.Errorf("found %d, and ../conformance.md says %d", len(all), faults)
	}
}

func TestMultiaddrIsIPLoopback(t *testing.T) {
	found(t, 0, loopbacktest.TestIs(func(addr netip.Addr) bool {
		ma, err := manet.FromIP(addr.AsSlice())
		return err == nil && manet.IsIPLoopback(ma)
	}))
}

// The proxy function of package httpproxy leaves localhost alone.
func TestHTTPProxyBypass(t *testing.T) {
	proxy := (&httpproxy.Config{HTTPProxy: "http://192.0.2.1:3128"}).ProxyFunc()
	found(t, 34, loopbacktest.TestIsHost(func(host string) bool {
		authority := host
		if addr, err := netip.ParseAddr(host); err == nil && addr.Is6() {
			authority = "[" + host + "]"
		}
		via, err := proxy(&url.URL{Scheme: "http", Host: authority})
		return err == nil && via == nil
	}))
}

func TestSSRFGuardian(t *testing.T) {
	guard := ssrf.New(ssrf.WithAnyPort(), ssrf.WithNetworks("tcp4", "tcp6", "udp4", "udp6"))
	found(t, 0, loopbacktest.TestForbid(t.Context(), (&net.Dialer{Control: guard.Safe}).DialContext))
}

func TestSecureAllowedHosts(t *testing.T) {
	guard := secure.New(secure.Options{AllowedHostsAreRegex: true, AllowedHosts: []string{`localhost(:\d+)?`, `127\.\d+\.\d+\.\d+(:\d+)?`, `\[::1\](:\d+)?`}})
	found(t, 44, loopbacktest.TestHandler(guard.Handler(hello)))
}

func TestCrossOriginProtection(t *testing.T) {
	found(t, 78, loopbacktest.TestHandler(http.NewCrossOriginProtection().Handler(hello)))
}
