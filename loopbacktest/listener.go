package loopbacktest

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"example.com/loopback"
	"example.com/loopback/internal/syserr"
)

// TestListener tests a listener that has to serve every client of this machine
// and no other. It connects to the port on 127.0.0.1 and ::1, as far as this
// machine has them, and to 127.0.0.1 from 127.0.0.2. Accept has to return each
// connection, and it has to carry data both ways. The listener must not answer at
// any other address of this machine. Every socket of the listener has to pass
// [loopback.Verify]: the listener itself, if it is a [syscall.Conn], the files of
// its method File or Files, and the listening sockets of this process with the
// port.
//
// TestListener accepts connections, and nothing else may accept meanwhile. It
// accepts again after an error that is temporary, as [net/http.Server] does. It
// closes the connections and leaves the listener open.
//
// A listener that wants a protocol such as TLS of its clients refuses those of
// TestListener, and the listener that it wraps is to be tested.
func TestListener(ln net.Listener) error {
	if isNil(ln) {
		return errors.New("loopbacktest: TestListener: the listener is nil")
	}
	v := ask(suiteTime, func() error { return testListener(ln) })
	if v.problem != "" {
		return failures{&Failure{Input: "the listener", Got: v.problem, Want: "methods that return", Why: "the rest is not tested"}}
	}
	return v.answer
}

func testListener(ln net.Listener) error {
	addr := ask(callTime, func() net.Addr { return ln.Addr() })
	if addr.problem != "" {
		return failures{&Failure{Input: "Addr", Got: addr.problem, Want: "a TCP address", Why: "clients have to know the port"}}
	}
	ap, ok := tcpAddr(addr.answer)
	if !ok {
		return failures{&Failure{Input: "Addr", Got: fmt.Sprint(addr.answer), Want: "a TCP address", Why: "clients have to know the port"}}
	}
	l := &listenerSuite{ln: ln, port: ap.Port()}
	defer l.stop()
	for _, c := range []struct{ to, from netip.Addr }{
		{to: loopback.IPv4(), from: loopback.IPv4()},
		{to: loopback.IPv6(), from: loopback.IPv6()},
		{to: loopback.IPv4(), from: loopback.IPv4().Next()},
	} {
		if has(c.to) && has(c.from) && !l.serves(c.to, c.from) {
			return l.failed.err()
		}
	}
	for _, other := range otherAddrs() {
		l.keepsAway(other)
	}
	l.sockets()
	return l.failed.err()
}

// tcpAddr returns the address and port of a.
func tcpAddr(a net.Addr) (netip.AddrPort, bool) {
	if isNil(a) || !strings.HasPrefix(a.Network(), "tcp") {
		return netip.AddrPort{}, false
	}
	ap, err := netip.ParseAddrPort(a.String())
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port()), err == nil
}

// has reports whether this machine has the loopback address. It is true as well
// where a lack of descriptors hides that: what follows then fails, too.
func has(addr netip.Addr) bool {
	ln, err := net.Listen("tcp", netip.AddrPortFrom(addr, 0).String())
	if err != nil {
		return syserr.Exhausted(err)
	}
	defer ln.Close()
	c, err := net.DialTimeout("tcp", ln.Addr().String(), callTime)
	if err != nil {
		return syserr.Exhausted(err)
	}
	c.Close()
	return true
}

// otherAddrs returns the addresses of this machine that are not loopback. It
// leaves out those that routing leads to the network, as where an interface is of
// another routing table (VRF).
func otherAddrs() (addrs []netip.Addr) {
	interfaces, _ := net.Interfaces() // where there is no list, there is nothing to try
	for _, i := range interfaces {
		own, _ := i.Addrs()
		for _, a := range own {
			p, err := netip.ParsePrefix(a.String())
			if err != nil || loopback.Is(p.Addr()) || p.Addr().IsMulticast() {
				continue
			}
			addr := p.Addr()
			if addr.IsLinkLocalUnicast() {
				addr = addr.WithZone(i.Name) // an IPv4 address has none
			}
			if self, err := loopback.IsSelf(addr); self || err != nil {
				addrs = append(addrs, addr)
			}
		}
	}
	return addrs
}

// A listenerSuite is the state of TestListener.
type listenerSuite struct {
	ln      net.Listener
	port    uint16
	failed  failures
	pending chan accepted // what a call of Accept that is under way will send
	reached netip.Addr    // a loopback address that was accepted at
}

// accepted is what a call of Accept returned.
type accepted struct {
	conn      net.Conn
	problem   string
	temporary bool // the next call may have a connection
}

func (l *listenerSuite) fail(addr netip.Addr, got, want, why string) {
	l.failed = append(l.failed, &Failure{Input: netip.AddrPortFrom(addr, l.port).String(), Got: got, Want: want, Why: why})
}

// serves connects to a loopback address from another, and reports whether to go
// on.
func (l *listenerSuite) serves(addr, from netip.Addr) bool {
	const want = "a connection"
	client, err := l.dial(addr, from)
	if err != nil {
		l.fail(addr, err.Error(), want, "clients of localhost try both families")
		return true
	}
	defer client.Close()
	server, problem := l.accept(client)
	if problem != "" {
		l.fail(addr, problem, want, fmt.Sprintf("a client of this machine has to be served, as this one at %v", from))
		return l.pending == nil
	}
	l.reached = addr
	defer server.Close()
	text := []byte(rand.Text())
	for _, way := range []struct{ from, to net.Conn }{{client, server}, {server, client}} {
		if got := carry(way.from, way.to, text); got != "" {
			l.fail(addr, got, "what the other end has written", "an accepted connection has to work")
			break
		}
	}
	return true
}

// carry writes text to one end of a connection and reads it from the other.
func carry(from, to net.Conn, text []byte) (problem string) {
	v := ask(2*callTime, func() string {
		deadline := time.Now().Add(callTime)
		_, _ = from.SetDeadline(deadline), to.SetDeadline(deadline)
		if _, err := from.Write(text); err != nil {
			return err.Error()
		}
		got := make([]byte, len(text))
		if _, err := io.ReadFull(to, got); err != nil {
			return err.Error()
		}
		if !bytes.Equal(got, text) {
			return "other data"
		}
		return ""
	})
	return v.answer + v.problem
}

func (l *listenerSuite) dial(addr, from netip.Addr) (net.Conn, error) {
	d := net.Dialer{Timeout: callTime, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	return d.Dial("tcp", netip.AddrPortFrom(addr, l.port).String())
}

// accept accepts the connection of client. It closes any other that comes
// first.
func (l *listenerSuite) accept(client net.Conn) (server net.Conn, problem string) {
	timer := time.NewTimer(callTime)
	defer timer.Stop()
	last := fmt.Sprintf("no connection from Accept within %v", callTime)
	for {
		if l.pending == nil {
			l.pending = l.startAccept()
		}
		select {
		case a := <-l.pending:
			l.pending = nil
			switch {
			case a.temporary:
				last = a.problem
				time.Sleep(5 * time.Millisecond) // as net/http does
			case a.problem != "" || same(a.conn.RemoteAddr(), client.LocalAddr()):
				return a.conn, a.problem
			default:
				a.conn.Close()
			}
		case <-timer.C:
			return nil, last
		}
	}
}

// startAccept calls Accept, and returns where to wait for the result.
func (l *listenerSuite) startAccept() chan accepted {
	result := make(chan accepted, 1)
	go func() {
		a := accepted{problem: "an end of the goroutine in Accept"}
		defer func() {
			if p := recover(); p != nil {
				a.problem = fmt.Sprintf("a panic in Accept (%v)", p)
			}
			result <- a
		}()
		conn, err := l.ln.Accept()
		switch {
		case err != nil:
			a = accepted{problem: err.Error(), temporary: isTemporary(err)}
		case isNil(conn):
			a.problem = "neither a connection nor an error from Accept"
		default:
			a = accepted{conn: conn}
		}
	}()
	return result
}

// isTemporary reports whether an error of Accept says that the next call may
// succeed. A deadline that has passed says so as well, wrongly.
func isTemporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary() && !errors.Is(err, os.ErrDeadlineExceeded)
}

// same reports whether two addresses are one.
func same(a, b net.Addr) bool {
	x, ok := tcpAddr(a)
	y, ok2 := tcpAddr(b)
	return ok && ok2 && x == y
}

// keepsAway connects to an address that is not loopback. An answer counts if it
// is the listener's: another program may have the port there.
func (l *listenerSuite) keepsAway(addr netip.Addr) {
	client, err := net.DialTimeout("tcp", netip.AddrPortFrom(addr, l.port).String(), time.Second)
	if err != nil {
		return
	}
	defer client.Close()
	if own, err := loopback.Sockets(); err == nil { // else it is taken for the listener's
		taken := false
		for _, s := range own {
			at := s.Addr.Addr()
			taken = taken || s.Network == "tcp" && s.Addr.Port() == l.port && (at.IsUnspecified() || at == addr.WithZone("").Unmap())
		}
		if !taken {
			return
		}
	}
	l.fail(addr, "a connection", "none", "the address is not loopback: other machines reach it")
}

// sockets verifies the sockets of the listener.
func (l *listenerSuite) sockets() {
	if c, ok := l.ln.(syscall.Conn); ok {
		l.verify("the socket of the listener", c)
	}
	files := ask(callTime, l.files)
	if files.problem != "" {
		l.failed = append(l.failed, &Failure{Input: "the files of the listener", Got: files.problem, Want: "files or an error", Why: "a method has to return"})
	}
	for _, f := range files.answer { // without, the list of this process's sockets has to do
		if len(l.failed) == 0 { // a duplicate says the same
			l.verify("a socket of the listener", f)
		}
		f.Close()
	}
	own, _ := loopback.Exposed()
	for _, s := range own {
		if s.Network == "tcp" && s.Addr.Port() == l.port && len(l.failed) == 0 {
			l.failed = append(l.failed, &Failure{Input: s.String(), Got: "exposed", Want: "bound to loopback alone", Why: "other machines reach what is not"})
		}
	}
}

func (l *listenerSuite) verify(what string, c syscall.Conn) {
	v := ask(callTime, func() error { return loopback.Verify(c) })
	got := v.problem
	if v.answer != nil && !errors.Is(v.answer, errors.ErrUnsupported) {
		got = v.answer.Error()
	}
	if got != "" {
		l.failed = append(l.failed, &Failure{Input: what, Got: got, Want: "bound to loopback alone", Why: "other machines reach what is not"})
	}
}

// files returns duplicates of the sockets of the listener.
func (l *listenerSuite) files() (files []*os.File) {
	switch f := l.ln.(type) {
	case interface{ Files() ([]*os.File, error) }:
		files, _ = f.Files()
	case interface{ File() (*os.File, error) }:
		if file, err := f.File(); err == nil {
			files = append(files, file)
		}
	}
	return files
}

// stop ends a call of Accept that is under way, without closing the listener.
func (l *listenerSuite) stop() {
	if l.pending == nil {
		return
	}
	if d, ok := l.ln.(interface{ SetDeadline(time.Time) error }); ok && setDeadline(d, time.Now()) {
		defer setDeadline(d, time.Time{}) // as before
	} else if l.reached.IsValid() { // a connection of one's own ends it as well
		if c, err := l.dial(l.reached, l.reached); err == nil {
			defer c.Close()
		}
	}
	select {
	case a := <-l.pending:
		if a.conn != nil {
			a.conn.Close()
		}
	case <-time.After(callTime): // it is not to be stopped
	}
}

// setDeadline reports whether a listener has taken the deadline.
func setDeadline(ln interface{ SetDeadline(time.Time) error }, t time.Time) bool {
	v := ask(callTime, func() error { return ln.SetDeadline(t) })
	return v.problem == "" && v.answer == nil
}
