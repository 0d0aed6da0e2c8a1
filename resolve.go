package loopback

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	lookupTimeout  = 3 * time.Second // of all the lookups of a Resolve, which are made at once
	connectTimeout = time.Second     // of a connection to a socket of our own
	maxTried       = 64              // no more answers than this are bound and connected to
)

// A Resolver looks up names as package net does, except that it answers
// localhost names itself. The zero value, and a nil *Resolver, are ready to
// use. A Resolver may be used by several goroutines at the same time.
type Resolver struct {
	// Net answers for all other names. Nil is net.DefaultResolver.
	Net *net.Resolver
}

func (r *Resolver) net() *net.Resolver {
	if r == nil || r.Net == nil {
		return net.DefaultResolver
	}
	return r.Net
}

// LookupNetIP is [Resolver.LookupNetIP] of the zero Resolver.
func LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return (*Resolver)(nil).LookupNetIP(ctx, network, host)
}

// LookupNetIP returns the addresses of host: those of both families if network
// is "ip", those of one family if it is "ip4" or "ip6".
//
// A localhost name, as [IsName] tells, is ::1 and 127.0.0.1, in this order,
// whatever this machine thinks of it: RFC 6761, section 6.3. The answer takes
// no I/O, so it is given even if ctx is done.
//
// For any other name the resolver is asked, and a literal address is its own
// answer. The addresses are in the order of [net.Resolver.LookupNetIP] and,
// unlike there, unmapped and without duplicates. Like there, they are without
// zones. The errors are those of package net: a [*net.DNSError] for a name, a
// [net.UnknownNetworkError] for any other network.
func (r *Resolver) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	switch network {
	case "ip", "ip4", "ip6":
	default:
		return nil, net.UnknownNetworkError(network)
	}
	if IsName(host) {
		switch network {
		case "ip4":
			return []netip.Addr{IPv4()}, nil
		case "ip6":
			return []netip.Addr{IPv6()}, nil
		}
		return []netip.Addr{IPv6(), IPv4()}, nil
	}
	addrs, err := r.net().LookupNetIP(ctx, network, host)
	if err != nil {
		return nil, err
	}
	return distinct(addrs), nil
}

// distinct unmaps addrs in place and drops all but the first of equal ones.
func distinct(addrs []netip.Addr) []netip.Addr {
	out := addrs[:0]
	for _, addr := range addrs {
		if addr = addr.Unmap(); !slices.Contains(out, addr) {
			out = append(out, addr)
		}
	}
	return out
}

// Resolution is what a name means on this machine: the result of [Resolve].
type Resolution struct {
	Name     string       `json:"name"`
	Verdict  Verdict      `json:"verdict"`
	Answers  []Answer     `json:"answers"`  // without duplicates, in the order of the resolver
	Dial     []netip.Addr `json:"dial"`     // what net.Dial would try, in this order; an address that the resolver repeats is tried again
	Listen   netip.Addr   `json:"listen"`   // what the listener of net.Listen("tcp", "name:0") would report; the zero Addr if that would fail
	Findings []Finding    `json:"findings"` // in the order of their verdicts, then remarks on the hosts file; none if all is well
}

// Answer is one address of a name.
type Answer struct {
	Addr    netip.Addr `json:"addr"`    // unmapped; with its zone, if the resolver names one
	Source  string     `json:"source"`  // "hosts:2" (line 2 of the hosts file), "resolver", or "literal" if the name is an address
	Bind    Outcome    `json:"bind"`    // of a listener; not tried unless Addr is loopback
	Connect Outcome    `json:"connect"` // to a listener of our own; not tried unless it could be bound
}

// VerdictHostsFile is of findings that remark on the hosts file: a line that
// names the name and is lost, a file that cannot be read. It is never the
// verdict of a report.
const VerdictHostsFile Verdict = "HOSTS-FILE"

// Resolve is [Resolver.Resolve] of the zero Resolver.
func Resolve(ctx context.Context, name string) (*Resolution, error) {
	return (*Resolver)(nil).Resolve(ctx, name)
}

// Resolve reports what this machine says that name is, and what comes of it:
// what net.Dial would try, what net.Listen would bind, and whether the loopback
// addresses among the answers can be bound and connected to. The name need not
// be localhost; the question is always whether it is loopback.
//
// The verdict is the first that holds of NOT-LOOPBACK, FROM-DNS, LOOKUP-FAILED,
// MISSING, UNREACHABLE, NO-IPV4, NO-IPV6, IPv4-ONLY, IPv6-ONLY and OK; Findings
// has all that hold.
//
//   - FROM-DNS is about localhost names only. Where the hosts file lacks them,
//     package net asks a server, with the search list, and believes what it
//     says. On Windows the system answers for them itself, and where
//     nsswitch.conf lists nss-myhostname or systemd-resolved those may have
//     answered, which nobody can see: the finding is then of level info.
//   - IPv4-ONLY and IPv6-ONLY are about names with a loopback address, and not
//     about literals.
//   - A name that RFC 6761 makes loopback but that no resolver knows, such as
//     app.localhost, is MISSING: [LookupNetIP], curl and browsers reach it.
//
// What counts is the answer that net.Dial gets. Where this differs from a
// lookup of one family, as with a C library that makes 127.0.0.1 of an ::1 in
// the hosts file, that one is heard only if the other failed.
//
// Resolve asks the resolver of this process, which may send queries to DNS
// servers. Apart from that nothing leaves the machine, and only loopback
// addresses listen, for a moment, on a port of the kernel's choice. An address
// that is not loopback is bound to learn what net.Listen would report, and
// never listens.
//
// The call ends with ctx, and takes no more than a few seconds without. Package
// net reads its hosts file at most every five seconds, so a change may show
// late. Where the C library resolves, a lookup cut short ends in the background,
// as with package net.
//
// The error is for a name that cannot be one (empty, longer than 253 bytes, with
// spaces or control characters, with a port or brackets) and for a ctx that is
// done at the call.
func (r *Resolver) Resolve(ctx context.Context, name string) (*Resolution, error) {
	literal, err := checkName(name)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("loopback: resolve %.64q: %w", name, err)
	}
	hosts := &hostsFile{path: hostsPath()}
	if !literal {
		hosts = readHosts(hosts.path, name)
	}
	res := &Resolution{Name: name, Answers: []Answer{}, Dial: []netip.Addr{}, Findings: []Finding{}}
	l := r.lookupAll(ctx, name, hosts)
	for _, addr := range distinct(slices.Clone(l.found())) {
		a := Answer{Addr: addr, Source: "resolver"}
		if e, ok := hosts.find(addr, l.server == ""); ok {
			a.Source = e.source()
		} else if literal {
			a.Source = "literal"
		}
		res.Answers = append(res.Answers, a)
	}
	if l.all.err == nil {
		res.Dial = dialOrder(l.all.addrs)
		if len(res.Dial) > 0 { // an error of bindOnly means the zero Addr
			res.Listen, _ = bindOnly(ctx, listenAddr(res.Dial, name))
		}
	}
	var wg sync.WaitGroup
	for i := range res.Answers[:min(len(res.Answers), maxTried)] {
		if a := &res.Answers[i]; Is(a.Addr) {
			wg.Go(func() { a.Bind, a.Connect = tryLoopback(ctx, a.Addr) })
		}
	}
	wg.Wait()
	res.judge(ctx, literal, hosts, l)
	return res, nil
}

// checkName reports whether name is a literal address, or why it cannot be
// looked up.
func checkName(name string) (literal bool, err error) {
	if _, err := netip.ParseAddr(name); err == nil {
		return true, nil
	}
	bare := strings.TrimSuffix(name, ".")
	switch {
	case bare == "":
		return false, errors.New("the name is empty")
	case len(bare) > 253:
		return false, fmt.Errorf("a name of %d bytes; 253 is the limit", len(bare))
	case !utf8.ValidString(name):
		return false, errors.New("the name is not valid UTF-8")
	}
	for label := range strings.SplitSeq(bare, ".") {
		if label == "" || len(label) > 63 {
			return false, fmt.Errorf("a label of %d bytes; 1 to 63 are allowed", len(label))
		}
	}
	for _, c := range name {
		if unicode.IsSpace(c) || unicode.IsControl(c) || strings.ContainsRune(`"#%/:?@[\]`, c) {
			return false, fmt.Errorf("%q is not part of a host name", c)
		}
	}
	return false, nil
}

// lookups are the answers of a resolver for one name.
type lookups struct {
	all, v4, v6 struct {
		addrs []netip.Addr
		err   error
	}
	server string // the first DNS server that package net itself asked; "" if it asked none
}

// lookupAll makes the lookup of net.Dial and net.Listen, and that of each
// family, all at once.
func (r *Resolver) lookupAll(ctx context.Context, name string, hosts *hostsFile) (l lookups) {
	if hosts.tooBig {
		l.all.err = fmt.Errorf("%s is bigger than %d MiB, and package net would keep all of it in memory: not asked", hosts.path, maxHosts>>20)
		l.v4.err, l.v6.err = l.all.err, l.all.err
		return l
	}
	ctx, cancel := context.WithTimeout(ctx, within(ctx, lookupTimeout))
	defer cancel()
	// Package net dials only when it asks servers itself; the C library and
	// the hosts file pass this by.
	var server atomic.Pointer[string]
	dial := r.net().Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	resolver := &net.Resolver{
		PreferGo:     r.net().PreferGo,
		StrictErrors: r.net().StrictErrors,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			server.CompareAndSwap(nil, &address)
			return dial(ctx, network, address)
		},
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		ips, err := resolver.LookupIPAddr(ctx, name)
		for _, ip := range ips {
			if addr, ok := netip.AddrFromSlice(ip.IP); ok {
				l.all.addrs = append(l.all.addrs, addr.Unmap().WithZone(ip.Zone))
			}
		}
		l.all.err = err
	})
	wg.Go(func() { l.v4.addrs, l.v4.err = resolver.LookupNetIP(ctx, "ip4", name) })
	wg.Go(func() { l.v6.addrs, l.v6.err = resolver.LookupNetIP(ctx, "ip6", name) })
	wg.Wait()
	if s := server.Load(); s != nil {
		l.server = *s
	}
	return l
}

// within returns d, or less if ctx ends so soon that nothing could follow.
func within(ctx context.Context, d time.Duration) time.Duration {
	if end, ok := ctx.Deadline(); ok {
		d = min(d, time.Until(end)*3/4)
	}
	return d
}

// found returns the answer that net.Dial gets, or what the lookups of the
// families got if there is none.
func (l *lookups) found() []netip.Addr {
	if l.all.err == nil {
		return l.all.addrs
	}
	return append(slices.Clone(l.v6.addrs), l.v4.addrs...)
}

// failed returns the error of a lookup that says nothing about the name: the
// resolver failed or gave no answer in time.
func (l *lookups) failed() error {
	for _, err := range []error{l.all.err, l.v4.err, l.v6.err} {
		dns, ok := errors.AsType[*net.DNSError](err)
		switch {
		case err == nil || ok && dns.IsNotFound:
		case ok && (dns.IsTimeout || dns.IsTemporary):
			return err
		case l.all.err != nil && err == l.all.err:
			return err // not a family that the name lacks
		}
	}
	return nil
}

// dialOrder returns addrs, which the resolver returned in this order, in the
// order in which net.Dial tries them: the family of the first one, then the
// other.
func dialOrder(addrs []netip.Addr) []netip.Addr {
	if len(addrs) == 1 && addrs[0].WithZone("") == netip.IPv6Unspecified() {
		return []netip.Addr{addrs[0], netip.IPv4Unspecified()} // golang.org/issue/18806
	}
	order := make([]netip.Addr, 0, len(addrs))
	for _, primary := range []bool{true, false} {
		for _, addr := range addrs {
			if (addr.Is4() == addrs[0].Is4()) == primary {
				order = append(order, addr)
			}
		}
	}
	return order
}

// listenAddr returns the one of addrs, which are not empty, that net.Listen
// binds: the first IPv4 address, if there is one; with an IPv6 literal, the
// first IPv6 address.
func listenAddr(addrs []netip.Addr, name string) netip.Addr {
	v4 := !strings.Contains(name, ":")
	if i := slices.IndexFunc(addrs, func(addr netip.Addr) bool { return addr.Is4() == v4 }); i >= 0 {
		return addrs[i]
	}
	return addrs[0]
}

// tryLoopback binds the loopback address addr and connects to it.
func tryLoopback(ctx context.Context, addr netip.Addr) (bind, connect Outcome) {
	bind.Tried = true
	bound, err := bindOnly(ctx, addr)
	if err == nil && !Is(bound) { // a FreeBSD jail makes a public address of 127.0.0.1
		err = &net.OpError{Op: "listen", Net: "tcp", Addr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)),
			Err: fmt.Errorf("bound to %v: %w", bound, ErrNotLoopback)}
	}
	if err != nil {
		bind.Err = err
		return bind, connect
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(ctx, "tcp", netip.AddrPortFrom(addr, 0).String())
	if err != nil {
		bind.Err = err
		return bind, connect
	}
	defer ln.Close()
	d := net.Dialer{Timeout: within(ctx, connectTimeout), KeepAlive: -1}
	conn, err := d.DialContext(ctx, "tcp", ln.Addr().String())
	switch {
	case err == nil:
		conn.Close()
	case ctx.Err() != nil:
		return bind, connect // it was the caller who gave up
	}
	return bind, Outcome{Tried: true, Err: err}
}

// judge sets the findings and the verdict.
func (res *Resolution) judge(ctx context.Context, literal bool, hosts *hostsFile, l lookups) {
	var (
		foreign, unknown, unreachable []Answer // not loopback; from the resolver; bound, but not connected to
		unbound                       [2][]Answer
		has                           [2]bool // the name has an address of this family, IPv4 and IPv6
		loopback, usable              bool    // one of the answers is
	)
	for _, a := range res.Answers {
		fam := family(a.Addr)
		has[fam] = true
		loopback = loopback || Is(a.Addr)
		usable = usable || a.Connect.OK()
		if a.Source == "resolver" {
			unknown = append(unknown, a)
		}
		switch {
		case !Is(a.Addr):
			foreign = append(foreign, a)
		case a.Bind.Err != nil:
			unbound[fam] = append(unbound[fam], a)
		case a.Connect.Err != nil:
			unreachable = append(unreachable, a)
		}
	}
	name, failure := res.Name, l.failed()
	inHosts := hosts.has(l.server == "")

	if len(foreign) > 0 {
		res.find(VerdictNotLoopback, LevelError, sourcesOf(foreign), res.fixForeign(foreign, hosts),
			"%s is %s, not loopback%s", name, addrsOf(foreign), res.consequence())
	}
	if IsName(name) && len(unknown) > 0 && (!inHosts || slices.ContainsFunc(unknown, func(a Answer) bool { return !Is(a.Addr) })) {
		res.fromDNS(len(foreign) == 0, hosts, l)
	}
	switch {
	case failure != nil:
		res.find(VerdictLookupFailed, LevelWarn, "resolver", fixHosts(hosts, name, true, true), "the lookup failed: %v", failure)
	case len(res.Answers) == 0:
		res.find(VerdictMissing, LevelWarn, "resolver", fixHosts(hosts, name, true, true), "%s has no address here", name)
	}
	down := loopbackDown()
	if len(unreachable) > 0 {
		level, fix := LevelWarn, "let the firewall pass what goes through the loopback interface"
		if !usable {
			level = LevelError
		}
		if down != "" {
			fix = fixDown(down)
		}
		res.find(VerdictUnreachable, level, sourcesOf(unreachable), fix, "%s can be bound but not connected to: %v%s",
			addrsOf(unreachable), unreachable[0].Connect, whyDown(down))
	}
	for fam, verdict := range []Verdict{VerdictNoIPv4, VerdictNoIPv6} {
		failed := unbound[fam]
		if len(failed) == 0 {
			continue
		}
		level, fix := LevelWarn, fixFamily(fam)
		if !usable && len(unreachable) == 0 {
			level = LevelError
		}
		if down != "" {
			fix = fixDown(down)
		}
		res.find(verdict, level, sourcesOf(failed), fix, "%s cannot be bound: %v%s", addrsOf(failed), failed[0].Bind, whyDown(down))
	}
	if !literal && loopback && failure == nil && has[0] != has[1] && hasFamily(ctx, IPv4()) && hasFamily(ctx, IPv6()) {
		if has[0] {
			res.find(VerdictIPv4Only, LevelWarn, sourcesOf(res.Answers), fixHosts(hosts, name, false, true),
				"%s has no IPv6 address, but this machine has ::1", name)
		} else {
			res.find(VerdictIPv6Only, LevelWarn, sourcesOf(res.Answers), fixHosts(hosts, name, true, false),
				"%s has no IPv4 address, but this machine has 127.0.0.1", name)
		}
	}
	res.Verdict = VerdictOK
	if len(res.Findings) > 0 {
		res.Verdict = res.Findings[0].Verdict
	}
	res.remarkHosts(hosts)
}

func (res *Resolution) find(verdict Verdict, level Level, evidence, fix, format string, args ...any) {
	res.Findings = append(res.Findings, Finding{verdict, level, fmt.Sprintf(format, args...), evidence, fix})
}

// fromDNS finds that answers for a localhost name did not come from the hosts
// file, unless it is known that the system made them up itself.
func (res *Resolution) fromDNS(allLoopback bool, hosts *hostsFile, l lookups) {
	level, whence := LevelError, "a server named it"
	switch local := localResolver(); {
	case l.server != "":
		whence = l.server + " was asked, with the search list, and named it"
	case local == "" || !allLoopback:
	case runtime.GOOS == "windows":
		return
	default:
		level, whence = LevelInfo, local+" answers for it, or else a server"
	}
	fix := fixHosts(hosts, res.Name, true, true)
	if hosts.has(l.server == "") {
		fix = "name files before dns in the hosts line of /etc/nsswitch.conf"
	}
	res.find(VerdictFromDNS, level, "resolver", fix, "%s did not come from the hosts file: %s", res.Name, whence)
}

// localResolver returns the part of the system that answers for localhost
// names itself before any server is asked, if package net asks the system; ""
// if there is none.
func localResolver() string {
	if runtime.GOOS == "windows" {
		return "Windows"
	}
	conf, _ := os.ReadFile("/etc/nsswitch.conf")
	for line := range bytes.Lines(conf) {
		db, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("hosts:"))
		if !ok {
			continue
		}
		for source := range strings.FieldsSeq(string(db)) {
			switch source {
			case "myhostname":
				return "nss-myhostname"
			case "resolve":
				return "systemd-resolved"
			case "dns":
				return ""
			}
		}
	}
	return ""
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

func (res *Resolution) fixForeign(foreign []Answer, hosts *hostsFile) string {
	var lines []string
	for _, a := range foreign {
		if n, ok := strings.CutPrefix(a.Source, "hosts:"); ok {
			lines = append(lines, n)
		}
	}
	add := fixHosts(hosts, res.Name, true, true)
	if len(lines) == 0 {
		return add
	}
	return fmt.Sprintf("take %s out of line %s of %s; %s", res.Name, strings.Join(lines, ", "), hosts.path, add)
}

// remarkHosts finds what is wrong with the hosts file, as far as it concerns
// the name.
func (res *Resolution) remarkHosts(hosts *hostsFile) {
	if hosts.err != nil {
		res.find(VerdictHostsFile, LevelWarn, hosts.path, "make it a file that everybody can read", "the hosts file cannot be read: %v", hosts.err)
	}
	if hosts.tooBig {
		res.find(VerdictHostsFile, LevelWarn, hosts.path, "make it smaller", "only the first %d MiB of the hosts file were read", maxHosts>>20)
	}
	for i, e := range hosts.entries {
		same := func(o hostsEntry) bool { return o.lost == e.lost }
		if e.lost.why == "" || slices.ContainsFunc(hosts.entries[:i], same) {
			continue
		}
		var lines, evidence []string
		for _, e := range hosts.entries[i:] {
			if same(e) {
				lines = append(lines, strconv.Itoa(e.line))
				evidence = append(evidence, e.source())
			}
		}
		res.find(VerdictHostsFile, LevelWarn, strings.Join(evidence, ", "), e.lost.fix,
			"%s is not found in line %s of %s: %s", res.Name, strings.Join(lines, ", "), hosts.path, e.lost.why)
	}
}

// fixHosts returns the advice to give name its loopback addresses in the hosts
// file, of those families that are asked for and not there.
func fixHosts(hosts *hostsFile, name string, v4, v6 bool) string {
	var lines []string
	for _, want := range []struct {
		addr netip.Addr
		put  bool
	}{{IPv4(), v4}, {IPv6(), v6}} {
		if _, there := hosts.find(want.addr, false); want.put && !there {
			lines = append(lines, fmt.Sprintf("`%v %s`", want.addr, name))
		}
	}
	if len(lines) == 0 {
		return ""
	}
	fix := "put " + strings.Join(lines, " and ") + " into " + hosts.path
	if !IsName(name) {
		fix += ", if it is to be loopback"
	}
	return fix
}

// family returns 0 for an IPv4 address and 1 for an IPv6 address.
func family(addr netip.Addr) int {
	if addr.Is4() {
		return 0
	}
	return 1
}

// hasFamily reports whether this machine has the loopback address addr.
func hasFamily(ctx context.Context, addr netip.Addr) bool {
	_, err := bindOnly(ctx, addr)
	return err == nil
}

// loopbackDown returns the name of the loopback interface, if there is one and
// it is down; otherwise "".
func loopbackDown() string {
	ifs, err := net.Interfaces()
	if err != nil {
		return ""
	}
	for _, ifi := range ifs {
		if ifi.Flags&(net.FlagLoopback|net.FlagUp) == net.FlagLoopback {
			return ifi.Name
		}
	}
	return ""
}

func whyDown(name string) string {
	if name == "" {
		return ""
	}
	return "; the interface " + name + " is down"
}

func fixDown(name string) string {
	if runtime.GOOS == "linux" {
		return "ip link set " + name + " up"
	}
	return "bring up the interface " + name
}

func fixFamily(fam int) string {
	switch {
	case runtime.GOOS != "linux":
		return "give the loopback interface the address"
	case fam == 0:
		return "ip addr add 127.0.0.1/8 dev lo"
	}
	return "turn IPv6 on (sysctl -w net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.lo.disable_ipv6=0), or take the address out of the hosts file"
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

// String returns the report as a few lines for a person, the verdict first.
func (res *Resolution) String() string {
	headline, findings := "loopback, in every family that this machine has", res.Findings
	if res.Verdict != VerdictOK {
		headline = strings.TrimPrefix(findings[0].Message, res.Name+" ")
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
	return reportText(res.Name, res.Verdict, headline, rows, findings)
}

// reportText returns a report as text. The message of the finding that is the
// verdict is not repeated: the headline says it.
func reportText(name string, verdict Verdict, headline string, rows [][]string, findings []Finding) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s  %s\n%s", name, verdict, headline, align(rows))
	fixes := []string{""}
	for i, f := range findings {
		if i > 0 || f.Verdict != verdict {
			fmt.Fprintf(&b, "  %v\n", f)
		}
		if !slices.Contains(fixes, f.Fix) {
			fmt.Fprintf(&b, "  fix: %s\n", f.Fix)
			fixes = append(fixes, f.Fix)
		}
	}
	return b.String()
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
