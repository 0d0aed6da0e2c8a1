package loopback

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"example.com/loopback/internal/hostsfile"
	"example.com/loopback/internal/netif"
	"example.com/loopback/internal/socktab"
)

// What tests of package loopback_test reach inside for.

// Confirm judges a new socket by what getsockname gave.
func Confirm(got, want netip.AddrPort) error { return confirm(nil, got, want, nil) }

// Trip makes the round trip of a proof of IngressRemote on a socket that is not
// a temporary one: a *net.TCPListener or a *net.UDPConn.
func Trip(ctx context.Context, c any) error {
	g := gate{ingress: IngressRemote}
	if ln, ok := c.(*net.TCPListener); ok {
		_, err := connectTo(ctx, tcpSock{TCPListener: ln, gate: g})
		return err
	}
	_, err := sendTo(ctx, packetSock{UDPConn: c.(*net.UDPConn), gate: g})
	return err
}

// Trial is the outcome of a round trip that a test makes up.
type Trial struct {
	Bound bool
	Err   error
}

// Prove returns the mode, the note and the error of the proof of 127.0.0.1, where
// the trials end as try says. The loopback interface is up or down.
func Prove(ctx context.Context, modes []Ingress, up bool, try func(ctx context.Context, mode Ingress) Trial) (mode Ingress, note, missing, err error) {
	p := prover{loopback: netif.Loopback{Name: "lo", Index: 1, Up: up}, try: func(ctx context.Context, g gate) (passage, error) {
		r := try(ctx, g.ingress)
		return passage{bound: r.Bound}, r.Err
	}}
	found, err := p.prove(ctx, modes, IPv4(), nil)
	return found.gate.ingress, found.note, found.missing, err
}

// Absent returns why this machine does not have an address; err is of a
// connection to it.
var Absent = absent

// NumFree is the number of addresses that For and Acquire choose from.
const NumFree = numFree

var (
	FreeAddr  = freeAddr
	FreeIndex = freeIndex
)

// AcquireUnproved is Acquire without the round trips.
func AcquireUnproved(ctx context.Context, n int) (*Lease, error) {
	return acquire(ctx, n, func(context.Context, netip.Addr) error { return nil })
}

// ListenerOf is the socket of a list that is given connections to an address.
var ListenerOf = listenerOf

// Connect connects to an address as Probe does.
var Connect = connect

// Race is the race of DialContext with another dial function, and with its errors.
func Race(ctx context.Context, network string, addrs []netip.AddrPort, dial func(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error)) (won net.Conn, errs []error) {
	won, attempts := race(ctx, network, addrs, func(ctx context.Context, network string, to netip.AddrPort) (net.Conn, *net.OpError) {
		conn, err := dial(ctx, network, to)
		if err != nil {
			return nil, &net.OpError{Err: err}
		}
		return conn, nil
	})
	for _, a := range attempts {
		if a != nil {
			errs = append(errs, a.Err)
		}
	}
	return won, errs
}

// LeadsNowhere reports whether a zone names a loopback interface, or none.
var LeadsNowhere = leadsNowhere

// Facts are what a Resolution is judged by, on a machine that has the loopback
// addresses Has.
type Facts struct {
	Hosts, Nsswitch          string // the contents of the two files
	HostsErr                 error
	Libc                     hostsfile.Reader
	TooBig                   bool
	Found, Found4, Found6    []netip.Addr // by the resolver, for both families and for each
	Err, Err4, Err6          error        // of the resolver
	Server, Answerer         string
	Has                      []netip.Addr
	Down                     string
	Nonlocal                 bool                 // what is not in Has can be bound
	Connect                  map[netip.Addr]error // what comes of connecting to addresses that are in Has
	IPv6Off, Stub, Exhausted bool
	Isolated                 map[netip.Addr]bool
}

// Judge returns the Resolution that follows from the facts.
func Judge(name string, given Facts) *Resolution {
	_, err := netip.ParseAddr(name)
	f := &facts{
		literal: err == nil,
		hosts:   hostsfile.Parse("/etc/hosts", strings.NewReader(given.Hosts), name),
		libc:    given.Libc,
		sources: hostsfile.ParseSources(strings.NewReader(given.Nsswitch)),
		lookups: lookups{
			all:      lookup{addrs: given.Found, err: given.Err},
			v4:       lookup{addrs: given.Found4, err: given.Err4},
			v6:       lookup{addrs: given.Found6, err: given.Err6},
			server:   given.Server,
			answerer: given.Answerer,
		},
		ipv6Off:  given.IPv6Off,
		down:     given.Down,
		stub:     given.Stub,
		absent:   map[netip.Addr]string{},
		isolated: given.Isolated,
	}
	f.hosts.Err, f.hosts.TooBig = given.HostsErr, given.TooBig
	if given.Exhausted {
		f.process = fixProcess(syscall.EMFILE)
	}
	for _, addr := range given.Has {
		f.machine.set(addr, given.Down == "")
	}
	res := &Resolution{Name: name, Answers: f.answers(), Findings: []Finding{}}
	if given.Err == nil && len(given.Found) > 0 {
		res.Dial = dialOrder(given.Found, false)
		res.Listen = listenAddr(res.Dial, name)
	}
	for i := range res.Answers {
		a := &res.Answers[i]
		switch has := slices.ContainsFunc(given.Has, func(addr netip.Addr) bool { return addr.Is4() == a.Addr.Is4() }); {
		case !Is(a.Addr):
		case given.Exhausted:
			a.Bind = Outcome{Tried: true, Err: syscall.EMFILE}
			f.absent[a.Addr] = f.process
		case given.Down != "" && has:
			a.Bind, a.Connect = Outcome{Tried: true}, Outcome{Tried: true, Err: syscall.ENETUNREACH}
		case !has && given.Nonlocal:
			a.Bind, a.Connect = Outcome{Tried: true}, Outcome{Tried: true, Err: syscall.EADDRNOTAVAIL}
			f.absent[a.Addr] = "add " + a.Addr.String()
		case !has:
			a.Bind = Outcome{Tried: true, Err: syscall.EADDRNOTAVAIL}
			f.absent[a.Addr] = "add " + a.Addr.String()
		default:
			a.Bind, a.Connect = Outcome{Tried: true}, Outcome{Tried: true, Err: given.Connect[a.Addr]}
		}
	}
	res.judge(f)
	return res
}

var (
	FixProcess = fixProcess
	WhyAbsent  = whyAbsent
	HowToAdd   = howToAdd
)

// PortFacts are what a PortReport is judged by.
type PortFacts struct {
	Port               uint16
	Connect6, Connect4 error // what came of connecting to ::1 and to 127.0.0.1
	Source6, Source4   string
	NoIPv6, NoIPv4     bool
	Down               string
	Elsewhere          *hostsfile.Entry
	Sockets            []socktab.Socket
}

// JudgePort returns the PortReport that follows from the facts.
func JudgePort(given PortFacts) *PortReport {
	r := &PortReport{
		Port: given.Port,
		Attempts: []Attempt{
			{Addr: netip.AddrPortFrom(IPv6(), given.Port), Source: given.Source6, Connect: Outcome{Tried: true, Err: given.Connect6}},
			{Addr: netip.AddrPortFrom(IPv4(), given.Port), Source: given.Source4, Connect: Outcome{Tried: true, Err: given.Connect4}},
		},
		Findings: []Finding{},
	}
	f := portFacts{absent: [2]bool{given.NoIPv6, given.NoIPv4}, down: given.Down, elsewhere: given.Elsewhere, sockets: given.Sockets}
	r.addSockets(&f)
	r.judge(f)
	return r
}

var (
	DialOrder  = dialOrder
	ListenAddr = listenAddr

	Within = within
	IsStub = isStub
)

// Lookups are the answers for both families, for IPv4 and for IPv6.
type Lookups struct {
	Addrs            [3][]netip.Addr
	Errs             [3]error
	Repeats          bool
	Server, Answerer string
}

// LookupAll makes the lookups of Resolve.
func LookupAll(ctx context.Context, r *net.Resolver, name string, dnsFirst bool) Lookups {
	l := lookupAll(ctx, r, name, dnsFirst)
	return Lookups{
		Addrs:    [3][]netip.Addr{l.all.addrs, l.v4.addrs, l.v6.addrs},
		Errs:     [3]error{l.all.err, l.v4.err, l.v6.err},
		Repeats:  l.repeats,
		Server:   l.server,
		Answerer: l.answerer,
	}
}

// Watch dials twice, as package net does to ask servers, and reads from the first
// connection. It returns that connection and which servers were asked and answered.
func Watch(dial func(ctx context.Context, network, address string) (net.Conn, error), first, second string) (conn net.Conn, server, answerer string, err error) {
	w := serverWatch{dial: dial}
	conn, err = w.dialContext(context.Background(), "udp", first)
	_, _ = w.dialContext(context.Background(), "udp", second)
	if err == nil {
		_, _ = conn.Read(make([]byte, 512))
	}
	if s := w.answerer.Load(); s != nil {
		answerer = *s
	}
	return conn, *w.server.Load(), answerer, err
}

// A Round is how a round trip of Diagnose ended.
type Round struct {
	Bind, Trip Outcome
	Absent     bool
	By         string
	Has, Seen  netip.AddrPort
}

// ConcludeFrom derives the findings of a report from round trips in TCP and UDP
// for each family.
func (r *Report) ConcludeFrom(tcp4, udp4, tcp6, udp6 Round) {
	m := machine{absent: make(map[netip.Addr]bool), mend: make(map[netip.Addr]string)}
	of := func(given Round) round {
		return round{passage: passage{has: given.Has, seen: given.Seen}, bind: given.Bind, trip: given.Trip, absent: given.Absent, by: given.By}
	}
	r.measured(&m, &r.IPv4, of(tcp4), of(udp4))
	r.measured(&m, &r.IPv6, of(tcp6), of(udp6))
	r.judge(m)
}

// Conclude derives the findings of a report that a test made up, on a machine
// whose loopback interface is called lo.
func (r *Report) Conclude() { r.ConcludeOn(Machine{}) }

// Machine is what a report is judged by, beside what it says.
type Machine struct {
	Loopback  string // lo, if it is empty
	LoTaken   bool
	Absent    []netip.Addr
	Mend      map[netip.Addr]string
	Rewritten []Rewriting
}

// Rewriting is of a round trip whose client has one address and is seen at
// another.
type Rewriting struct {
	Transport string
	Has, Seen netip.AddrPort
}

// ConcludeOn derives the findings of a report that a test made up.
func (r *Report) ConcludeOn(given Machine) {
	m := machine{loopback: "lo", loTaken: given.LoTaken, absent: make(map[netip.Addr]bool), mend: given.Mend}
	if given.Loopback != "" {
		m.loopback = given.Loopback
	}
	for _, addr := range given.Absent {
		m.absent[addr] = true
	}
	for _, w := range given.Rewritten {
		m.rewritten = append(m.rewritten, rewriting{transport: w.Transport, has: w.Has, seen: w.Seen})
	}
	r.judge(m)
}
