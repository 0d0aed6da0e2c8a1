package loopback

import (
	"cmp"
	"errors"
	"fmt"
	"net"
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
	Cause string     `json:"cause,omitempty"` // what turns the family off, where that is known

	fix string // what to do if Bind failed
}

// RangeSample says whether one address of 127.0.0.0/8 works, as in
// [FamilyReport].
type RangeSample struct {
	Addr    netip.Addr `json:"addr"`
	Bind    Outcome    `json:"bind"`
	Connect Outcome    `json:"connect"`
}

// WireReport says whether this machine's routing lets in, to 127.0.0.1, what
// arrives on an interface. A packet filter may still refuse it. What arrives at
// a port of a bridge or a bond arrives on that one, so ports have no report.
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
	// are on and hold for this interface. Without any, Linux discards what is
	// sent to 127.0.0.0/8 from outside.
	RouteLocalnet []string `json:"route_localnet"`
}

// Absence is a part of a [Report] that this machine could not answer.
type Absence struct {
	Part   string `json:"part"` // the JSON name of the field
	Reason string `json:"reason"`
}

// conclude derives the findings and the verdict from the rest of the report.
func (r *Report) conclude() {
	r.Findings = append([]Finding{}, slices.Concat(
		r.stateFindings(),
		r.wireFindings(),
		r.localhostFindings(),
		r.placeFindings(),
		r.rangeFindings(),
		r.nameFindings(), // the last: after its fix, the others would name what is not there
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

// stateFindings are about the loopback interface itself.
func (r *Report) stateFindings() (fs []Finding) {
	name := r.lo().Name
	switch {
	case r.Interfaces == nil: // not known
	case len(r.Interfaces) == 0:
		f := Finding{VerdictNoLo, LevelInfo, "no interface of this machine is marked as loopback", "", ""}
		if !r.IPv4.works() && !r.IPv6.works() {
			f.Level = LevelError
		}
		fs = append(fs, f)
	case r.down():
		fs = append(fs, Finding{VerdictLoDown, LevelError,
			"the loopback interface is down: sockets bind, but nothing connects",
			name + " is down", fixDown(name)})
	}
	return fs
}

// nameFindings are about what the loopback interface is called.
func (r *Report) nameFindings() []Finding {
	if runtime.GOOS != "linux" || len(r.Interfaces) == 0 ||
		slices.ContainsFunc(r.Interfaces, func(i InterfaceReport) bool { return i.Name == "lo" }) {
		return nil
	}
	name := r.lo().Name
	return []Finding{{VerdictLoRenamed, LevelInfo,
		"the loopback interface is not called lo: what looks for it by that name fails",
		name + " has the loopback flag",
		"ip link set dev " + name + " down && ip link set dev " + name + " name lo up"}}
}

// wireFindings are about packets from other machines.
func (r *Report) wireFindings() (fs []Finding) {
	var in, out []WireReport
	for _, w := range r.Wire {
		switch {
		case w.Exposed != nil && *w.Exposed:
			in = append(in, w)
		case len(w.RouteLocalnet) > 0:
			out = append(out, w)
		}
	}
	if len(in) > 0 {
		fs = append(fs, Finding{VerdictWire, LevelError,
			"routing lets other machines in to 127.0.0.1, unless a packet filter stops them",
			page.List(in, "; ", wireEvidence), routeLocalnetOff(in)})
	}
	if len(out) > 0 {
		fs = append(fs, Finding{VerdictRouteLocalnet, LevelInfo,
			"the rule that keeps other machines out of 127.0.0.0/8 is off, though nothing gets in at present",
			page.List(out, "; ", wireEvidence), routeLocalnetOff(out)})
	}
	return fs
}

// localhostFindings are about the families and the name. Those of Resolve that
// have their cause in a broken family, or in the state of the interface, are
// said once.
func (r *Report) localhostFindings() (fs []Finding) {
	// What a broken family means depends on the other one. A machine without
	// IPv6 is in order, as long as localhost does not claim that it has it.
	four, six := LevelError, LevelError
	if r.IPv6.works() {
		four = LevelWarn
	}
	if r.IPv4.works() {
		six = LevelInfo
	}
	fs = append(r.familyFindings(r.IPv4, four), r.familyFindings(r.IPv6, six)...)
	if r.Localhost == nil {
		return fs
	}
	for _, f := range r.Localhost.Findings {
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
	return fs
}

// familyFindings are about a family that does not work.
func (r *Report) familyFindings(f FamilyReport, level Level) []Finding {
	family, verdict := "IPv4", VerdictNoIPv4
	if f.Addr.Is6() {
		family, verdict = "IPv6", VerdictNoIPv6
	}
	var finding Finding
	switch {
	case f.works():
		return nil
	case errors.Is(f.Bind.Err, ErrNotLoopback): // a FreeBSD jail that shares its machine's addresses
		finding = Finding{VerdictNotLoopback, LevelError,
			fmt.Sprintf("a socket that is bound to %v ends up on another address", f.Addr),
			f.Bind.Err.Error(), "give this jail a loopback address of its own"}
	case r.down(): // nothing more to say
		return nil
	case f.Bind.Err != nil:
		finding = Finding{verdict, level,
			fmt.Sprintf("%s does not work here: %v cannot be bound", family, f.Addr), f.Bind.String(), f.fix}
		if f.Cause != "" {
			finding.Evidence += "; " + f.Cause
		}
	default:
		finding = Finding{VerdictUnreachable, max(level, LevelWarn),
			fmt.Sprintf("%v can be bound, but what is sent to it does not arrive", f.Addr),
			fmt.Sprintf("TCP: %v; UDP: %v", f.TCP, f.UDP),
			fixFilter}
	}
	finding.Fix = cmp.Or(fixProcess(f.Bind.Err, f.TCP.Err, f.UDP.Err), finding.Fix)
	return []Finding{finding}
}

// placeFindings are about addresses where they do not belong.
func (r *Report) placeFindings() (fs []Finding) {
	var off, foreign []PlacedAddr
	for _, a := range r.Misplaced {
		if a.Kind.IsLoopback() {
			off = append(off, a)
		} else {
			foreign = append(foreign, a)
		}
	}
	if len(off) > 0 {
		fs = append(fs, Finding{VerdictLoopbackOffLo, LevelWarn,
			"loopback addresses are on an interface that is not loopback: what is sent to them may leave this machine, or seem to come from outside",
			page.List(off, ", ", PlacedAddr.String), takeAway(off)})
	}
	if len(foreign) > 0 {
		fix := takeAway(foreign)
		if fix != "" {
			fix += " # unless they are there on purpose"
		}
		fs = append(fs, Finding{VerdictForeignOnLo, LevelInfo,
			"the loopback interface has addresses that are not loopback: other machines may reach them",
			page.List(foreign, ", ", PlacedAddr.String), fix})
	}
	return fs
}

// takeAway returns the commands that take addresses away, up to four of them.
func takeAway(as []PlacedAddr) string {
	var commands []string
	for _, a := range as[:min(len(as), 4)] {
		inet := "inet "
		if a.Addr.Addr().Is6() {
			inet = "inet6 "
		}
		commands = append(commands, command("ip addr del "+a.Addr.String()+" dev "+a.Interface,
			"ifconfig "+a.Interface+" "+inet+a.Addr.Addr().String()+" -alias"))
	}
	fix := strings.Trim(strings.Join(commands, "; "), "; ")
	if n := len(as) - len(commands); n > 0 && fix != "" {
		fix += fmt.Sprintf(" # and %d more", n)
	}
	return fix
}

// rangeFindings are about 127.0.0.0/8 beyond 127.0.0.1.
func (r *Report) rangeFindings() []Finding {
	bad := slices.DeleteFunc(slices.Clone(r.Range), RangeSample.works)
	if !r.IPv4.works() || len(bad) == 0 {
		return nil
	}
	name, first := r.lo().Name, bad[0]
	f := Finding{VerdictPartialRange, LevelInfo, // as macOS and the BSDs come
		"part of 127.0.0.0/8 does not work", sampleEvidence(bad),
		command("ip addr add 127.0.0.1/8 dev "+name, "ifconfig "+name+" alias ADDRESS, for each that is needed")}
	if runtime.GOOS == "linux" {
		f.Level = LevelWarn
	}
	if first.Bind.OK() && !syserr.Is(first.Connect.Err, "EADDRNOTAVAIL", "ENETUNREACH", "EHOSTUNREACH", "EINVAL") {
		f.Fix = fixFilter
	}
	f.Fix = cmp.Or(fixProcess(first.Bind.Err, first.Connect.Err), f.Fix)
	if len(bad) == len(r.Range)-1 {
		f.Message = "of 127.0.0.0/8 only 127.0.0.1 works"
	}
	return []Finding{f}
}

func wireEvidence(w WireReport) string {
	switch {
	case !w.Up:
		return w.Interface + " is down"
	case len(w.From) == 0:
		return w.Interface + " lets nothing in"
	}
	return w.Interface + " from " + page.List(w.From, ", ", netip.Addr.String)
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
		bad = slices.DeleteFunc(bad, same)
	}
	return strings.Join(parts, "; ")
}

// lo returns what loopInterface does, without asking again.
func (r *Report) lo() net.Interface {
	if len(r.Interfaces) == 0 {
		return loopInterface()
	}
	return net.Interface{Name: r.Interfaces[0].Name, MTU: r.Interfaces[0].MTU}
}

// routeLocalnetOff returns the command that closes the wire. Without
// route_localnet nothing gets in: it is on, also where it cannot be read.
func routeLocalnetOff(ws []WireReport) string {
	var off []string
	for _, w := range ws {
		names := w.RouteLocalnet
		if len(names) == 0 {
			names = []string{netif.Parameter("ipv4", "all", "route_localnet"), netif.Parameter("ipv4", w.Interface, "route_localnet")}
		}
		for _, name := range names {
			if name += "=0"; !slices.Contains(off, name) {
				off = append(off, name)
			}
		}
	}
	if len(off) > 4 {
		return "for f in /proc/sys/net/ipv4/conf/*/route_localnet; do echo 0 >$f; done"
	}
	return "sysctl -w " + strings.Join(off, " ")
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
