package loopbacktest

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"example.com/loopback"
)

// TestForbid tests a dial function that takes addresses from outside and must not
// connect to this machine's loopback (server-side request forgery). A [net.Dialer]
// with [loopback.Forbid] as its Control passes. TestForbid starts servers on the
// loopback addresses and dials every text that may lead there: addresses in all
// spellings, names of the hosts file, and names of DNS, some of which have a
// harmless address first. A connection that reaches a server is a failure,
// whatever dial returns. A dial function that reaches nothing at all passes. The
// ports are any that are free, so one that refuses most ports is to be tested
// without that rule.
//
// TestForbid replaces [net.DefaultResolver] while it runs, by a resolver that
// answers without a network. The names of DNS end in .test (RFC 2606). A dial
// function with another resolver asks that for them, and does not find them.
// Package net reads that variable whenever it looks up a name, dials or listens,
// so nothing else may do so meanwhile: a test that calls TestForbid must not call
// t.Parallel. Calls of TestForbid wait for each other. When ctx ends, TestForbid
// ends, and its error wraps that of ctx.
func TestForbid(ctx context.Context, dial func(ctx context.Context, network, address string) (net.Conn, error)) error {
	switch {
	case dial == nil:
		return errors.New("loopbacktest: TestForbid: the dial function is nil")
	case ctx == nil:
		return errors.New("loopbacktest: TestForbid: the context is nil")
	case ctx.Err() != nil:
		return fmt.Errorf("loopbacktest: TestForbid: %w", ctx.Err())
	}
	select {
	case forbidding <- struct{}{}:
		defer func() { <-forbidding }()
	case <-ctx.Done():
		return fmt.Errorf("loopbacktest: TestForbid: %w", ctx.Err())
	}
	ctx, cancel := context.WithTimeout(ctx, suiteTime)
	defer cancel()
	ts, err := startTraps()
	if err != nil {
		return fmt.Errorf("loopbacktest: TestForbid: %w", err)
	}
	defer ts.close()
	zone := &dnsZone{forTCP: map[string]string{nowhere4: unrouted(nowhere4), nowhere6: unrouted(nowhere6)}}
	before := net.DefaultResolver
	net.DefaultResolver = zone.resolver()
	defer func() { net.DefaultResolver = before }()

	var failed failures
	for _, target := range ts.targets(zone) {
		zone.start(target.network)
		if target.prepare != nil {
			target.prepare()
		}
		v := ask(callTime, func() string {
			ctx, cancel := context.WithTimeout(ctx, callTime/2)
			defer cancel()
			return use(dial(ctx, target.network, target.address))
		})
		got := v.problem
		if got == "" {
			got = v.answer
		}
		seen, err := ts.caught()
		if seen != "" {
			got = "a connection to " + seen
		}
		if got != "" {
			failed = append(failed, &Failure{Input: target.network + " " + target.address, Got: got, Want: "refused", Why: target.why})
		}
		if err = cmp.Or(ctx.Err(), err); err != nil {
			return append(failed, fmt.Errorf("loopbacktest: TestForbid: not all was dialled: %w", err))
		}
		if v.hung {
			break
		}
	}
	return failed.err()
}

// forbidding holds a value while a call of TestForbid has replaced
// net.DefaultResolver.
var forbidding = make(chan struct{}, 1)

// use makes a server see a connection that was returned, and closes it. It
// returns what is wrong about the result.
func use(conn net.Conn, err error) (problem string) {
	switch {
	case err != nil:
		return ""
	case isNil(conn):
		return "neither a connection nor an error"
	}
	_ = conn.SetDeadline(time.Now().Add(callTime / 50)) // a socket takes it at once
	if !leadsNowhere(conn) {
		_, _ = conn.Write([]byte("loopbacktest")) // UDP sends nothing before
	}
	_ = conn.Close()
	return ""
}

// leadsNowhere reports whether conn says that it leads to nowhere4 or nowhere6.
func leadsNowhere(conn net.Conn) bool {
	defer func() { _ = recover() }() // it has no address yet
	host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
	return host == nowhere4 || host == nowhere6
}

// A target is what dial is called with.
type target struct {
	network, address, why string
	prepare               func() // is called before, unless it is nil
}

// A lead is a host that may lead to a loopback address, and the reason.
type lead struct{ host, why string }

// targets returns what leads to the traps, on their ports.
func (ts *traps) targets(zone *dnsZone) (list []target) {
	leads := append(spellings(), names(zone)...)
	for _, l := range leads {
		list = append(list, target{network: "tcp", address: l.host + ":" + ts.tcpPort, why: l.why})
		if ts.udpPort != "" {
			list = append(list, target{network: "udp", address: l.host + ":" + ts.udpPort, why: l.why})
		}
	}
	for _, l := range []lead{{"127.0.0.1", "a loopback address"}, {"[::1]", "a loopback address"}, {"localhost", "a localhost name"}, {"", "an empty host is this machine"}} {
		for _, network := range []string{"tcp4", "tcp6"} {
			list = append(list, target{network: network, address: l.host + ":" + ts.tcpPort, why: l.why})
		}
		for _, network := range []string{"udp4", "udp6"} {
			if ts.udpPort != "" {
				list = append(list, target{network: network, address: l.host + ":" + ts.udpPort, why: l.why})
			}
		}
	}
	const moved = "moved.loopbacktest.test"
	for _, addr := range []string{nowhere4, "127.0.0.1"} {
		list = append(list, target{network: "tcp", address: moved + ":" + ts.tcpPort,
			why:     "an answer of DNS does not last: what was allowed once has to be checked again",
			prepare: func() { zone.answers(moved, addr) }})
	}
	return list
}

// spellings returns addresses, and texts that some readers take for one.
func spellings() []lead {
	const (
		spelling = "another spelling of a loopback address"
		whole    = "all of 127.0.0.0/8 is loopback"
		mapped   = "a mapped loopback address"
		wildcard = "a connection to an unspecified address reaches this machine"
		zoned    = "a zone does not change where an address leads"
	)
	return []lead{
		{"127.0.0.1", "a loopback address"}, {"[::1]", "a loopback address"},
		{"127.0.0.2", whole}, {"127.0.1.1", whole}, {"127.255.255.254", whole},
		{"[::ffff:127.0.0.1]", mapped}, {"[::ffff:7f00:1]", mapped}, {"[::ffff:127.0.0.2]", mapped},
		{"0.0.0.0", wildcard}, {"[::]", wildcard}, {"", wildcard}, {"[::ffff:0.0.0.0]", wildcard},
		{"[::1%lo]", zoned}, {"[::1%1]", zoned},
		{"[0:0:0:0:0:0:0:1]", spelling}, {"[::FFFF:127.0.0.1]", spelling}, {"[0::0001]", spelling},
		{"127.1", spelling}, {"127.0.1", spelling}, {"2130706433", spelling}, {"0x7f000001", spelling}, {"0x7f.0.0.1", spelling},
		{"0177.0.0.1", spelling}, {"017700000001", spelling}, {"127.0.0.01", spelling}, {"127.000.000.001", spelling}, {"0", spelling},
		{"127.0.0.1.", spelling}, {"127\u30020\u30020\u30021", spelling}, {"\uff11\uff12\uff17.0.0.1", spelling}, {"%31%32%37.0.0.1", spelling},
	}
}

// names returns names of the hosts file and of DNS.
func names(zone *dnsZone) []lead {
	const (
		name     = "a localhost name"
		hosts    = "a name that hosts files have"
		resolved = "what a name resolves to is what counts"
		every    = "every answer of DNS may be dialled, not just the first"
		rebound  = "DNS answers otherwise later: what is dialled has to be checked, not what was looked up before"
	)
	zone.answers("localhost", "127.0.0.1", "::1") // as resolvers do: RFC 6761, section 6.3
	zone.answers("app.localhost", "127.0.0.1", "::1")
	for _, text := range []string{"0x7f000001", "0x7f.0.0.1"} { // as resolvers of a C library do; package net asks for no number
		zone.answers(text, "127.0.0.1")
	}
	leads := []lead{
		{"localhost", name}, {"LOCALHOST", name}, {"LocalHost", name}, {"localhost.", name}, {"app.localhost", name}, {"app.localhost.", name},
		{"localho\u017ft", name}, {"ip6-localhost", hosts}, {"ip6-loopback", hosts}, {"localhost4", hosts}, {"localhost6", hosts}, {"localhost.localdomain", hosts},
		{zone.answers("a.loopbacktest.test", "127.0.0.1"), resolved},
		{zone.answers("other.loopbacktest.test", "127.0.0.2"), resolved},
		{zone.answers("aaaa.loopbacktest.test", "::1"), resolved},
		{zone.answers("mapped.loopbacktest.test", "::ffff:127.0.0.1"), resolved},
		{zone.answers("zero.loopbacktest.test", "0.0.0.0"), resolved},
		{zone.answers("zero6.loopbacktest.test", "::"), resolved},
		{zone.answers("both.loopbacktest.test", "127.0.0.1", "::1"), resolved},
		{zone.alias("alias.loopbacktest.test", "localhost", "127.0.0.1"), resolved},
		{zone.answers("second.loopbacktest.test", nowhere4, "127.0.0.1"), every},
		{zone.answers("mixed.loopbacktest.test", nowhere4, "::1"), every},
		{zone.changes("rebind.loopbacktest.test", 1, nowhere4, "127.0.0.1"), rebound},
		{zone.changes("rebind6.loopbacktest.test", 1, nowhere6, "::1"), rebound},
		{zone.changes("third.loopbacktest.test", 2, nowhere4, "127.0.0.1"), rebound},
		{zone.changes("appears.loopbacktest.test", 1, "", "127.0.0.1"), "DNS answers the second time only: where the check finds nothing, the dial must not go on"},
	}
	if hostname, err := os.Hostname(); err == nil && !strings.ContainsAny(hostname, ":[]% ") {
		leads = append(leads, lead{hostname, "Debian gives 127.0.1.1 to the name of the machine"})
	}
	own4, own6 := ownAddrsByFamily()
	if own4.IsValid() {
		leads = append(leads, lead{zone.changes("own.loopbacktest.test", 1, own4.String(), "127.0.0.1"), rebound})
	}
	if own6.IsValid() { // which stands before an IPv4 address: RFC 6724
		leads = append(leads, lead{zone.answers("own6.loopbacktest.test", own6.String(), "127.0.0.1"), every})
	}
	return leads
}

// nowhere4 and nowhere6 are public addresses for most checks: of "this network",
// RFC 1122, section 3.2.1.3, and for documentation, RFC 3849. No datagram is sent
// to them, and TCP is led to unrouted of them.
const nowhere4, nowhere6 = "0.0.0.1", "2001:db8:ffff::1"

// unrouted returns addr if this machine has no route to it, and otherwise the
// broadcast address, with which TCP never connects: RFC 1122, section 4.2.3.10.
func unrouted(addr string) string {
	c, err := net.Dial("udp", net.JoinHostPort(addr, "9")) // sends nothing
	if err != nil {
		return addr
	}
	c.Close()
	return "255.255.255.255"
}

// ownAddrsByFamily returns addresses of this machine that are not loopback: what
// is sent to them stays here.
func ownAddrsByFamily() (addr4, addr6 netip.Addr) {
	for _, addr := range otherAddrs() {
		switch {
		case addr.Is4():
			addr4 = addr
		case addr.IsGlobalUnicast() && !addr.IsPrivate():
			addr6 = addr
		}
	}
	return addr4, addr6
}

// traps are servers on the loopback addresses.
type traps struct {
	tcpPort, udpPort string // "" if there is none
	servers          []*trap
	running          sync.WaitGroup
}

// A trap is one server. It tells of what arrives, in the order of arrival.
type trap struct {
	seen  chan arrival
	close func() error
	poke  func() (who string, err error) // connects, and returns how that will be told
}

// An arrival is a connection or a datagram.
type arrival struct{ who, at string }

// tell hands an arrival on, in place of the oldest if there are too many. It is
// for the one goroutine that sends to the channel.
func tell(seen chan arrival, a arrival) {
	if len(seen) == cap(seen) {
		select {
		case <-seen:
		default:
		}
	}
	seen <- a
}

// startTraps listens on 127.0.0.1 and ::1, and on other addresses of 127.0.0.0/8
// as far as this machine has them.
func startTraps() (*traps, error) {
	ts := new(traps)
	ln, err := loopback.Listen("tcp", ":0")
	if err != nil {
		return nil, err
	}
	port := ln.Port()
	ts.tcpPort = fmt.Sprint(port)
	others := []string{"127.0.0.2", "127.0.1.1", "127.255.255.254"}
	ts.addTCP(ln, ln.AddrPorts())
	for _, other := range others {
		if ln, err := net.Listen("tcp4", fmt.Sprintf("%s:%d", other, port)); err == nil {
			ts.addTCP(ln, []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr(other), port)})
		}
	}
	if pc, err := loopback.ListenPacket("udp", ":0"); err == nil {
		port := pc.Port()
		ts.udpPort = fmt.Sprint(port)
		ts.addUDP(pc, pc.AddrPorts())
		for _, other := range others {
			if pc, err := net.ListenPacket("udp4", fmt.Sprintf("%s:%d", other, port)); err == nil {
				ts.addUDP(pc, []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr(other), port)})
			}
		}
	}
	return ts, nil
}

// addTCP adds a server that tells the remote address of each connection. A
// listener of two addresses is one queue for each.
func (ts *traps) addTCP(ln net.Listener, at []netip.AddrPort) {
	seen := make(chan arrival, 1000)
	ts.running.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			tell(seen, arrival{who: conn.RemoteAddr().String(), at: conn.LocalAddr().String()})
			conn.Close()
		}
	})
	for i, ap := range at {
		t := &trap{seen: seen, close: func() error { return nil }}
		if i == 0 {
			t.close = ln.Close
		}
		t.poke = func() (string, error) {
			c, err := net.DialTimeout("tcp", ap.String(), callTime)
			if err != nil {
				return "", err
			}
			defer c.Close()
			return c.LocalAddr().String(), nil
		}
		ts.servers = append(ts.servers, t)
	}
}

// addUDP adds a server that tells the text of each datagram.
func (ts *traps) addUDP(pc net.PacketConn, addrs []netip.AddrPort) {
	at := fmt.Sprintf("UDP port %d", addrs[0].Port())
	seen := make(chan arrival, 1000)
	ts.running.Go(func() {
		for buf := make([]byte, 64); ; {
			n, _, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			tell(seen, arrival{who: string(buf[:n]), at: at})
		}
	})
	for i, ap := range addrs {
		t := &trap{seen: seen, close: func() error { return nil }}
		if i == 0 {
			t.close = pc.Close
		}
		t.poke = func() (string, error) {
			c, err := net.Dial("udp", ap.String())
			if err != nil {
				return "", err
			}
			defer c.Close()
			text := rand.Text()
			_, err = c.Write([]byte(text))
			return text, err
		}
		ts.servers = append(ts.servers, t)
	}
}

// caught returns the address of the first trap that has seen a connection or a
// datagram since the last call, or "". It connects to each trap itself, which
// then has told of whatever came before. The error says that a trap does not
// work.
func (ts *traps) caught() (at string, err error) {
	for _, t := range ts.servers {
		own, err := t.poke()
		if err != nil {
			return at, err
		}
		timer := time.NewTimer(callTime)
		for told := false; !told && err == nil; {
			select {
			case a := <-t.seen:
				told = a.who == own
				if !told {
					at = cmp.Or(at, a.at)
				}
			case <-timer.C:
				err = errors.New("a server of this test does not answer")
			}
		}
		timer.Stop()
		if err != nil {
			return at, err
		}
	}
	return at, nil
}

func (ts *traps) close() {
	for _, t := range ts.servers {
		_ = t.close() // nothing is to be done about it
	}
	ts.running.Wait()
}
