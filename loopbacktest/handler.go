package loopbacktest

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"example.com/loopback"
)

// TestHandler tests an HTTP handler that has to refuse DNS rebinding and
// cross-site requests, as the Guard of package loopbackhttp does without lists.
// The handler has to serve the requests of local programs and of its own pages.
// It has to refuse requests that a page of another site can send: those with a
// Host that is not loopback, with an Origin that is not its own, and the others
// in testdata/host_headers.tsv. It must not take the Host from a header such as
// X-Forwarded-Host, which a page can send.
//
// The requests are for "/", with various methods, to a server on loopback. A
// status of 200 to 399 is "served", as is 101 for a WebSocket, and anything else
// is "refused". The handler behind the guard therefore has to serve "/" with every
// method: a route for GET alone refuses the others (405). A handler that refuses
// everything fails. A request that is not answered in time is a failure, and no
// other follows.
func TestHandler(h http.Handler) error {
	if isNil(h) {
		return errors.New("loopbacktest: TestHandler: the handler is nil")
	}
	ln, err := loopback.Listen("tcp", ":0")
	if err != nil {
		return fmt.Errorf("loopbacktest: TestHandler: %w", err)
	}
	local := &labelled{Listener: ln}
	server := &http.Server{Handler: h, ReadHeaderTimeout: callTime, ErrorLog: log.New(io.Discard, "", 0)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(local) // until it is closed
	}()
	defer func() {
		_ = server.Close()
		<-ended
	}()
	var failed failures
	start := time.Now()
	for _, r := range append(requestRows(), attacks()...) {
		if time.Since(start) > suiteTime {
			failed = append(failed, tooSlow)
			break
		}
		local.addr.Store(&r.local)
		a := r.send(ln.Addr().String())
		if a.served != r.served || a.late { // the rest is not tested
			failed = append(failed, &Failure{Input: r.String(), Got: a.text, Want: r.want(), Why: r.why})
		}
		if a.late {
			break
		}
	}
	return failed.err()
}

// The table of requests is that of package loopbackhttp.
//
//go:embed testdata/host_headers.tsv
var hostHeaders string

var method = regexp.MustCompile("^[A-Z]+$")

// A request is a row of the table, or one of attacks.
type request struct {
	method  string
	headers []string // "Name: value"
	local   net.Addr // what the connection says that it came in at
	served  bool
	why     string
}

// String returns the request in one line.
func (r request) String() string { return r.method + " / " + strings.Join(r.headers, "; ") }

func (r request) want() string {
	if r.served {
		return "served"
	}
	return "refused"
}

// requestRows returns those rows of the table that are about a guard without
// lists.
func requestRows() (rows []request) {
	for _, line := range strings.Split(strings.TrimSpace(hostHeaders), "\n")[1:] {
		cells := strings.Split(line, "\t")
		tag, why, tagged := strings.Cut(strings.TrimPrefix(cells[5], "["), "] ")
		if !tagged || !strings.HasPrefix(cells[5], "[") {
			tag, why = "", cells[5]
		}
		if strings.HasPrefix(tag, "cfg ") {
			continue
		}
		r := request{method: "POST", served: cells[4] == "allow", why: why, local: localAddr(cells[3])}
		r.add("Host", cells[0])
		r.add("Origin", cells[1])
		r.add("Sec-Fetch-Site", cells[2])
		if words := strings.Fields(tag); len(words) > 0 && method.MatchString(words[0]) { // [GET mode dest]
			r.method = words[0]
			for i, name := range []string{"Sec-Fetch-Mode", "Sec-Fetch-Dest"} {
				if len(words) > i+1 {
					r.add(name, words[i+1])
				}
			}
		}
		rows = append(rows, r)
	}
	return rows
}

// attacks returns requests that have to be refused, beside those of the table.
func attacks() []request {
	const (
		rebound = "rebinding: the Host tells, whatever else is claimed"
		method  = "rebinding: every method counts"
		reads   = "another site must neither load nor embed what is served here"
	)
	attack := func(method, why string, headers ...string) request {
		return request{method: method, headers: headers, why: why, local: localAddr("127.0.0.1:8080")}
	}
	rows := []request{
		attack("GET", rebound, "Host: evil.example:8080", "X-Forwarded-Host: localhost:8080"),
		attack("GET", rebound, "Host: evil.example:8080", "X-Original-Host: localhost:8080"),
		attack("GET", rebound, "Host: evil.example:8080", "X-Host: localhost:8080"),
		attack("GET", rebound, "Host: evil.example:8080", "Forwarded: for=127.0.0.1;host=\"localhost:8080\""),
		attack("GET", rebound, "Host: evil.example:8080", "X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1"),
		attack("GET", rebound, "Host: evil.example:8080", "Origin: http://localhost:8080"),
		attack("GET", rebound, "Host: evil.example:8080", "Referer: http://localhost:8080/"),
		attack("GET", rebound, "Host: evil.example:8080", "Sec-Fetch-Site: same-origin"),
		attack("POST", rebound, "Host: evil.example:8080", "Sec-Fetch-Site: none"),
		attack("GET", rebound, "Host: evil.example:8080", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"),
		attack("GET", rebound, "Host: evil.example:8080", "Connection: keep-alive, Upgrade", "Upgrade: websocket"),
		attack("GET", rebound, "Host: evil.example:8080", "Origin: http://evil.example:8080", "Connection: keep-alive, Upgrade", "Upgrade: websocket"),
		attack("GET", rebound, "Host: evil.example:8080", "User-Agent: curl/8.14.1", "Authorization: Bearer token", "X-Requested-With: XMLHttpRequest"),
		attack("POST", rebound, "Host: evil.example:8080", "Content-Type: application/json"),
		attack("GET", "another site opens a WebSocket", "Host: localhost:8080", "Origin: http://evil.example", "Connection: keep-alive, Upgrade", "Upgrade: websocket"),
		attack("GET", "another site opens a WebSocket", "Host: localhost:8080", "Origin: http://evil.example", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: websocket", "Sec-Fetch-Dest: empty", "Connection: keep-alive, Upgrade", "Upgrade: websocket"),
		attack("POST", "another port is another origin", "Host: localhost:8080", "Origin: http://localhost:3000"),
		attack("POST", "localhost and 127.0.0.1 are different origins", "Host: 127.0.0.1:8080", "Origin: http://localhost:8080"),
		attack("POST", "a sandboxed frame or a file sends null", "Host: localhost:8080", "Origin: null"),
		attack("GET", reads, "Host: localhost:8080", "Origin: http://evil.example", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"),
		attack("HEAD", reads, "Host: localhost:8080", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: empty"),
		attack("POST", "another site sends JSON", "Host: localhost:8080", "Origin: http://evil.example", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Content-Type: application/json"),
	}
	for _, host := range []string{"127.evil.example:8080", "app.localhost.evil.example:8080", "localhost.localdomain.evil.example", "10.0.0.1:8080", "172.16.0.1:8080",
		"169.254.169.254", "100.64.0.1:8080", "0.0.0.1:8080", "[fe80::1]:8080", "[fd00::1]:8080", "[::ffff:10.0.0.1]:8080", "[::127.0.0.1]:8080", "[64:ff9b::7f00:1]:8080", "[::2]:8080"} {
		rows = append(rows, attack("GET", "the Host is not loopback", "Host: "+host))
	}
	for _, m := range []string{"HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"} {
		rows = append(rows, attack(m, method, "Host: evil.example:8080"))
	}
	for _, m := range []string{"PUT", "PATCH", "DELETE"} {
		rows = append(rows, attack(m, "every method that changes something counts", "Host: localhost:8080", "Origin: http://evil.example", "Sec-Fetch-Site: cross-site"))
	}
	for _, dest := range []string{"script", "style", "image", "font", "audio", "video", "object", "embed", "frame"} {
		mode := "no-cors"
		if slices.Contains([]string{"object", "embed", "frame"}, dest) {
			mode = "navigate"
		}
		rows = append(rows, attack("GET", reads, "Host: localhost:8080", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: "+mode, "Sec-Fetch-Dest: "+dest))
	}
	return rows
}

// add adds the header that a cell of the table stands for.
func (r *request) add(name, cell string) {
	switch cell {
	case "-":
		return
	case "<empty>":
		cell = ""
	}
	r.headers = append(r.headers, name+": "+cell)
}

// localAddr returns the address that a cell of the table stands for: "unix", or
// an address and a port, which "via" gives for a listener on every interface.
func localAddr(cell string) net.Addr {
	if cell == "unix" {
		return &net.UnixAddr{Net: "unix", Name: "socket"}
	}
	if _, via, ok := strings.Cut(cell, " via "); ok {
		cell = via
	}
	host, _, err := net.SplitHostPort(cell)
	if err != nil {
		host = cell
	}
	return &net.TCPAddr{IP: net.ParseIP(host), Port: 8080}
}

// An answer is what came back for a request.
type answer struct {
	text   string
	served bool
	late   bool // there was no answer in time, or no connection
}

// send sends the request byte by byte as the table has it: a client of package
// net/http would refuse some.
func (r request) send(server string) answer {
	conn, err := net.DialTimeout("tcp", server, callTime)
	if err != nil {
		return answer{text: err.Error(), late: true}
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(callTime)) // a read tells if it fails
	more := "Connection: close"
	upgrade := slices.Contains(r.headers, "Upgrade: websocket")
	if upgrade { // it has a header Connection: RFC 6455, section 4.1
		more = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
	}
	fmt.Fprintf(conn, "%s / HTTP/1.1\r\n%s\r\n%s\r\nContent-Length: 0\r\n\r\n", r.method, strings.Join(r.headers, "\r\n"), more)
	responses := bufio.NewReader(conn)
	resp, err := http.ReadResponse(responses, &http.Request{Method: r.method})
	for err == nil && resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols { // early hints
		resp, err = http.ReadResponse(responses, &http.Request{Method: r.method})
	}
	if err != nil {
		timeout, ok := errors.AsType[net.Error](err)
		if ok && timeout.Timeout() {
			return answer{text: "no answer in time", late: true}
		}
		return answer{text: "refused (without an answer)"} // as by a handler that panics
	}
	// The body, which may have no end, ends with the connection.
	if resp.StatusCode >= 200 && resp.StatusCode < 400 || upgrade && resp.StatusCode == http.StatusSwitchingProtocols {
		return answer{text: fmt.Sprintf("served (%d)", resp.StatusCode), served: true}
	}
	return answer{text: fmt.Sprintf("refused (%d)", resp.StatusCode)}
}

// labelled is a listener whose connections say that they came in at addr.
type labelled struct {
	net.Listener
	addr atomic.Pointer[net.Addr]
}

func (l *labelled) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return labelledConn{Conn: conn, local: *l.addr.Load()}, nil
}

type labelledConn struct {
	net.Conn
	local net.Addr
}

// LocalAddr returns the label.
func (c labelledConn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns that of a client without a name if the label is a unix
// socket.
func (c labelledConn) RemoteAddr() net.Addr {
	if c.local.Network() == "unix" {
		return &net.UnixAddr{Net: "unix", Name: "@"}
	}
	return c.Conn.RemoteAddr()
}
