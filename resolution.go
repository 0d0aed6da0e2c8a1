package loopback

import (
	"cmp"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"example.com/loopback/internal/hostsfile"
	"example.com/loopback/internal/page"
)

// Resolution is what a name means on this machine: the result of [Resolve].
type Resolution struct {
	Name     string       `json:"name"`
	Verdict  Verdict      `json:"verdict"`
	Answers  []Answer     `json:"answers"`  // without duplicates, in the order of the resolver
	Dial     []netip.Addr `json:"dial"`     // what net.Dial would try, in this order and without duplicates
	Listen   netip.Addr   `json:"listen"`   // what the listener of net.Listen("tcp", "name:0") would report; the zero Addr if that would fail
	Findings []Finding    `json:"findings"` // in the order of their verdicts, then those of level info, then remarks on the hosts file
}

// Answer is one address of a name.
type Answer struct {
	Addr    netip.Addr `json:"addr"`    // unmapped; with its zone, if the resolver names one
	Source  string     `json:"source"`  // "hosts:2" (line 2 of the hosts file), "resolver", or "literal" if the name is an address
	Bind    Outcome    `json:"bind"`    // of a listener; not tried unless Addr is loopback
	Connect Outcome    `json:"connect"` // to a listener of our own; not tried unless it could be bound
}

// facts are what a Resolution is judged by, beside its answers.
type facts struct {
	literal  bool // the name is an address
	hosts    *hostsfile.File
	libc     hostsfile.Reader  // the C library of this process
	sources  hostsfile.Sources // of that C library
	lookups  lookups
	machine  families              // whose loopback addresses can be bound and connected to
	ipv6Off  bool                  // a known cause keeps ::1 off this machine
	down     string                // the loopback interface, if it is down
	stub     bool                  // no server but systemd-resolved on this machine was asked
	hurried  bool                  // the context left less time for a connection than it may take
	process  string                // what to do about a fault of this process; "" if it has none
	absent   map[netip.Addr]string // answers that this machine does not have, and how to add them
	isolated map[netip.Addr]bool   // answers that lead to no other machine
}

// answers returns the addresses that the lookups found, and where each came from.
func (f *facts) answers() []Answer {
	answers := []Answer{}
	for _, addr := range f.lookups.found() {
		source := "resolver"
		if e, ok := f.entry(addr); ok && f.lookups.answerer == "" {
			source = e.Source()
		} else if f.literal {
			source = "literal"
		}
		answers = append(answers, Answer{Addr: addr, Source: source})
	}
	return answers
}

// entry returns the line of the hosts file that an answer came from.
func (f *facts) entry(addr netip.Addr) (hostsfile.Entry, bool) {
	e, ok := f.hosts.Find(addr, hostsfile.ByGo)
	if !ok && f.lookups.server == "" { // it may be the C library that answered
		e, ok = f.hosts.Find(addr, f.libc)
	}
	return e, ok
}

// inHosts reports whether the hosts file has the name for who made the lookup.
func (f *facts) inHosts() bool {
	return f.hosts.Has(hostsfile.ByGo) || f.lookups.server == "" && f.hosts.Has(f.libc)
}

// linesOf returns the numbers of the lines that answers came from.
func (f *facts) linesOf(answers []Answer) (lines []string) {
	for _, e := range f.hosts.Entries {
		same := func(a Answer) bool {
			return a.Source == e.Source() || a.Addr == e.Addr && strings.HasPrefix(a.Source, "hosts:")
		}
		if (e.ReadBy(hostsfile.ByGo) || e.ReadBy(f.libc)) && slices.ContainsFunc(answers, same) {
			lines = append(lines, strconv.Itoa(e.Line))
		}
	}
	return lines
}

// wanted returns the families that name should have.
func (f *facts) wanted(name string) families {
	want := f.machine
	if f.down != "" || want == (families{}) {
		want = families{v4: true, v6: !f.ipv6Off}
	}
	switch only := onlyFamily(name); {
	case only.v4:
		want.v6 = false
	case only.v6:
		want.v4 = false
	}
	return want
}

// onlyFamily returns the one family that name is for: those of Debian are
// ip6-localhost and ip6-loopback, those of Fedora localhost4 and localhost6.
func onlyFamily(name string) families {
	host, domain, _ := strings.Cut(strings.TrimSuffix(strings.ToLower(name), "."), ".")
	switch domain {
	case "", "localdomain", "localdomain4", "localdomain6":
	default:
		return families{}
	}
	switch host {
	case "localhost4":
		return families{v4: true}
	case "localhost6", "ip6-localhost", "ip6-loopback":
		return families{v6: true}
	}
	return families{}
}

// judge sets the findings and the verdict.
func (res *Resolution) judge(f *facts) {
	findings := slices.Concat(
		res.notLoopback(f), res.fromDNS(f), res.notFound(f), res.unreachable(f),
		res.noFamily(f, IPv4()), res.noFamily(f, IPv6()), res.oneFamily(f),
	)
	slices.SortStableFunc(findings, func(a, b Finding) int { return min(int(b.Level), 1) - min(int(a.Level), 1) })
	res.Verdict = VerdictOK
	if len(findings) > 0 && findings[0].Level > LevelInfo {
		res.Verdict = findings[0].Verdict
	}
	res.Findings = append(append(res.Findings, findings...), res.hostsFile(f)...)
}

// notLoopback finds answers that are not loopback.
func (res *Resolution) notLoopback(f *facts) (fs []Finding) {
	var foreign, isolated []Answer
	for _, a := range res.Answers {
		switch {
		case Is(a.Addr):
		case f.isolated[a.Addr]:
			isolated = append(isolated, a)
		default:
			foreign = append(foreign, a)
		}
	}
	if len(foreign) > 0 {
		is := "is " + addrsOf(foreign) + ", not loopback"
		if addrsOf(foreign) == res.Name {
			is = "is not loopback"
		}
		fs = append(fs, Finding{
			Verdict:  VerdictNotLoopback,
			Level:    LevelError,
			Message:  res.Name + " " + is + res.consequence(),
			Evidence: sourcesOf(foreign),
			Fix:      res.advice(f).replace(f.linesOf(foreign)),
		})
	}
	if len(isolated) > 0 {
		is := "is also " + addrsOf(isolated) + ", which leads"
		if addrsOf(isolated) == res.Name {
			is = "leads"
		}
		fs = append(fs, Finding{
			Verdict:  VerdictNotLoopback,
			Level:    LevelInfo,
			Message:  res.Name + " " + is + " to no other machine",
			Evidence: sourcesOf(isolated),
		})
	}
	return fs
}

// consequence says what the worst of net.Listen is, if it is not loopback.
func (res *Resolution) consequence() string {
	switch {
	case !res.Listen.IsValid() || Is(res.Listen):
		return ""
	case res.Listen.IsUnspecified():
		return "; net.Listen binds every interface"
	}
	return "; net.Listen binds " + res.Listen.String() + ", which others can reach"
}

// fromDNS finds answers for a localhost name that did not come from the hosts
// file. Those that the system itself gave are of level info, on Windows of none.
func (res *Resolution) fromDNS(f *facts) []Finding {
	unknown, allLoopback := 0, true
	for _, a := range res.Answers {
		if a.Source == "resolver" {
			unknown++
			allLoopback = allLoopback && Is(a.Addr)
		}
	}
	if !IsName(res.Name) || unknown == 0 || f.inHosts() && f.lookups.answerer == "" && allLoopback {
		return nil
	}
	asked := cmp.Or(f.lookups.answerer, f.lookups.server)
	local := f.sources.LocalResolver()
	if asked != "" {
		local = ""
		if f.stub {
			local = "systemd-resolved"
		}
	}
	if local == "" || !allLoopback {
		whence := "a DNS server"
		if asked != "" {
			whence = "the DNS server " + asked
		}
		return []Finding{{
			Verdict:  VerdictFromDNS,
			Level:    LevelError,
			Message:  res.Name + " comes from " + whence + ", not from the hosts file",
			Evidence: "resolver",
			Fix:      res.advice(f).have(),
		}}
	}
	if runtime.GOOS == "windows" {
		return nil
	}
	return []Finding{{
		Verdict:  VerdictFromDNS,
		Level:    LevelInfo,
		Message:  res.Name + " is not in the hosts file: " + local + " answers for it, or else a DNS server",
		Evidence: "resolver",
	}}
}

// notFound finds that a lookup failed, or that the name has no address.
func (res *Resolution) notFound(f *facts) []Finding {
	found := Finding{Level: LevelWarn, Evidence: "resolver", Fix: res.advice(f).have()}
	if err := f.lookups.failed(); err != nil {
		found.Verdict, found.Message = VerdictLookupFailed, fmt.Sprintf("the lookup failed: %v", err)
		return []Finding{found}
	}
	if !slices.ContainsFunc(res.Answers, func(a Answer) bool { return !f.isolated[a.Addr] }) {
		found.Verdict, found.Message = VerdictMissing, res.Name+" has no address here"
		if len(res.Answers) > 0 {
			found.Message = res.Name + " leads nowhere"
		}
		return []Finding{found}
	}
	return nil
}

// unreachable finds loopback addresses that can be bound but not connected to.
func (res *Resolution) unreachable(f *facts) []Finding {
	failed := slices.DeleteFunc(slices.Clone(res.Answers), func(a Answer) bool { return a.Connect.Err == nil || f.isAbsent(a) })
	if len(failed) == 0 {
		return nil
	}
	found := Finding{
		Verdict:  VerdictUnreachable,
		Level:    LevelWarn,
		Message:  fmt.Sprintf("%s can be bound but not connected to: %v%s", addrsOf(failed), failed[0].Connect, f.whyDown()),
		Evidence: sourcesOf(failed),
		Fix:      "let the firewall pass what goes through the loopback interface",
	}
	if !res.usable() {
		found.Level = LevelError
	}
	switch {
	case f.down != "":
		found.Fix = fixDown(f.down)
	case f.hurried && timedOut(failed[0].Connect.Err):
		found.Fix = "give Resolve more time; if that does not help, " + found.Fix
	case failed[0].Addr == broadcast4:
		found.Fix = res.advice(f).replace(f.linesOf(failed[:1]))
	default:
		found.Fix = cmp.Or(fixProcess(failed[0].Connect.Err), found.Fix)
	}
	return []Finding{found}
}

// noFamily finds answers of the family of addr that this machine does not have.
func (res *Resolution) noFamily(f *facts, addr netip.Addr) []Finding {
	failed := slices.DeleteFunc(slices.Clone(res.Answers), func(a Answer) bool { return a.Addr.Is4() != addr.Is4() || !f.isAbsent(a) })
	if len(failed) == 0 {
		return nil
	}
	first := failed[0]
	found := Finding{
		Verdict:  VerdictNoIPv4,
		Level:    LevelWarn,
		Message:  fmt.Sprintf("%s cannot be bound: %v%s", addrsOf(failed), first.Bind, f.whyDown()),
		Evidence: sourcesOf(failed),
		Fix:      f.absent[first.Addr],
	}
	if addr.Is6() {
		found.Verdict = VerdictNoIPv6
	}
	if first.Bind.Err == nil {
		found.Message = fmt.Sprintf("%s can be bound, but this machine does not have it: %v", addrsOf(failed), first.Connect)
	}
	if !slices.ContainsFunc(res.Answers, func(a Answer) bool { return a.Connect.Tried && !f.isAbsent(a) }) {
		found.Level = LevelError
	}
	switch {
	case f.down != "":
		found.Fix = fixDown(f.down)
	case fixProcess(first.Bind.Err) == "" && strings.HasPrefix(first.Source, "hosts:"):
		other := ""
		if found.Level == LevelError {
			other = res.advice(f).put()
		}
		found.Fix = orUnclaim(found.Fix, first.Addr, other)
	}
	return []Finding{found}
}

// oneFamily finds that a loopback name has one family on a machine that has both.
func (res *Resolution) oneFamily(f *facts) []Finding {
	has, loopback := families{}, false
	for _, a := range res.Answers {
		loopback = loopback || Is(a.Addr)
		if !f.isolated[a.Addr] {
			has.set(a.Addr, true)
		}
	}
	both := families{v4: true, v6: true}
	if isAddress(res.Name) || !loopback || f.lookups.failed() != nil || f.machine != both || has == both || has == onlyFamily(res.Name) {
		return nil
	}
	found := Finding{
		Verdict:  VerdictIPv4Only,
		Level:    LevelWarn,
		Message:  res.Name + " has no IPv6 address, but this machine has ::1",
		Evidence: sourcesOf(res.Answers),
	}
	if has.v6 {
		found.Verdict, found.Message = VerdictIPv6Only, res.Name+" has no IPv4 address, but this machine has 127.0.0.1"
	}
	advice := res.advice(f)
	// A name that the hosts file has is asked of no server: where one answered, both
	// families belong there.
	if !slices.ContainsFunc(res.Answers, func(a Answer) bool { return a.Source == "resolver" }) {
		advice.want.v4, advice.want.v6 = advice.want.v4 && !has.v4, advice.want.v6 && !has.v6
	}
	found.Fix = advice.haveBoth()
	return []Finding{found}
}

// hostsFile finds what is wrong with the hosts file, as far as it concerns the
// name.
func (res *Resolution) hostsFile(f *facts) (fs []Finding) {
	find := func(message, evidence, fix string) {
		fs = append(fs, Finding{Verdict: VerdictHostsFile, Level: LevelWarn, Message: message, Evidence: evidence, Fix: fix})
	}
	hosts := f.hosts
	if hosts.Err != nil {
		find(fmt.Sprintf("the hosts file cannot be read: %v", hosts.Err), hosts.Path, cmp.Or(f.process, "make it a file that every user can read"))
	}
	if hosts.TooBig {
		find(fmt.Sprintf("only the first %d MiB of the hosts file were read", hostsfile.MaxSize>>20), hosts.Path, fixTooBig)
	}
	if p := hosts.Problem; p != (hostsfile.Problem{}) && (IsName(res.Name) || res.Verdict == VerdictMissing) && !f.inHosts() && !slices.ContainsFunc(hosts.Entries, func(e hostsfile.Entry) bool { return e.Problem == p }) {
		find("what is added to the hosts file is not read: "+p.Why, hosts.Path, p.Fix)
	}
	for i, e := range hosts.Entries {
		same := func(o hostsfile.Entry) bool { return o.Problem == e.Problem }
		if e.Problem == (hostsfile.Problem{}) || slices.ContainsFunc(hosts.Entries[:i], same) {
			continue
		}
		var lines, evidence, take []string
		for _, e := range hosts.Entries[i:] {
			if !same(e) {
				continue
			}
			lines = append(lines, strconv.Itoa(e.Line))
			evidence = append(evidence, e.Source())
			if IsName(res.Name) && isForeign(e) { // it is better lost
				take = append(take, strconv.Itoa(e.Line))
			}
		}
		fix := res.advice(f).takeOut(take)
		if len(take) < len(lines) {
			fix = then(fix, e.Problem.Fix)
		}
		find(fmt.Sprintf("%s is not found in %s of %s: %s", res.Name, lineList(lines), hosts.Path, e.Problem.Why),
			page.List(evidence, ", ", strings.Clone), fix)
	}
	return fs
}

// advice returns what to say about the hosts file.
func (res *Resolution) advice(f *facts) hostsAdvice {
	return hostsAdvice{hosts: f.hosts, libc: f.libc, sources: f.sources, name: res.Name, want: f.wanted(res.Name), process: f.process}
}

// usable reports whether one of the answers can be connected to.
func (res *Resolution) usable() bool {
	return slices.ContainsFunc(res.Answers, func(a Answer) bool { return a.Connect.OK() })
}

// isAbsent reports whether a is a loopback address that this machine does not have.
func (f *facts) isAbsent(a Answer) bool {
	_, absent := f.absent[a.Addr]
	return absent
}

// whyDown names the loopback interface, if it is down.
func (f *facts) whyDown() string {
	if f.down == "" {
		return ""
	}
	return "; the interface " + f.down + " is down"
}

// addrsOf returns the addresses of answers.
func addrsOf(answers []Answer) string {
	return eachOnce(answers, func(a Answer) string { return a.Addr.String() })
}

// sourcesOf returns the sources of answers, each once.
func sourcesOf(answers []Answer) string {
	return eachOnce(answers, func(a Answer) string { return a.Source })
}

// eachOnce returns what text says of answers, each text once.
func eachOnce(answers []Answer, text func(Answer) string) string {
	var texts []string
	for _, a := range answers {
		if t := text(a); !slices.Contains(texts, t) {
			texts = append(texts, t)
		}
	}
	return strings.Join(texts, ", ")
}

// String returns the report as a few lines of text, the verdict first.
func (res *Resolution) String() string {
	headline, only := "loopback, in every family that this machine has", onlyFamily(res.Name)
	switch i := slices.IndexFunc(res.Findings, func(f Finding) bool { return f.Verdict == res.Verdict }); {
	case i >= 0 && res.Verdict != VerdictOK:
		headline = strings.TrimPrefix(res.Findings[i].Message, res.Name+" ")
	case res.Verdict != VerdictOK: // not from Resolve, whole
		headline = ""
	case isAddress(res.Name):
		headline = "a loopback address that works here"
	case only.v4:
		headline = "loopback, in IPv4, which this name is for"
	case only.v6:
		headline = "loopback, in IPv6, which this name is for"
	}
	rows := make([][]string, 0, len(res.Answers))
	for _, a := range res.Answers {
		var notes []string
		if len(res.Dial) > 0 && res.Dial[0] == a.Addr {
			notes = append(notes, "Go's Dial tries this first")
		}
		if res.Listen == a.Addr {
			notes = append(notes, "Go's Listen binds this")
		}
		row := []string{a.Addr.String(), a.Source, a.state()}
		if len(notes) > 0 {
			row = append(row, " <- "+strings.Join(notes, "; "))
		}
		rows = append(rows, row)
	}
	return reportText(res.Name, res.Verdict, headline, page.Columns(rows), res.Findings)
}

// state returns what can be done with the address, in a few words.
func (a Answer) state() string {
	switch {
	case !Is(a.Addr):
		return "not loopback"
	case a.Bind.Err != nil:
		return "bind: " + a.Bind.String()
	case a.Connect.Err != nil:
		return "connect: " + a.Connect.String()
	}
	return a.Connect.String()
}
