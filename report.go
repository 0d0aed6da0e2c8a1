package loopback

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"

	"example.com/loopback/internal/netif"
	"example.com/loopback/internal/page"
	"example.com/loopback/internal/syserr"
)

// Report is what [Diagnose] found out about a machine. What could not be found
// out is nil, and Absent says why.
type Report struct {
	Verdict    Verdict           `json:"verdict"`    // of the first finding that is not of level info, or OK
	Findings   []Finding         `json:"findings"`   // most severe first
	Interfaces []InterfaceReport `json:"interfaces"` // those with the loopback flag
	Misplaced  []PlacedAddr      `json:"misplaced"`  // loopback addresses on other interfaces, other addresses on loopback ones
	IPv4       FamilyReport      `json:"ipv4"`       // by way of 127.0.0.1
	IPv6       FamilyReport      `json:"ipv6"`       // by way of ::1
	Range      []RangeSample     `json:"range"`      // addresses of 127.0.0.0/8 that were tried
	Wire       []WireReport      `json:"wire"`       // the interfaces that other machines are behind
	Localhost  *Resolution       `json:"localhost"`  // Resolve of "localhost"
	Exposed    []Socket          `json:"exposed"`    // what the function Exposed returns
	Absent     []Absence         `json:"absent"`
}

// InterfaceReport is a loopback interface.
type InterfaceReport struct {
	Name  string       `json:"name"`
	Index int          `json:"index"`
	Up    bool         `json:"up"`
	MTU   int          `json:"mtu"`
	Addrs []PlacedAddr `json:"addrs"`
}

// PlacedAddr is an address of an interface.
type PlacedAddr struct {
	Interface string       `json:"interface"`
	Addr      netip.Prefix `json:"addr"` // with the prefix length it is configured with
	Kind      Kind         `json:"kind"`
}

// FamilyReport says how much of a family works: a TCP listener is bound to
// Addr and connected to, and a datagram sent to Addr and back.
type FamilyReport struct {
	Addr  netip.Addr `json:"addr"`
	Bind  Outcome    `json:"bind"`
	TCP   Outcome    `json:"tcp"`             // not tried without a listener
	UDP   Outcome    `json:"udp"`             // the bind included
	Cause string     `json:"cause,omitempty"` // why this machine does not have Addr, where that is known

	// TCPBy and UDPBy name the interface by which TCP and UDP to Addr leave,
	// where policy routing does not keep them on a loopback interface. Only
	// Linux tells.
	TCPBy string `json:"tcp_by,omitempty"`
	UDPBy string `json:"udp_by,omitempty"`

	// TCPFrom and UDPFrom are the addresses at which a server sees a client of
	// Addr, where that is not Addr: a packet filter gave it another, or routing.
	TCPFrom netip.Addr `json:"tcp_from,omitzero"`
	UDPFrom netip.Addr `json:"udp_from,omitzero"`
}

// RangeSample says whether one address of 127.0.0.0/8 works, as in
// [FamilyReport].
type RangeSample struct {
	Addr    netip.Addr `json:"addr"`
	Bind    Outcome    `json:"bind"`
	Connect Outcome    `json:"connect"`
}

// WireReport says whether routing delivers to 127.0.0.1 what arrives on an
// interface from other machines. A packet filter may still refuse it. Packets
// that arrive at a port of a bridge or a bond arrive on the bridge or the bond,
// so ports have no report.
type WireReport struct {
	Interface string `json:"interface"`
	Index     int    `json:"index"`
	Up        bool   `json:"up"`

	// Exposed is the answer of the kernel; nil if it was not asked, because
	// the interface is down.
	Exposed *bool `json:"exposed"`

	// From are those source addresses, of the few asked about, that get in:
	// one of each network behind the interface, one of a network far away,
	// and a forged loopback address.
	From []netip.Addr `json:"from"`

	// RouteLocalnet are the names of the kernel parameters route_localnet that
	// are on and hold for this interface. Without any, Linux discards what
	// other machines send to 127.0.0.0/8.
	RouteLocalnet []string `json:"route_localnet"`
}

// Absence is a part of a [Report] that this machine could not answer.
type Absence struct {
	Part   string `json:"part"` // the JSON name of the field
	Reason string `json:"reason"`
}

// machine is what a Report is judged by, beside what it says.
type machine struct {
	loopback  string                // the name of the loopback interface, or the usual one
	loTaken   bool                  // an interface that is not a loopback one is called lo
	absent    map[netip.Addr]bool   // addresses that can be bound, though this machine does not have them
	mend      map[netip.Addr]string // what to do where 127.0.0.1 or ::1 is not there
	rewritten []rewriting
}

// A rewriting is of a round trip whose client was seen by another address, or by
// another port, than it has.
type rewriting struct {
	transport string // "TCP" or "UDP"
	has, seen netip.AddrPort
}

// judge sets the findings and the verdict.
func (r *Report) judge(m machine) {
	r.Findings = append([]Finding{}, slices.Concat(
		r.noLoopback(),
		r.interfaceDown(m),
		r.letIn(),
		r.routeLocalnet(),
		r.detour(),
		r.rewritten(m),
		r.localhost(m),
		r.offLoopback(m),
		r.foreignOnLoopback(m),
		r.partialRange(m),
		r.exposedSockets(),
		r.renamed(m), // the last: after its fix, the others would name what is not there
	)...)
	bySeverity(r.Findings)
	r.Verdict = VerdictOK
	if len(r.Findings) > 0 && r.Findings[0].Level > LevelInfo {
		r.Verdict = r.Findings[0].Verdict
	}
}

// down reports whether there are loopback interfaces and none is up.
func (r *Report) down() bool {
	return len(r.Interfaces) > 0 && !slices.ContainsFunc(r.Interfaces, func(i InterfaceReport) bool { return i.Up })
}

// noLoopback finds that no interface has the loopback flag.
func (r *Report) noLoopback() []Finding {
	if r.Interfaces == nil || len(r.Interfaces) > 0 { // not known, or there is one
		return nil
	}
	f := Finding{Verdict: VerdictNoLo, Level: LevelInfo, Message: "no interface of this machine is marked as loopback"}
	if !r.IPv4.works() && !r.IPv6.works() {
		f.Level = LevelError
	}
	return []Finding{f}
}

// interfaceDown finds that the loopback interface is down.
func (r *Report) interfaceDown(m machine) []Finding {
	if !r.down() {
		return nil
	}
	return []Finding{{
		Verdict:  VerdictLoDown,
		Level:    LevelError,
		Message:  "the loopback interface is down: sockets bind, but nothing connects",
		Evidence: m.loopback + " is down",
		Fix:      fixDown(m.loopback),
	}}
}

// renamed finds that the loopback interface of Linux is not called lo.
func (r *Report) renamed(m machine) []Finding {
	if runtime.GOOS != "linux" || len(r.Interfaces) == 0 ||
		slices.ContainsFunc(r.Interfaces, func(i InterfaceReport) bool { return i.Name == "lo" }) {
		return nil
	}
	f := Finding{
		Verdict:  VerdictLoRenamed,
		Level:    LevelInfo,
		Message:  "the loopback interface is not called lo: programs that look for it by that name fail",
		Evidence: m.loopback + " has the loopback flag",
		Fix:      renameCommand(m.loopback),
	}
	if m.loTaken {
		f.Evidence += "; another interface is called lo"
		f.Fix = "give the interface that is called lo another name first"
	}
	return []Finding{f}
}

// exposed reports whether something that arrives on the interface gets in.
func (w WireReport) exposed() bool { return w.Exposed != nil && *w.Exposed }

// letIn finds the interfaces at which routing lets other machines in. Those that
// local traffic takes are not among them: see detour.
func (r *Report) letIn() []Finding {
	in := r.interfaces(func(w WireReport) bool { return w.exposed() && !r.isDetour(w) })
	if len(in) == 0 {
		return nil
	}
	return []Finding{{
		Verdict:  VerdictWire,
		Level:    LevelError,
		Message:  "routing lets other machines in to 127.0.0.1, unless a packet filter stops them",
		Evidence: page.List(in, "; ", WireReport.evidence),
		Fix:      r.routeLocalnetOff(in),
	}}
}

// routeLocalnet finds the interfaces at which nothing gets in at present, though
// route_localnet is on.
func (r *Report) routeLocalnet() []Finding {
	on := r.interfaces(func(w WireReport) bool {
		return !w.exposed() && len(w.RouteLocalnet) > 0 && !r.isDetour(w)
	})
	if len(on) == 0 {
		return nil
	}
	return []Finding{{
		Verdict:  VerdictRouteLocalnet,
		Level:    LevelInfo,
		Message:  "the rule that keeps other machines out of 127.0.0.0/8 is off, though nothing gets in at present",
		Evidence: page.List(on, "; ", WireReport.evidence),
		Fix:      r.routeLocalnetOff(on),
	}}
}

// interfaces returns those of the interfaces that lead to other machines for
// which is holds.
func (r *Report) interfaces(is func(WireReport) bool) (ws []WireReport) {
	for _, w := range r.Wire {
		if is(w) {
			ws = append(ws, w)
		}
	}
	return ws
}

// evidence says from where something gets in at the interface.
func (w WireReport) evidence() string {
	switch {
	case !w.Up:
		return w.Interface + " is down"
	case len(w.From) == 0:
		return w.Interface + " lets nothing in"
	}
	return w.Interface + " from " + page.List(w.From, ", ", netip.Addr.String)
}

// routeLocalnetOff returns the command that keeps other machines out at the
// interfaces. Without route_localnet nothing gets in: it is on, also where it
// cannot be read. The interfaces that local traffic takes keep it.
func (r *Report) routeLocalnetOff(ws []WireReport) string {
	const key = "route_localnet"
	forAll := netif.Parameter("ipv4", "all", key)
	var off, on, keep []string
	for _, w := range ws {
		names := w.RouteLocalnet
		if len(names) == 0 {
			names = []string{forAll, netif.Parameter("ipv4", w.Interface, key)}
		}
		for _, name := range names {
			if name += "=0"; !slices.Contains(off, name) {
				off = append(off, name)
			}
		}
	}
	for _, name := range r.IPv4.detours() {
		on, keep = append(on, netif.Parameter("ipv4", name, key)+"=1"), append(keep, "*/"+name+"/*")
	}
	const (
		reservation = " # unless it is there on purpose, as for a port redirected to 127.0.0.1"
		each        = "for f in /proc/sys/net/ipv4/conf/*/route_localnet; do "
	)
	switch {
	case len(off) > 4 && len(on) > 0:
		return "sysctl -w " + strings.Join(on, " ") + "; " +
			each + "case $f in " + strings.Join(keep, "|") + ") ;; *) echo 0 >$f ;; esac; done" + reservation
	case len(off) > 4:
		return each + "echo 0 >$f; done" + reservation
	case !slices.Contains(off, forAll+"=0"): // what the others have stays
		on = nil
	}
	return "sysctl -w " + strings.Join(append(on, off...), " ") + reservation
}

// detours returns the interfaces, none of them a loopback one, by which what is
// sent to the address leaves.
func (f FamilyReport) detours() []string {
	names := slices.Compact([]string{f.TCPBy, f.UDPBy})
	return slices.DeleteFunc(names, func(name string) bool { return name == "" })
}

// isDetour reports whether what is sent to 127.0.0.1 leaves by the interface.
func (r *Report) isDetour(w WireReport) bool { return slices.Contains(r.IPv4.detours(), w.Interface) }

// detour finds that local traffic takes an interface that is not a loopback one,
// and comes back by it. In IPv4 that needs route_localnet: without it nothing
// connects to 127.0.0.1.
func (r *Report) detour() (fs []Finding) {
	for _, f := range []FamilyReport{r.IPv4, r.IPv6} {
		if len(f.detours()) == 0 || !f.works() {
			continue
		}
		finding := Finding{
			Verdict: VerdictDetour,
			Level:   LevelInfo,
			Message: fmt.Sprintf("what is sent to %v leaves by %s and comes back, as in the mirrored mode of WSL 2",
				f.Addr, page.List(f.detours(), " and ", strings.Clone)),
			Evidence: "TCP " + f.way(f.TCPBy, f.TCPFrom) + "; UDP " + f.way(f.UDPBy, f.UDPFrom),
		}
		if f.seenFromElsewhere() {
			finding.Level = LevelWarn
			finding.Message += ": servers that check the remote address refuse local clients"
		}
		for _, w := range r.interfaces(func(w WireReport) bool { return f.Addr.Is4() && w.exposed() && r.isDetour(w) }) {
			finding.Level = LevelWarn
			finding.Evidence += "; routing lets in what comes to " + w.evidence()
		}
		fs = append(fs, finding)
	}
	return fs
}

// seenFromElsewhere reports whether a server sees a local client at an address
// that is not loopback.
func (f FamilyReport) seenFromElsewhere() bool {
	return f.TCPFrom.IsValid() && !Is(f.TCPFrom) || f.UDPFrom.IsValid() && !Is(f.UDPFrom)
}

// way says by which interface something leaves, and from where it seems to come.
func (f FamilyReport) way(by string, from netip.Addr) string {
	s := "stays on loopback"
	if by != "" {
		s = "leaves by " + by
	}
	if from.IsValid() {
		s += " and arrives from " + from.String()
	}
	return s
}

// rewritten finds that a packet filter gives local clients another address.
func (r *Report) rewritten(m machine) []Finding {
	if len(m.rewritten) == 0 {
		return nil
	}
	f := Finding{
		Verdict: VerdictRewritten,
		Level:   LevelInfo,
		Message: "a packet filter gives local clients another source address or port: servers that ask who a client is cannot tell",
		Evidence: page.List(m.rewritten, "; ", func(w rewriting) string {
			return fmt.Sprintf("%s from %v arrives from %v", w.transport, w.has.Addr(), w.seen.Addr())
		}),
		Fix: "exempt the loopback interface from the rule that rewrites the source, a masquerade or SNAT: add `oif != lo`, unless it is there on purpose",
	}
	if slices.ContainsFunc(m.rewritten, func(w rewriting) bool { return !Is(w.seen.Addr()) }) {
		f.Level = LevelWarn
		f.Message = "a packet filter gives local clients another source address: servers that check the remote address refuse them"
	}
	return []Finding{f}
}

// localhost finds what is wrong with the two families and with the name localhost.
// A finding of Resolve that has its cause in a broken family, or in the state of
// the interface, is said once.
func (r *Report) localhost(m machine) (fs []Finding) {
	// What a broken family means depends on the other one. A machine without
	// IPv6 is in order, as long as localhost does not claim that it has it.
	four, six := LevelError, LevelError
	if r.IPv6.works() {
		four = LevelWarn
	}
	if r.IPv4.works() {
		six = LevelInfo
	}
	fs = append(r.family(m, r.IPv4, four), r.family(m, r.IPv6, six)...)
	for _, f := range r.ofLocalhost() {
		switch f.Verdict {
		case VerdictOK:
			continue
		case VerdictNoIPv4, VerdictNoIPv6, VerdictUnreachable:
			if r.down() {
				continue
			}
			same := func(have Finding) bool { return have.Verdict == f.Verdict }
			if i := slices.IndexFunc(fs, same); i >= 0 {
				fs[i].Level = max(fs[i].Level, f.Level)
				fs[i].Evidence += "; localhost: " + f.Evidence
				if f.Verdict == VerdictNoIPv6 && fixProcess(r.IPv6.Bind.Err) == "" && strings.HasPrefix(f.Evidence, "hosts:") {
					fs[i].Fix = orUnclaim(fs[i].Fix, IPv6(), "")
				}
				continue
			}
		}
		fs = append(fs, f)
	}
	for i, f := range fs {
		if f.Verdict == VerdictNoIPv6 && r.IPv6.Cause != "" && f.Fix != "" && !strings.Contains(f.Fix, "#") {
			fs[i].Fix += " # unless this machine is to have no IPv6"
		}
	}
	return fs
}

// ofLocalhost returns the findings of Resolve.
func (r *Report) ofLocalhost() []Finding {
	if r.Localhost == nil {
		return nil
	}
	return r.Localhost.Findings
}

// family finds that a family does not work.
func (r *Report) family(m machine, f FamilyReport, level Level) []Finding {
	verdict, name := VerdictNoIPv4, familyName(f.Addr)
	if f.Addr.Is6() {
		verdict = VerdictNoIPv6
	}
	var finding Finding
	switch {
	case f.works():
		return nil
	case errors.Is(f.Bind.Err, ErrNotLoopback): // a FreeBSD jail that shares its machine's addresses
		finding = Finding{
			Verdict:  VerdictNotLoopback,
			Level:    LevelError,
			Message:  fmt.Sprintf("a socket that is bound to %v ends up on another address", f.Addr),
			Evidence: f.Bind.Err.Error(),
			Fix:      "give this jail a loopback address of its own",
		}
	case r.down(): // nothing more to say
		return nil
	case f.Bind.Err != nil:
		finding = Finding{
			Verdict:  verdict,
			Level:    level,
			Message:  fmt.Sprintf("%s does not work here: %v cannot be bound", name, f.Addr),
			Evidence: then(f.Bind.String(), f.Cause),
			Fix:      m.mend[f.Addr],
		}
	case m.absent[f.Addr]:
		finding = Finding{
			Verdict:  verdict,
			Level:    level,
			Message:  fmt.Sprintf("%s does not work here: this machine does not have %v, though it can be bound", name, f.Addr),
			Evidence: then(f.TCP.String(), f.Cause),
			Fix:      m.mend[f.Addr],
		}
	default:
		finding = r.unreachable(f, level)
	}
	finding.Fix = cmp.Or(fixProcess(f.Bind.Err, f.TCP.Err, f.UDP.Err), finding.Fix)
	return []Finding{finding}
}

// unreachable is the finding of a family that this machine has and that does not
// work.
func (r *Report) unreachable(f FamilyReport, level Level) Finding {
	finding := Finding{
		Verdict:  VerdictUnreachable,
		Level:    max(level, LevelWarn),
		Message:  fmt.Sprintf("%v can be bound, but what is sent to it does not arrive", f.Addr),
		Evidence: fmt.Sprintf("TCP: %v; UDP: %v", f.TCP, f.UDP),
		Fix:      fixFilter,
	}
	by := cmp.Or(f.TCPBy, f.UDPBy)
	if by == "" {
		return finding
	}
	finding.Evidence += "; it leaves by " + by
	finding.Fix = "look for the routing rule that sends it out by " + by + ": ip rule"
	if f.Addr.Is4() {
		finding.Fix += "; it comes back only with " + netif.Parameter("ipv4", by, "route_localnet") + "=1"
	}
	return finding
}

// offLoopback finds loopback addresses on interfaces that are not loopback.
func (r *Report) offLoopback(m machine) []Finding {
	off := slices.DeleteFunc(slices.Clone(r.Misplaced), func(a PlacedAddr) bool { return !a.Kind.IsLoopback() })
	if len(off) == 0 {
		return nil
	}
	fix := r.takeAway(m, off)
	if !r.IPv4.works() { // they may serve meanwhile
		fix = "see to 127.0.0.1 first; then take them away, unless they are there on purpose"
	}
	return []Finding{{
		Verdict:  VerdictLoopbackOffLo,
		Level:    LevelWarn,
		Message:  "loopback addresses are on an interface that is not loopback: what is sent to them may leave this machine, or seem to come from outside",
		Evidence: page.List(off, ", ", PlacedAddr.String),
		Fix:      fix,
	}}
}

// foreignOnLoopback finds addresses on loopback interfaces that are not loopback.
func (r *Report) foreignOnLoopback(m machine) []Finding {
	foreign := slices.DeleteFunc(slices.Clone(r.Misplaced), func(a PlacedAddr) bool { return a.Kind.IsLoopback() })
	if len(foreign) == 0 {
		return nil
	}
	return []Finding{{
		Verdict:  VerdictForeignOnLo,
		Level:    LevelInfo,
		Message:  "the loopback interface has addresses that are not loopback: other machines may reach them",
		Evidence: page.List(foreign, ", ", PlacedAddr.String),
		Fix:      r.takeAway(m, foreign),
	}}
}

// takeAway returns the commands that take addresses away, up to four of them.
// Before that they see to it that 127.0.0.0/8 works without: with its last
// address an interface loses its routes as well.
func (r *Report) takeAway(m machine, as []PlacedAddr) string {
	var commands []string
	for _, a := range as[:min(len(as), 4)] {
		commands = append(commands, delAddrCommand(a.Addr, a.Interface))
	}
	fix := strings.Trim(strings.Join(commands, "; "), "; ")
	if fix == "" {
		return ""
	}
	if n := len(as) - len(commands); n > 0 {
		fix += fmt.Sprintf(" # and %d more", n)
	}
	return then(r.giveRange(m), fix+" # unless they are there on purpose")
}

// giveRange returns the command that gives the loopback interface all of
// 127.0.0.0/8, or the local route to it; "" if it has both.
func (r *Report) giveRange(m machine) string {
	whole := r.Interfaces == nil || slices.ContainsFunc(r.Interfaces, func(i InterfaceReport) bool {
		return slices.ContainsFunc(i.Addrs, func(a PlacedAddr) bool { return a.Addr.Masked() == Prefix4() })
	})
	switch {
	case !whole:
		return addAddrCommand(IPv4(), m.loopback)
	case slices.ContainsFunc(r.Range, func(s RangeSample) bool { return s.absent(m) }):
		return localRouteCommand(IPv4(), m.loopback)
	}
	return ""
}

// absent reports whether this machine does not have the address.
func (s RangeSample) absent(m machine) bool { return syserr.Missing(s.Bind.Err) || m.absent[s.Addr] }

// partialRange finds that part of 127.0.0.0/8 beyond 127.0.0.1 does not work.
func (r *Report) partialRange(m machine) []Finding {
	bad := slices.DeleteFunc(slices.Clone(r.Range), RangeSample.works)
	if !r.IPv4.works() || len(bad) == 0 {
		return nil
	}
	f := Finding{
		Verdict:  VerdictPartialRange,
		Level:    LevelInfo, // as macOS and the BSDs come
		Message:  "part of 127.0.0.0/8 does not work",
		Evidence: sampleEvidence(bad),
		Fix:      fixFilter,
	}
	if runtime.GOOS == "linux" {
		f.Level = LevelWarn
	}
	if slices.ContainsFunc(bad, func(s RangeSample) bool { return s.absent(m) }) {
		f.Fix = cmp.Or(r.giveRange(m), addRangeCommand(m.loopback))
	}
	f.Fix = cmp.Or(fixProcess(bad[0].Bind.Err, bad[0].Connect.Err), f.Fix)
	if len(bad) == len(r.Range)-1 {
		f.Message = "of 127.0.0.0/8 only 127.0.0.1 works"
	}
	return []Finding{f}
}

// sampleEvidence says of each error which addresses met it.
func sampleEvidence(bad []RangeSample) string {
	var parts []string
	for len(bad) > 0 {
		why := bad[0].String()
		same := func(s RangeSample) bool { return s.String() == why }
		var addrs []string
		for _, s := range bad {
			if same(s) {
				addrs = append(addrs, s.Addr.String())
			}
		}
		parts = append(parts, strings.Join(addrs, ", ")+": "+why)
		bad = slices.DeleteFunc(slices.Clone(bad), same)
	}
	return strings.Join(parts, "; ")
}

// exposedSockets finds that this process listens for other machines.
func (r *Report) exposedSockets() []Finding {
	if len(r.Exposed) == 0 {
		return nil
	}
	return []Finding{{
		Verdict:  VerdictExposed,
		Level:    LevelInfo, // see VerdictExposed
		Message:  "this process has sockets that other machines may reach",
		Evidence: page.List(r.Exposed, ", ", Socket.String),
		Fix:      `listen with loopback.Listen, or on "127.0.0.1:0" instead of ":0", unless other machines are to be served`,
	}}
}

func (f FamilyReport) works() bool { return f.Bind.OK() && f.TCP.OK() && f.UDP.OK() }
func (s RangeSample) works() bool  { return s.Bind.OK() && s.Connect.OK() }

// String returns how the sample ended, without its address.
func (s RangeSample) String() string {
	if s.Bind.OK() {
		return s.Connect.String()
	}
	return s.Bind.String()
}

// String returns the address, with its prefix length, and where it is.
func (a PlacedAddr) String() string { return a.Addr.String() + " on " + a.Interface }
