package loopback

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"example.com/loopback/internal/hostsfile"
	"example.com/loopback/internal/sockctl"
	"example.com/loopback/internal/syserr"
)

// probeTimeout bounds an attempt of Probe. Loopback answers in microseconds.
const probeTimeout = 2 * time.Second

// PortReport is what answers on a port of localhost: the result of [Probe].
type PortReport struct {
	Port     uint16    `json:"port"`
	Verdict  Verdict   `json:"verdict"`
	Attempts []Attempt `json:"attempts"` // ::1 first, then 127.0.0.1
	Findings []Finding `json:"findings"` // none if all is well

	elsewhere *hostsfile.Entry // what the hosts file makes of localhost, if that is neither of the two
}

// Attempt is one connection that [Probe] tried to make.
type Attempt struct {
	Addr    netip.AddrPort `json:"addr"`
	Source  string         `json:"source"` // the line of the hosts file that makes it localhost, as "hosts:2"; "" if there is none
	Connect Outcome        `json:"connect"`
	UID     *uint32        `json:"uid"` // the user of the listening socket; nil if it is not open or the user not known
}

// Probe connects to a TCP port on ::1 and on 127.0.0.1, closes what it gets at
// once, and reports what clients of localhost will see there:
//
//   - OPEN: the port is open on each family that this machine has.
//   - TWO-OWNERS: it is open on both, but the two sockets belong to different
//     users, so who is reached depends on the client. Known on Linux only.
//   - SPLIT: it is open on one family only, although the machine has both.
//     The finding says which clients fail.
//   - NO-ANSWER: it is open on neither, and at least one attempt hung.
//   - CLOSED: it is open on neither.
//
// Each attempt has its own error, of which net.Dial would return but one.
//
// To a server a probe is a connection that was aborted before it said
// anything, and some servers log or count those.
//
// An attempt ends with ctx, or after two seconds, and has then hung; the two
// are made at once. Nothing but loopback is connected to, and no name is
// looked up: the hosts file is read to tell which of the two addresses
// localhost has.
//
// The error is for port 0 and for a ctx that is done at the call.
func Probe(ctx context.Context, port uint16) (*PortReport, error) {
	err := ctx.Err()
	if port == 0 {
		err = errors.New("nothing can listen there")
	}
	if err != nil {
		return nil, fmt.Errorf("loopback: probe port %d: %w", port, err)
	}
	hosts := hostsfile.Read(hostsfile.Path(), "localhost")
	r := &PortReport{Port: port, Attempts: make([]Attempt, 2), Findings: []Finding{}}
	var (
		wg    sync.WaitGroup
		users [2]struct {
			uid uint32
			ok  bool
		}
	)
	for i, addr := range []netip.Addr{IPv6(), IPv4()} {
		a := &r.Attempts[i]
		a.Addr = netip.AddrPortFrom(addr, port)
		if e, ok := hosts.Find(addr, hostsfile.Libc()); ok {
			a.Source = e.Source()
		}
		wg.Go(func() {
			a.Connect = Outcome{Tried: true, Err: knock(ctx, a.Addr)}
			if a.Connect.OK() {
				uid, ok, named := listenerUID(a.Addr)
				users[i].uid, users[i].ok = uid, ok
				if named {
					a.UID = &uid
				}
			}
		})
	}
	wg.Wait()
	if r.Attempts[0].Source == "" && r.Attempts[1].Source == "" {
		if i := slices.IndexFunc(hosts.Entries, func(e hostsfile.Entry) bool { return e.ReadBy(hostsfile.Libc()) }); i >= 0 {
			r.elsewhere = &hosts.Entries[i]
		}
	}
	r.judge(ctx, users[0].ok && users[1].ok && users[0].uid != users[1].uid)
	return r, nil
}

// knock connects to addr and hangs up.
func knock(ctx context.Context, addr netip.AddrPort) error {
	d := net.Dialer{Timeout: probeTimeout, KeepAlive: -1}
	conn, err := d.DialContext(ctx, "tcp", addr.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	if conn.LocalAddr().String() == conn.RemoteAddr().String() {
		// The kernel chose the very port to connect from, and connected the
		// socket to itself: RFC 9293, section 3.5, simultaneous open.
		return &net.OpError{Op: "dial", Net: "tcp", Addr: conn.RemoteAddr(), Err: syscall.ECONNREFUSED}
	}
	return nil
}

// judge sets the verdict and the findings.
func (r *PortReport) judge(ctx context.Context, twoOwners bool) {
	six, four := r.Attempts[0], r.Attempts[1]
	find := func(verdict Verdict, level Level, evidence, fix, message string) {
		r.Findings = append(r.Findings, Finding{verdict, level, message, evidence, fix})
	}
	switch {
	case six.Connect.OK() && four.Connect.OK() && twoOwners:
		r.Verdict = VerdictTwoOwners
		find(r.Verdict, LevelError, six.owner()+", "+four.owner(),
			fmt.Sprintf("stop the one that should not be there (ss -ltnpe 'sport = :%d'), and listen on both families", r.Port),
			r.headline()+": which of them a client of localhost reaches depends on the client")
	case six.Connect.OK() && four.Connect.OK():
		r.Verdict = VerdictOpen
	case six.Connect.OK() && sockctl.HasAddr(ctx, IPv4()) != nil, four.Connect.OK() && sockctl.HasAddr(ctx, IPv6()) != nil:
		r.Verdict = VerdictOpen
	case six.Connect.OK() || four.Connect.OK():
		r.Verdict = VerdictSplit
		fails, works := r.clients()
		open, shut := r.split()
		find(r.Verdict, LevelWarn, fmt.Sprintf("%v: %v", shut.Addr, shut.Connect),
			"listen on both families, or connect to "+open.Addr.Addr().String(),
			fmt.Sprintf("%s; these fail: %s; these get through: %s; %s", r.headline(), fails, works, unixSocket))
	case timedOut(six.Connect.Err) || timedOut(four.Connect.Err):
		r.Verdict = VerdictNoAnswer
		find(r.Verdict, LevelWarn, fmt.Sprintf("::1: %v, 127.0.0.1: %v", six.Connect, four.Connect),
			"see whether the server hangs and its backlog is full, or a firewall drops the packets",
			r.headline()+": clients of localhost wait until they give up")
	default:
		r.Verdict = VerdictClosed
		fix := "start the server, or correct the port"
		if !r.refused() {
			fix = "see what is wrong with loopback itself: Diagnose tells"
		}
		find(r.Verdict, LevelInfo, fmt.Sprintf("::1: %v, 127.0.0.1: %v", six.Connect, four.Connect), fix, r.headline())
	}
	if r.Verdict == VerdictClosed || r.Verdict == VerdictNoAnswer {
		if down := loopbackDown(); down != "" {
			find(VerdictUnreachable, LevelError, down, fixDown(down), "nothing can be reached: the interface "+down+" is down")
		}
	}
	if e := r.elsewhere; e != nil {
		find(VerdictHostsFile, LevelWarn, e.Source(), "put `127.0.0.1 localhost` and `::1 localhost` there instead",
			fmt.Sprintf("%s makes localhost %v, and clients that ask the resolver go there", hostsfile.Path(), e.Addr))
	}
	if open, shut := r.split(); r.Verdict == VerdictOpen && !shut.Connect.OK() && open.Source == "" && shut.Source != "" {
		find(VerdictHostsFile, LevelWarn, shut.Source, fmt.Sprintf("put `%v localhost` there instead", open.Addr.Addr()),
			fmt.Sprintf("%s makes localhost %v, and clients that ask the resolver go there", hostsfile.Path(), shut.Addr.Addr()))
	}
	if r.Port == 3306 {
		find(VerdictUnixSocket, LevelInfo, "port 3306", "name the host 127.0.0.1, or ask for --protocol=tcp", unixSocket)
	}
}

const unixSocket = "MySQL-style clients make a unix socket of localhost and do not come to this port"

// split returns the open attempt and the other one.
func (r *PortReport) split() (open, shut Attempt) {
	if r.Attempts[0].Connect.OK() {
		return r.Attempts[0], r.Attempts[1]
	}
	return r.Attempts[1], r.Attempts[0]
}

// first returns the address that clients of localhost try first if they follow
// RFC 6724: ::1, unless localhost has only the other one here, or this machine
// has no way to ::1. It is the zero Addr if localhost has neither.
func (r *PortReport) first() netip.Addr {
	if r.elsewhere != nil {
		return netip.Addr{}
	}
	six := r.Attempts[0]
	if six.Source == "" && r.Attempts[1].Source != "" || syserr.Missing(six.Connect.Err) || syserr.Is(six.Connect.Err, "ENETUNREACH") {
		return IPv4()
	}
	return IPv6()
}

// refused reports whether it is known of a family that nothing listens.
func (r *PortReport) refused() bool {
	return slices.ContainsFunc(r.Attempts, func(a Attempt) bool { return syserr.Is(a.Connect.Err, "ECONNREFUSED") })
}

// clients returns which clients of localhost fail, and which get through, in
// a split.
//
// Go's Dial, Node 20 and later, curl and browsers try all addresses (RFC
// 8305); Node 17 to 19 take the first one in the order of RFC 6724; the JVM
// takes one, IPv4 if it can (java.net.preferIPv6Addresses). curl and browsers
// know both addresses without asking; the others ask the resolver, where
// localhost may have only one.
func (r *PortReport) clients() (fails, works string) {
	open, shut := r.split()
	v4 := open.Addr.Addr().Is4()
	switch {
	case r.elsewhere != nil:
		return "Go's Dial, Node, the JVM and all that ask the resolver, for localhost is " + r.elsewhere.Addr.String() + " there",
			"curl and browsers"
	case open.Source == "" && shut.Source != "":
		return "Go's Dial, Node, the JVM and all that ask the resolver, for localhost is only " + shut.Addr.Addr().String() + " there",
			"curl and browsers"
	case open.Source != "" && shut.Source == "":
		return "none that ask for localhost, which is only " + open.Addr.Addr().String() + " here",
			"Go's Dial, Node, the JVM, curl and browsers"
	case v4 && r.first() == open.Addr.Addr(): // there is no way to ::1
		return "those that try ::1 only", "Go's Dial, Node, the JVM, curl and browsers"
	case v4 && timedOut(shut.Connect.Err):
		return "Node 17 to 19, and others that try ::1 only",
			"Go's Dial, Node 20 and later, curl and browsers, a fraction of a second late; the JVM, which takes 127.0.0.1"
	case v4:
		return "Node 17 to 19, and others that try ::1 only",
			"Go's Dial, Node 20 and later, curl and browsers, which try both; the JVM, which takes 127.0.0.1"
	}
	return "the JVM, and others that try 127.0.0.1 only", "Go's Dial, Node 17 and later, curl and browsers"
}

// headline says in a few words what the verdict means.
func (r *PortReport) headline() string {
	port := "port " + strconv.Itoa(int(r.Port))
	six, four := r.Attempts[0], r.Attempts[1]
	switch r.Verdict {
	case VerdictOpen:
		if six.Connect.OK() && four.Connect.OK() {
			return port + " answers on both families"
		}
		open, _ := r.split()
		return fmt.Sprintf("%v answers, and this machine has no other family", open.Addr)
	case VerdictTwoOwners:
		return port + " is open for " + six.owner() + " and for " + four.owner()
	case VerdictSplit:
		open, _ := r.split()
		return fmt.Sprintf("something answers on %v only", open.Addr)
	case VerdictNoAnswer:
		return port + " does not answer"
	}
	if r.refused() {
		return "nothing listens on " + port
	}
	return port + " cannot be reached"
}

// owner returns the user of the listening socket as text.
func (a Attempt) owner() string {
	if a.UID == nil {
		return "another user on " + a.Addr.Addr().String()
	}
	return fmt.Sprintf("user %d on %v", *a.UID, a.Addr.Addr())
}

// String returns the report as a few lines for a person, the verdict first.
func (r *PortReport) String() string {
	rows := make([][]string, 0, len(r.Attempts))
	for _, a := range r.Attempts {
		state := a.Connect.String()
		if a.Connect.OK() {
			state = "open"
			if a.UID != nil {
				state += fmt.Sprintf(" (user %d)", *a.UID)
			}
		}
		row := []string{a.Addr.Addr().String(), a.Source, state}
		if a.Addr.Addr() == r.first() && r.Verdict != VerdictOpen && r.Verdict != VerdictClosed {
			row = append(row, " <- Go's Dial and Node 17+ try this first")
		}
		rows = append(rows, row)
	}
	text := reportText("localhost", r.Verdict, r.headline(), rows, r.Findings)
	if r.Verdict == VerdictSplit {
		fails, works := r.clients()
		text = strings.Replace(text, "  fix: ", "  fails: "+fails+"\n  works: "+works+"\n  fix: ", 1)
	}
	return text
}
