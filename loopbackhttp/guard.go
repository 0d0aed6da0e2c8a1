// Package loopbackhttp protects an HTTP server on loopback from the web pages
// that run in this machine's browsers.
//
// Any page can make a browser send requests to a loopback port. A page whose
// name an attacker resolves to 127.0.0.1 can also read the answers, because the
// browser takes page and server for one origin (DNS rebinding). A [Guard] denies
// both. It serves the server's own pages, links and redirects to them, and
// programs that are not browsers.
//
// [ListenAndServe] takes the place of http.ListenAndServe. A server with other
// settings is made with [Guard.Server] and served on a listener of
// loopback.Listen.
//
// A Guard is not authentication. Every process of this machine can send the
// headers that a Guard reads.
package loopbackhttp

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"example.com/loopback"
)

// ErrDenied is wrapped by the errors of [Guard.Check].
var ErrDenied = errors.New("loopbackhttp: request denied")

// A Guard tells requests that are meant for a server on loopback from requests
// that a page of another origin made a browser send. The zero Guard is ready to
// use, and is what most servers need.
//
// A Guard applies these rules, in this order:
//
//  1. A request over a unix socket is admitted, because browsers do not connect
//     to one. A request whose connection has any other local address must have
//     come in at a loopback address. A request without a local address goes on
//     to the next rule.
//  2. The Host must be a loopback address, localhost, or one of Hosts, with any
//     port or none. A name below localhost must be one of Hosts. Headers that
//     proxies add, such as X-Forwarded-Host, are not read. HTTP/1.0 allows a
//     request without a Host, as DialHTTP of net/rpc sends it. It is denied.
//  3. Origin, Sec-Fetch-Site, Sec-Fetch-Mode, Sec-Fetch-Dest, Sec-Fetch-User
//     and Sec-Fetch-Storage-Access must not be repeated.
//  4. A request whose Sec-Fetch-Site is same-origin or none is admitted.
//  5. A request without Sec-Fetch-Site is admitted if it has no Origin, if its
//     Origin is one of Origins, or if its Origin is http:// or https:// and
//     then the Host. Case is ignored in ASCII. The ports must be the same text,
//     so a default port does not match a missing one.
//  6. A request with another Sec-Fetch-Site is admitted if its Origin is one of
//     Origins, or if it is a GET or HEAD whose Sec-Fetch-Mode is navigate and
//     whose Sec-Fetch-Dest is document.
//  7. All other requests are denied.
//
// Rule 6 lets a user follow a link to the server, and an authorization server
// redirect to it (RFC 8252, section 7.3). So a GET must not change anything
// that matters. A WebSocket starts as a GET without navigation, and is admitted
// for the server's own pages and those of Origins. The Guard answers no CORS
// preflight: a handler for pages of Origins does that.
//
// A reverse proxy on this machine that keeps the Host needs its names in Hosts.
// A reverse proxy that replaces the Host needs a Guard in front of it: a Guard
// behind it cannot tell rebinding, and denies the proxy's own Origin where there
// is no Sec-Fetch-Site. A listener of the PROXY protocol gives a connection the
// local address that its client connected to, so rule 1 denies clients from the
// network. A service behind the published port of a container is not on loopback,
// and a Guard in the container denies its clients.
//
// A Guard judges the requests that its Handler is called with. A handler that
// takes over a connection and serves more requests on it, such as h2c.NewHandler
// of golang.org/x/net, must be around the Guard and not behind it. The field
// Protocols of [http.Server] has HTTP/2 without TLS and without such a handler.
//
// httptest.NewRequest makes a request without a local address and with the Host
// example.com. Give it the target "http://localhost/", or list example.com in
// Hosts. A request to an httptest.Server is judged like any other.
//
// A Guard is safe for concurrent use. It must not be copied, and its fields
// must not change, after its first use.
type Guard struct {
	// Hosts lists further hosts to serve: a name such as "app.example.com",
	// the names below one such as ".localhost", or an address such as
	// "192.0.2.1" or "2001:db8::1", which may be in brackets.
	//
	// Names are equal without regard to ASCII case and to one final dot.
	// Addresses are compared as addresses, IPv4-mapped ones as IPv4. An entry
	// that is neither is malformed, as is one with a port, a zone or a wildcard.
	// A name that is not ASCII is listed in its ASCII form.
	//
	// A page can read the answers if its name is one of Hosts. So the DNS of a
	// listed name must be trusted.
	Hosts []string

	// Origins lists further origins to serve, exactly as browsers send them,
	// such as "http://localhost:3000" or "app://obsidian.md".
	//
	// An entry is malformed if it is not a scheme, "://" and a host, and a port
	// or nothing. So "null" is malformed. It is the origin of every sandboxed
	// page.
	Origins []string

	// OnDeny, if it is not nil, is called by the Handler for each request that
	// is denied, with the error of Check, before the response is written. The
	// calls come from the goroutines of the requests.
	OnDeny func(r *http.Request, err error)

	once  sync.Once // for the rest
	names []string  // of Hosts, without a final dot
	addrs []netip.Addr
	err   error // names a malformed entry
}

// Handler returns a handler that passes the requests that Check admits to next,
// or to http.DefaultServeMux if next is nil. It answers the others with status
// 403 and a constant body. Only OnDeny learns the reason.
//
// Handler panics if Hosts or Origins has a malformed entry.
func (g *Guard) Handler(next http.Handler) http.Handler {
	if err := g.compile(); err != nil {
		panic("loopbackhttp: " + err.Error())
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := g.check(r)
		switch {
		case err != nil:
			if g.OnDeny != nil {
				g.OnDeny(r, err)
			}
			http.Error(w, http.StatusText(http.StatusForbidden), http.StatusForbidden)
		case next == nil:
			http.DefaultServeMux.ServeHTTP(w, r)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// Check returns nil if the Guard admits r. Otherwise it returns an error that
// wraps [ErrDenied] and tells the reason. The error quotes what the client sent,
// shortened and without control characters, so it can be logged.
//
// Check denies a nil request, and every request if Hosts or Origins has a
// malformed entry. It does not call OnDeny.
func (g *Guard) Check(r *http.Request) error {
	if err := g.compile(); err != nil {
		return fmt.Errorf("%w: %w", ErrDenied, err)
	}
	if r == nil {
		return fmt.Errorf("%w: the request is nil", ErrDenied)
	}
	return g.check(r)
}

func (g *Guard) check(r *http.Request) error {
	switch local := r.Context().Value(http.LocalAddrContextKey); placeOf(local) {
	case placeUnix:
		return nil
	case placeOther:
		return &deniedError{subject: "local address", input: fmt.Sprint(local), reason: "not loopback"}
	}
	if !g.admitsHost(r.Host) {
		return &deniedError{subject: "Host", input: r.Host, reason: "neither loopback nor listed"}
	}
	return g.checkOrigin(r)
}

// checkOrigin applies rules 3 to 7 to a request whose Host has been admitted.
func (g *Guard) checkOrigin(r *http.Request) error {
	h := r.Header
	if len(h) <= 3 && !readsAny(h) { // most programs: to walk three takes less time than to look up six
		return nil
	}
	origins, sites, modes, dests := h["Origin"], h["Sec-Fetch-Site"], h["Sec-Fetch-Mode"], h["Sec-Fetch-Dest"]
	if len(origins)|len(sites)|len(modes)|len(dests)|len(h["Sec-Fetch-User"])|len(h["Sec-Fetch-Storage-Access"]) > 1 {
		return fmt.Errorf("%w: %s is repeated", ErrDenied, repeated(h))
	}
	origin, site := first(origins), first(sites)
	switch {
	case site == "same-origin", site == "none":
		return nil
	case slices.Contains(g.Origins, origin): // no entry is empty
		return nil
	case len(sites) > 0:
		if first(modes) == "navigate" && first(dests) == "document" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
			return nil
		}
		return &deniedError{subject: "Sec-Fetch-Site", input: site, reason: "sent by a page of another origin"}
	case len(origins) > 0 && !isOriginOf(r.Host, origin):
		return &deniedError{subject: "Origin", input: origin, reason: "neither the Host's own nor listed"}
	}
	return nil
}

// readsAny reports whether rules 3 to 7 may read a header of h.
func readsAny(h http.Header) bool {
	for name := range h {
		if name == "Origin" || strings.HasPrefix(name, "Sec-Fetch-") {
			return true
		}
	}
	return false
}

// repeated returns the name of the header in h that is repeated although it must
// not be.
func repeated(h http.Header) string {
	for _, name := range []string{"Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest", "Sec-Fetch-User"} {
		if len(h[name]) > 1 {
			return name
		}
	}
	return "Sec-Fetch-Storage-Access"
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// isOriginOf reports whether origin is http:// or https:// and then host, which
// is ASCII. The lengths are equal, so strings.EqualFold finds nothing equal that
// is not ASCII.
func isOriginOf(host, origin string) bool {
	n := len(origin) - len(host)
	switch n {
	case len("http://"), len("https://"):
		scheme, rest := origin[:n], origin[n:]
		return (rest == host || strings.EqualFold(rest, host)) &&
			(scheme == "http://" || scheme == "https://" || strings.EqualFold(scheme, "http://") || strings.EqualFold(scheme, "https://"))
	}
	return false
}

// A place is a kind of local address of a connection.
type place uint8

const (
	placeUnknown place = iota // there is none
	placeUnix
	placeLoopback
	placeOther
)

func placeOf(local any) place {
	switch addr := local.(type) {
	case nil:
		return placeUnknown
	case *net.TCPAddr:
		if loopback.Is(addr.AddrPort().Addr()) { // as loopback.IsNetAddr says, in less time; false of nil
			return placeLoopback
		}
	case *net.UnixAddr:
		if addr != nil {
			return placeUnix
		}
	case net.Addr:
		return placeOfAddr(addr)
	}
	return placeOther
}

// placeOfAddr is placeOf for types of other packages. Their methods may panic
// where there is no socket.
func placeOfAddr(addr net.Addr) (p place) {
	p = placeOther
	defer func() { _ = recover() }()
	switch addr.Network() {
	case "unix", "unixgram", "unixpacket":
		return placeUnix
	}
	if loopback.IsNetAddr(addr) {
		return placeLoopback
	}
	return p
}

// A deniedError names the part of a request that is the reason to deny it. A
// denial that is not logged does not pay for the text.
type deniedError struct{ subject, input, reason string }

func (e *deniedError) Error() string {
	return fmt.Sprintf("%v: %s %s: %s", ErrDenied, e.subject, quote(e.input), e.reason)
}

func (e *deniedError) Unwrap() error { return ErrDenied }

// quote quotes s, which came from outside, and shortens it if it is long.
func quote(s string) string {
	const most = 64
	if len(s) <= most {
		return strconv.Quote(s)
	}
	cut := most
	for cut > most-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return strconv.Quote(s[:cut]) + "..."
}
