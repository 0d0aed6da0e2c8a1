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
	"example.com/loopback/internal/page"
	"example.com/loopback/internal/sockctl"
	"example.com/loopback/internal/socktab"
	"example.com/loopback/internal/syserr"
)

// probeTimeout bounds an attempt of Probe. Loopback answers in microseconds.
const probeTimeout = 2 * time.Second

// PortReport is what answers on a port of localhost: the result of [Probe].
type PortReport struct {
	Port     uint16       `json:"port"`
	Verdict  Verdict      `json:"verdict"`
	Attempts []Attempt    `json:"attempts"` // ::1 first, then 127.0.0.1
	Sockets  []PortSocket `json:"sockets"`  // what is bound to the port on any address of this machine; nil where the kernel has no list
	Findings []Finding    `json:"findings"` // none if all is well
}

// Attempt is one connection that [Probe] tried to make.
type Attempt struct {
	Addr    netip.AddrPort `json:"addr"`
	Source  string         `json:"source"` // the line of the hosts file that makes it localhost, as "hosts:2"; "" if there is none
	Connect Outcome        `json:"connect"`
	UID     *uint32        `json:"uid"`     // the user of the listening socket; nil if it is not open or the user not known
	Process string         `json:"process"` // that has the listening socket, as "name (pid)"; "" if it is not open or cannot be seen
}

// PortSocket is a listening TCP socket or an unconnected UDP socket.
type PortSocket struct {
	Network string         `json:"network"` // "tcp4", "tcp6", "udp4" or "udp6"
	Addr    netip.AddrPort `json:"addr"`    // the address that it is bound to
	UID     *uint32        `json:"uid"`     // its user; nil if not known
	Process string         `json:"process"` // that has it, as "name (pid)"; "" if it cannot be seen
}

// Probe connects to a TCP port on ::1 and on 127.0.0.1, closes what it gets at
// once, and reports what clients of localhost will see there. The verdict is
// the first that holds of these:
//
//   - TWO-OWNERS: the port is open on both addresses, and the two sockets belong
//     to different users (level error) or to different programs of one user
//     (level warn), so that the client decides which of them is reached. This
//     is known on Linux only. One program may have two sockets, and several
//     processes may share one.
//   - OPEN: it is open on each address that this machine has.
//   - SPLIT: it is open on one address only, although the machine has both. The
//     finding says which clients fail.
//   - NO-ANSWER: it is open on neither, and at least one attempt hung.
//   - ELSEWHERE: it is open on neither, and something listens on the port at
//     another address of this machine. This is known on Linux only.
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
	r := &PortReport{Port: port, Attempts: make([]Attempt, 2), Findings: []Finding{}}
	f := portFacts{down: loopbackDown()}
	hosts := hostsfile.Read(hostsfile.Path(), "localhost")
	var wg sync.WaitGroup
	for i, addr := range []netip.Addr{IPv6(), IPv4()} {
		a := &r.Attempts[i]
		a.Addr = netip.AddrPortFrom(addr, port)
		if e, ok := hosts.Find(addr, hostsfile.Libc()); ok {
			a.Source = e.Source()
		}
		wg.Go(func() { a.Connect = Outcome{Tried: true, Err: connect(ctx, a.Addr)} })
		wg.Go(func() { f.absent[i] = sockctl.HasAddr(ctx, addr) != nil })
	}
	wg.Wait()
	if r.Attempts[0].Source == "" && r.Attempts[1].Source == "" {
		if i := slices.IndexFunc(hosts.Entries, func(e hostsfile.Entry) bool { return e.ReadBy(hostsfile.Libc()) }); i >= 0 {
			f.elsewhere = &hosts.Entries[i]
		}
	}
	if f.sockets, err = socktab.OnPort(port); err == nil {
		r.Sockets = []PortSocket{}
	}
	r.addSockets(&f)
	r.judge(f)
	return r, nil
}

// connect connects to addr and hangs up. It does not try where the way to a
// missing address leads out of this machine.
func connect(ctx context.Context, addr netip.AddrPort) error {
	if err := sockctl.CanConnect(addr.Addr()); syserr.Missing(err) {
		if op, ok := err.(*net.OpError); ok {
			err = op.Err
		}
		return &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(addr), Err: err}
	}
	d := net.Dialer{Timeout: probeTimeout, KeepAlive: -1}
	conn, err := d.DialContext(ctx, "tcp", addr.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	if conn.LocalAddr() == nil { // then the next question has no answer
		return &net.OpError{Op: "dial", Net: "tcp", Addr: conn.RemoteAddr(), Err: sockctl.ErrNoName}
	}
	if conn.LocalAddr().String() == conn.RemoteAddr().String() {
		// The kernel chose the very port to connect from, and connected the
		// socket to itself: RFC 9293, section 3.5, simultaneous open.
		return &net.OpError{Op: "dial", Net: "tcp", Addr: conn.RemoteAddr(), Err: syscall.ECONNREFUSED}
	}
	return nil
}

// addSockets adds the sockets, and says of the open attempts who owns theirs.
func (r *PortReport) addSockets(f *portFacts) {
	for _, s := range f.sockets {
		uid, process := ownerOf(&s)
		r.Sockets = append(r.Sockets, PortSocket{Network: s.Network, Addr: s.Local, UID: uid, Process: process})
	}
	for i := range r.Attempts {
		if a := &r.Attempts[i]; a.Connect.OK() {
			f.listeners[i] = listenerOf(f.sockets, a.Addr)
			a.UID, a.Process = ownerOf(f.listeners[i])
		}
	}
}

// listenerOf returns the socket that is given connections to addr, as far as it
// can be told: not where a packet filter sends them elsewhere. Of several the
// kernel takes the one with the exact address, then one of the same family.
func listenerOf(sockets []socktab.Socket, addr netip.AddrPort) *socktab.Socket {
	var best *socktab.Socket
	rank := func(s *socktab.Socket) int {
		switch {
		case s.Local.Addr() == addr.Addr():
			return 2
		case s.Local.Addr().Is4() == addr.Addr().Is4():
			return 1
		}
		return 0
	}
	for i := range sockets {
		s := &sockets[i]
		if s.TCP() && s.Covers(addr.Addr()) && (best == nil || rank(s) > rank(best)) {
			best = s
		}
	}
	return best
}

// ownerOf returns the user and the first process of a socket, as far as they
// are known.
func ownerOf(s *socktab.Socket) (uid *uint32, process string) {
	if s == nil {
		return nil, ""
	}
	if s.Owner.Named {
		uid = &s.Owner.UID
	}
	if len(s.Owner.Processes) > 0 {
		process = s.Owner.Processes[0].String()
	}
	return uid, process
}

// portFacts is what a PortReport is judged by, beside its own fields.
type portFacts struct {
	absent    [2]bool            // this machine does not have the address of the attempt
	down      string             // the loopback interface, if it is down
	elsewhere *hostsfile.Entry   // what the hosts file makes of localhost, if that is neither address
	sockets   []socktab.Socket   // all that are bound to the port
	listeners [2]*socktab.Socket // of the attempts that succeeded, where they can be told
}

// judge sets the verdict and the findings.
func (r *PortReport) judge(f portFacts) {
	for _, remark := range []func(portFacts) *Finding{r.loopbackDown, r.hostsFile, r.unixSocket} {
		if found := remark(f); found != nil {
			r.Findings = append(r.Findings, *found)
		}
	}
	var verdicts []Finding
	for _, verdict := range []func(portFacts) *Finding{r.twoOwners, r.split, r.noAnswer, r.listensElsewhere} {
		if found := verdict(f); found != nil {
			verdicts = append(verdicts, *found)
		}
	}
	if len(verdicts) == 0 && !r.anyOpen() {
		verdicts = append(verdicts, r.closed(f))
	}
	for i := range verdicts {
		verdicts[i].Message = r.headline(verdicts[i].Verdict) + verdicts[i].Message
	}
	r.Verdict = VerdictOpen
	if len(verdicts) > 0 {
		r.Verdict = verdicts[0].Verdict
	}
	r.Findings = append(verdicts, r.Findings...)
}

// twoOwners is the finding that the two addresses lead to different owners. The
// headline precedes its message, and those of split, noAnswer, listensElsewhere
// and closed.
func (r *PortReport) twoOwners(f portFacts) *Finding {
	six, four := f.listeners[0], f.listeners[1]
	if six == nil || four == nil {
		return nil
	}
	level := LevelError
	if six.Owner.UID == four.Owner.UID {
		if six.Owner.SharesProgram(four.Owner) {
			return nil
		}
		level = LevelWarn
	}
	return &Finding{
		Verdict:  VerdictTwoOwners,
		Level:    level,
		Message:  ": which of them a client of localhost reaches depends on the client",
		Evidence: r.owner(0) + ", " + r.owner(1),
		Fix:      fmt.Sprintf("stop the one that should not be there (ss -ltnpe 'sport = :%d'), and listen on both families", r.Port),
	}
}

// split is the finding that one of two addresses of this machine is not open.
func (r *PortReport) split(f portFacts) *Finding {
	six, four := r.Attempts[0].Connect.OK(), r.Attempts[1].Connect.OK()
	if six == four || six && f.absent[1] || four && f.absent[0] {
		return nil
	}
	open, shut := r.openAndShut()
	clients := r.clients()
	fix := "listen on both families, or connect to " + open.Addr.Addr().String()
	if s := listenerOf(f.sockets, shut.Addr); s != nil {
		fix = fixUnanswered(shut.Addr, s.Full)
	}
	return &Finding{
		Verdict:  VerdictSplit,
		Level:    LevelWarn,
		Message:  fmt.Sprintf("; these fail: %s; these get through: %s", clients.fail, clients.work),
		Evidence: fmt.Sprintf("%v: %v", shut.Addr, shut.Connect),
		Fix:      fix,
	}
}

// noAnswer is the finding that neither address is open, and one hangs.
func (r *PortReport) noAnswer(f portFacts) *Finding {
	if r.anyOpen() || !slices.ContainsFunc(r.Attempts, Attempt.hung) {
		return nil
	}
	fix := "see whether the server hangs and its backlog is full, or a firewall drops the packets"
	for _, a := range r.Attempts {
		if s := listenerOf(f.sockets, a.Addr); s != nil && a.hung() {
			fix = fixUnanswered(a.Addr, s.Full)
		}
	}
	return &Finding{
		Verdict:  VerdictNoAnswer,
		Level:    LevelWarn,
		Message:  ": clients of localhost wait until they give up",
		Evidence: r.outcomes(),
		Fix:      fix,
	}
}

// listensElsewhere is the finding that neither address is open, and a socket
// listens at another one.
func (r *PortReport) listensElsewhere(f portFacts) *Finding {
	covers := func(s socktab.Socket) bool { return s.TCP() && (s.Covers(IPv4()) || s.Covers(IPv6())) }
	others := r.tcpSockets()
	if r.anyOpen() || len(others) == 0 || slices.ContainsFunc(f.sockets, covers) {
		return nil
	}
	fix := "have the server listen on 127.0.0.1 and ::1"
	if at := others[0].Addr; !at.Addr().IsUnspecified() { // or it is bound to the interface of a network
		fix += ", or connect to " + at.String()
	}
	return &Finding{
		Verdict:  VerdictElsewhere,
		Level:    LevelWarn,
		Message:  ": clients of localhost do not go there",
		Evidence: page.List(others, ", ", PortSocket.String),
		Fix:      fix,
	}
}

// closed is the finding that the port is open on neither address, if no other
// verdict says more.
func (r *PortReport) closed(f portFacts) Finding {
	found := Finding{
		Verdict:  VerdictClosed,
		Level:    LevelInfo,
		Evidence: r.outcomes(),
		Fix:      "start the server, or correct the port",
	}
	switch held := slices.IndexFunc(r.Attempts, func(a Attempt) bool { return listenerOf(f.sockets, a.Addr) != nil }); {
	case !r.refused():
		found.Fix = "see what is wrong with loopback itself: Diagnose tells"
	case held >= 0:
		found.Fix = fixUnanswered(r.Attempts[held].Addr, false)
	case len(r.Sockets) > 0: // of TCP there are none
		found.Message = ": only UDP has the port, and this is a probe of TCP"
		found.Evidence += ", " + page.List(r.Sockets, ", ", PortSocket.String)
		found.Fix = "connect by UDP, or have the server listen on TCP as well"
	}
	return found
}

// loopbackDown is the finding that nothing can be reached.
func (r *PortReport) loopbackDown(f portFacts) *Finding {
	if f.down == "" || r.anyOpen() {
		return nil
	}
	return &Finding{
		Verdict:  VerdictUnreachable,
		Level:    LevelError,
		Message:  "nothing can be reached: the interface " + f.down + " is down",
		Evidence: f.down,
		Fix:      fixDown(f.down),
	}
}

// hostsFile is the finding that localhost is another address than those that
// are open.
func (r *PortReport) hostsFile(f portFacts) *Finding {
	const message = "%s makes localhost %v, and clients that ask the resolver go there"
	if e := f.elsewhere; e != nil {
		return &Finding{
			Verdict:  VerdictHostsFile,
			Level:    LevelWarn,
			Message:  fmt.Sprintf(message, hostsfile.Path(), e.Addr),
			Evidence: e.Source(),
			Fix:      "put `127.0.0.1 localhost` and `::1 localhost` there instead",
		}
	}
	six, four := r.Attempts[0], r.Attempts[1]
	if open, shut := r.openAndShut(); (six.Connect.OK() && f.absent[1] || four.Connect.OK() && f.absent[0]) &&
		!shut.Connect.OK() && open.Source == "" && shut.Source != "" {
		return &Finding{
			Verdict:  VerdictHostsFile,
			Level:    LevelWarn,
			Message:  fmt.Sprintf(message, hostsfile.Path(), shut.Addr.Addr()),
			Evidence: shut.Source,
			Fix:      fmt.Sprintf("put `%v localhost` there instead", open.Addr.Addr()),
		}
	}
	return nil
}

// unixSocket is the finding that clients of a MySQL server do not use the port
// for localhost.
func (r *PortReport) unixSocket(portFacts) *Finding {
	evidence := ""
	if r.Port == 3306 {
		evidence = "port 3306"
	}
	for _, s := range r.tcpSockets() {
		if name, _, _ := strings.Cut(s.Process, " "); name == "mysqld" || name == "mariadbd" {
			evidence = s.Process
		}
	}
	if evidence == "" {
		return nil
	}
	return &Finding{
		Verdict:  VerdictUnixSocket,
		Level:    LevelInfo,
		Message:  "MySQL-style clients make a unix socket of localhost and do not come to this port",
		Evidence: evidence,
		Fix:      "name the host 127.0.0.1, or ask for --protocol=tcp",
	}
}

// fixUnanswered is for an address that does not answer although a socket
// listens there. It is full if as many connections wait as may.
func fixUnanswered(addr netip.AddrPort, full bool) string {
	if full {
		return fmt.Sprintf("see why the server does not accept what waits on %v: its backlog is full", addr)
	}
	return fmt.Sprintf("a socket listens on %v: look for a packet filter that keeps connections from it", addr)
}

// tcpSockets returns the Sockets of TCP.
func (r *PortReport) tcpSockets() []PortSocket {
	return slices.DeleteFunc(slices.Clone(r.Sockets), func(s PortSocket) bool { return !s.tcp() })
}

func (s PortSocket) tcp() bool { return strings.HasPrefix(s.Network, "tcp") }

// String returns the socket in a few words: "tcp4 127.0.1.1:3000 of node (123)".
func (s PortSocket) String() string {
	text := s.Network + " " + s.Addr.String()
	switch {
	case s.Process != "":
		text += " of " + s.Process
	case s.UID != nil:
		text += fmt.Sprintf(" of user %d", *s.UID)
	}
	return text
}

func (r *PortReport) anyOpen() bool {
	return slices.ContainsFunc(r.Attempts, func(a Attempt) bool { return a.Connect.OK() })
}

func (a Attempt) hung() bool { return timedOut(a.Connect.Err) }

// outcomes returns how the attempts ended.
func (r *PortReport) outcomes() string {
	return fmt.Sprintf("::1: %v, 127.0.0.1: %v", r.Attempts[0].Connect, r.Attempts[1].Connect)
}

// openAndShut returns the open attempt and the other one.
func (r *PortReport) openAndShut() (open, shut Attempt) {
	if r.Attempts[0].Connect.OK() {
		return r.Attempts[0], r.Attempts[1]
	}
	return r.Attempts[1], r.Attempts[0]
}

// movedAway reports whether the hosts file makes localhost another address than
// ::1 and 127.0.0.1.
func (r *PortReport) movedAway() bool {
	return r.Attempts[0].Source == "" && r.Attempts[1].Source == "" &&
		slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Verdict == VerdictHostsFile })
}

// first returns the address that clients of localhost try first if they follow
// RFC 6724: ::1, unless localhost has only the other one here, or this machine
// has no way to ::1. It is the zero Addr if localhost has neither.
func (r *PortReport) first() netip.Addr {
	six, four := r.Attempts[0], r.Attempts[1]
	switch {
	case r.movedAway():
		return netip.Addr{}
	case six.Source == "" && four.Source != "", syserr.Missing(six.Connect.Err), syserr.Is(six.Connect.Err, "ENETUNREACH"):
		return IPv4()
	}
	return IPv6()
}

// refused reports whether it is known of a family that nothing listens.
func (r *PortReport) refused() bool {
	return slices.ContainsFunc(r.Attempts, func(a Attempt) bool { return syserr.Is(a.Connect.Err, "ECONNREFUSED") })
}

// portClients says which clients of localhost fail in a split, and which work.
type portClients struct{ fail, work string }

// clients returns what a split means for clients of localhost.
//
// Go's Dial, Node 20 and later, curl and browsers try all addresses (RFC
// 8305); Node 17 to 19 take the first one in the order of RFC 6724; the JVM
// takes one, IPv4 if it can (java.net.preferIPv6Addresses). curl and browsers
// know both addresses without asking; the others ask the resolver, where
// localhost may have only one.
func (r *PortReport) clients() portClients {
	const (
		all    = "Go's Dial, Node, the JVM, curl and browsers"
		asking = "Go's Dial, Node, the JVM and all that ask the resolver, for localhost is "
		only6  = "Node 17 to 19, and others that try ::1 only"
	)
	open, shut := r.openAndShut()
	v4 := open.Addr.Addr().Is4()
	switch {
	case r.movedAway():
		return portClients{fail: asking + "another address there", work: "curl and browsers"}
	case open.Source == "" && shut.Source != "":
		return portClients{fail: asking + "only " + shut.Addr.Addr().String() + " there", work: "curl and browsers"}
	case open.Source != "" && shut.Source == "":
		return portClients{fail: "none that ask for localhost, which is only " + open.Addr.Addr().String() + " here", work: all}
	case v4 && r.first() == open.Addr.Addr(): // there is no way to ::1
		return portClients{fail: "those that try ::1 only", work: all}
	case v4 && shut.hung():
		return portClients{fail: only6,
			work: "Go's Dial, Node 20 and later, curl and browsers, a fraction of a second late; the JVM, which takes 127.0.0.1"}
	case v4:
		return portClients{fail: only6,
			work: "Go's Dial, Node 20 and later, curl and browsers, which try both; the JVM, which takes 127.0.0.1"}
	}
	return portClients{fail: "the JVM, and others that try 127.0.0.1 only", work: "Go's Dial, Node 17 and later, curl and browsers"}
}

// headline says in a few words what a verdict means here.
func (r *PortReport) headline(verdict Verdict) string {
	port := "port " + strconv.Itoa(int(r.Port))
	open, shut := r.openAndShut()
	switch {
	case verdict == VerdictOpen && shut.Connect.OK():
		return port + " answers on both families"
	case verdict == VerdictOpen:
		return fmt.Sprintf("%v answers, and this machine has no other family", open.Addr)
	case verdict == VerdictTwoOwners:
		return port + " is open for " + r.owner(0) + " and for " + r.owner(1)
	case verdict == VerdictSplit:
		return fmt.Sprintf("something answers on %v only", open.Addr)
	case verdict == VerdictNoAnswer:
		return port + " does not answer"
	case verdict == VerdictElsewhere:
		return "nothing listens on " + port + " of 127.0.0.1 and ::1, but on " +
			page.List(r.tcpSockets(), ", ", func(s PortSocket) string { return s.Addr.String() })
	case r.refused() && len(r.tcpSockets()) > 0:
		return port + " refuses connections, although something listens"
	case r.refused() && r.Sockets == nil: // at another address, something may
		return "nothing listens on " + port + " of 127.0.0.1 and ::1"
	case r.refused():
		return "nothing listens on " + port
	}
	return port + " cannot be reached"
}

// owner returns to whom the listening socket of an attempt belongs: to a user,
// or where both belong to one, to a program.
func (r *PortReport) owner(i int) string {
	a, b := r.Attempts[i], r.Attempts[1-i]
	who := "another user"
	switch {
	case a.UID != nil && b.UID != nil && *a.UID == *b.UID && a.Process != "":
		who = a.Process
	case a.UID != nil:
		who = fmt.Sprintf("user %d", *a.UID)
	}
	return who + " on " + a.Addr.Addr().String()
}

// String returns the report as a few lines for a person, the verdict first.
func (r *PortReport) String() string {
	if len(r.Attempts) != 2 { // not from Probe
		return reportText("localhost", r.Verdict, "", "", r.Findings)
	}
	rows := make([][]string, 0, len(r.Attempts))
	for _, a := range r.Attempts {
		row := []string{a.Addr.Addr().String(), a.Source, a.state()}
		if a.Addr.Addr() == r.first() && r.Verdict != VerdictOpen && r.Verdict != VerdictClosed {
			row = append(row, " <- Go's Dial and Node 17+ try this first")
		}
		rows = append(rows, row)
	}
	body := page.Columns(rows)
	if r.Verdict == VerdictSplit {
		clients := r.clients()
		body += "  fails: " + clients.fail + "\n  works: " + clients.work + "\n"
	}
	return reportText("localhost", r.Verdict, r.headline(r.Verdict), body, r.Findings)
}

// state returns how the attempt ended, in a few words.
func (a Attempt) state() string {
	if !a.Connect.OK() {
		return a.Connect.String()
	}
	state := "open"
	if a.UID != nil {
		state += fmt.Sprintf(" (user %d)", *a.UID)
	}
	if a.Process != "" {
		state += ", " + a.Process
	}
	return state
}
