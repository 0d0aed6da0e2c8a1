package loopback

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"example.com/loopback/internal/hostsfile"
	"example.com/loopback/internal/netif"
	"example.com/loopback/internal/sockctl"
)

const (
	lookupTimeout  = 3 * time.Second // of all the lookups of a Resolve, which are made at once
	connectTimeout = time.Second     // of a connection to a socket of our own
	maxTried       = 64              // no more answers than this are bound and connected to
)

// A Resolver looks up names as package net does, except that it answers
// localhost names itself. The zero value and a nil *Resolver are ready to use.
// Several goroutines may use a Resolver at the same time.
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

// LookupNetIP returns the addresses of host: those of both families if network
// is "ip", those of one family if it is "ip4" or "ip6". It has the signature of
// [net.Resolver.LookupNetIP].
//
// A localhost name, as [IsName] tells, is ::1 and 127.0.0.1, in this order,
// whatever the hosts file and DNS say (RFC 6761, section 6.3). The answer takes no
// I/O and one allocation. It is given even if ctx is done.
//
// For any other name LookupNetIP asks net.DefaultResolver. A literal address is its
// own answer. The addresses are in the order of [net.Resolver.LookupNetIP] and have
// no zones, as there. Unlike there, they are unmapped and without duplicates. The
// errors are those of package net: a [*net.DNSError] for a name, a
// [net.UnknownNetworkError] for any other network.
func LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return (*Resolver)(nil).LookupNetIP(ctx, network, host)
}

// LookupNetIP does what the function [LookupNetIP] does, but asks r.Net.
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

// Resolve reports what name is on this machine, and what follows from it: which
// addresses net.Dial would try, which one net.Listen would bind, and whether the
// loopback addresses among the answers can be bound and connected to. The name need
// not be localhost. The question is always whether it is loopback.
//
// The verdict is the first that holds of NOT-LOOPBACK, FROM-DNS, LOOKUP-FAILED,
// MISSING, UNREACHABLE, NO-IPV4, NO-IPV6, IPv4-ONLY, IPv6-ONLY and OK. Findings
// has all that hold. A finding of level info leaves the verdict as it is.
//
//   - NOT-LOOPBACK is of level info for a link-local address with a zone that names
//     a loopback interface or none of this machine, such as fe80::1%lo0: it leads
//     to no other machine.
//   - FROM-DNS is about localhost names only. Where the hosts file lacks them, or
//     nsswitch.conf puts dns before it, package net asks a server, with the search
//     list, and believes the answer. Windows answers for such names itself. Where
//     nss-myhostname or systemd-resolved comes first, it answers for them, and the
//     finding is of level info.
//   - NO-IPV4 and NO-IPV6 mean that the name has a loopback address which this
//     machine does not have. It has an address if a socket can be bound and
//     connected to it.
//   - IPv4-ONLY and IPv6-ONLY are about names with a loopback address. They do not
//     hold for literals, for texts that the C library takes for one, such as 127.1,
//     and for names that are for one family, such as ip6-localhost and localhost4.
//   - A name that RFC 6761 makes loopback but that no resolver knows, such as
//     app.localhost, is MISSING. [LookupNetIP], curl and browsers reach it.
//
// The answers are those of net.Dial. A lookup of one family may give another one,
// as with a C library that makes 127.0.0.1 of an ::1 in the hosts file. It counts
// only if the lookup of net.Dial failed.
//
// Resolve asks the resolver of this process, which may send queries to DNS
// servers. Apart from that it sends nothing to other machines. Only loopback
// addresses listen, for a moment, on a port that the system chooses. Resolve binds an
// address that is not loopback to learn what net.Listen would report, and does not
// listen there.
//
// The call ends with ctx, and takes no more than a few seconds without. A lookup or
// a connection that ctx cuts short has failed. Package net reads its hosts file at
// most every five seconds, so a change may show late. Where the C library resolves, a
// lookup that ctx cuts short ends in the background, as with package net.
//
// The error is for a name that cannot be one (empty, longer than 253 bytes, with
// spaces or control characters, with a port or brackets) and for a ctx that is
// done at the call.
func Resolve(ctx context.Context, name string) (*Resolution, error) {
	return (*Resolver)(nil).Resolve(ctx, name)
}

// Resolve does what the function [Resolve] does, but asks r.Net.
func (r *Resolver) Resolve(ctx context.Context, name string) (*Resolution, error) {
	literal, err := checkName(name)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("loopback: resolve %s: %w", quote(name), err)
	}
	f := facts{
		literal: literal,
		hosts:   &hostsfile.File{Path: hostsfile.Path()},
		libc:    hostsfile.Libc(),
		sources: hostsfile.ReadSources(),
	}
	if !literal {
		f.hosts = hostsfile.Read(f.hosts.Path, name)
	}
	f.lookups = r.ask(ctx, name, f.hosts, f.sources)
	res := &Resolution{Name: name, Answers: f.answers(), Dial: []netip.Addr{}, Findings: []Finding{}}
	var listen netip.Addr
	var listenErr error
	if l := f.lookups; l.all.err == nil {
		res.Dial = dialOrder(l.all.addrs, l.repeats)
		if len(res.Dial) > 0 { // an error of BindOnly means the zero Addr
			listen = listenAddr(res.Dial, name)
			res.Listen, listenErr = sockctl.BindOnly(ctx, listen)
		}
	}
	f.hurried = within(ctx, connectTimeout) < connectTimeout
	var wg sync.WaitGroup
	for i := range res.Answers[:min(len(res.Answers), maxTried)] {
		if a := &res.Answers[i]; Is(a.Addr) {
			wg.Go(func() { a.Bind, a.Connect = tryLoopback(ctx, a.Addr) })
		}
	}
	wg.Wait()
	f.hurried = f.hurried || ctx.Err() != nil
	for i := range res.Answers {
		if a := &res.Answers[i]; a.Addr == listen && a.Bind.OK() { // it failed once of two times
			a.Bind.Err = listenErr
		}
	}
	f.examine(ctx, res)
	res.judge(&f)
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

// ask makes the lookups, but not where package net would keep all of a huge
// hosts file in memory.
func (r *Resolver) ask(ctx context.Context, name string, hosts *hostsfile.File, sources hostsfile.Sources) lookups {
	if hosts.TooBig {
		failed := lookup{err: fmt.Errorf("%s is bigger than %d MiB, and package net would keep all of it in memory: not asked",
			hosts.Path, hostsfile.MaxSize>>20)}
		return lookups{all: failed, v4: failed, v6: failed}
	}
	ctx, cancel := context.WithTimeout(ctx, within(ctx, lookupTimeout))
	defer cancel()
	return lookupAll(ctx, r.net(), name, sources.DNSFirst())
}

// within returns d, or less if ctx ends so soon that nothing could follow.
func within(ctx context.Context, d time.Duration) time.Duration {
	if end, ok := ctx.Deadline(); ok {
		d = min(d, time.Until(end)*3/4)
	}
	return d
}

// dialOrder returns addrs, which the resolver returned in this order, in the
// order in which net.Dial tries them: the family of the first one, then the
// other. With :: it tries 0.0.0.0, if the resolver returned nothing else.
func dialOrder(addrs []netip.Addr, repeats bool) []netip.Addr {
	if len(addrs) == 1 && !repeats && addrs[0].WithZone("") == netip.IPv6Unspecified() {
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
func tryLoopback(ctx context.Context, addr netip.Addr) (bound, connected Outcome) {
	bound.Tried = true
	at, err := sockctl.BindOnly(ctx, addr)
	if err == nil && !Is(at) { // a FreeBSD jail makes a public address of 127.0.0.1
		err = &net.OpError{Op: "listen", Net: "tcp", Addr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)),
			Err: fmt.Errorf("bound to %v: %w", at, ErrNotLoopback)}
	}
	if err != nil {
		bound.Err = err
		return bound, connected
	}
	ln, err := sockctl.Listen(ctx, addr)
	if err != nil {
		bound.Err = err
		return bound, connected
	}
	defer ln.Close()
	d := net.Dialer{Timeout: within(ctx, connectTimeout), KeepAlive: -1}
	conn, err := d.DialContext(ctx, "tcp", ln.Addr().String())
	if err == nil {
		conn.Close()
	}
	return bound, Outcome{Tried: true, Err: err}
}

// examine adds to the facts what the machine is, as far as it matters for the
// answers.
func (f *facts) examine(ctx context.Context, res *Resolution) {
	f.down = loopbackDown()
	lo := loopInterface()
	f.absent, f.isolated = map[netip.Addr]string{}, map[netip.Addr]bool{}
	for _, a := range res.Answers {
		switch {
		case a.Bind.Err != nil:
			_, f.absent[a.Addr] = whyAbsent(a.Addr, a.Bind.Err, lo)
		case a.Connect.Err != nil && f.down == "" && a.Addr != broadcast4:
			// With ip_nonlocal_bind, Linux binds addresses that it does not have.
			if local, err := netif.IsLocal(a.Addr); err == nil && !local {
				_, f.absent[a.Addr] = howToAdd(a.Addr, lo)
			}
		case a.Addr.IsLinkLocalUnicast() && a.Addr.Zone() != "":
			f.isolated[a.Addr] = leadsNowhere(a.Addr.Zone())
		}
	}
	cause, _ := netif.IPv6Off(lo)
	f.ipv6Off = cause != ""
	f.stub = isStub(f.lookups.server) && isStub(f.lookups.answerer)
	f.process = fixProcess(f.hosts.Err)
	if isAddress(res.Name) || f.down != "" { // no advice depends on the families
		return
	}
	for _, addr := range []netip.Addr{IPv4(), IPv6()} {
		i := slices.IndexFunc(res.Answers, func(a Answer) bool { return a.Addr == addr && a.Bind.Tried })
		a := Answer{Addr: addr}
		if i >= 0 {
			a = res.Answers[i]
		} else {
			a.Bind, a.Connect = tryLoopback(ctx, addr)
		}
		has := a.Connect.OK()
		if f.hurried && timedOut(a.Connect.Err) { // this takes no time
			has = sockctl.CanConnect(addr) == nil
		}
		f.machine.set(addr, has)
		f.process = cmp.Or(f.process, fixProcess(a.Bind.Err, a.Connect.Err))
	}
}

// leadsNowhere reports whether a zone names a loopback interface, or no
// interface of this machine.
func leadsNowhere(zone string) bool {
	all, err := net.Interfaces()
	if err != nil {
		return false
	}
	i := slices.IndexFunc(all, func(i net.Interface) bool { return i.Name == zone || strconv.Itoa(i.Index) == zone })
	return i < 0 || all[i].Flags&net.FlagLoopback != 0
}

// isStub reports whether server, "" or an address with its port, is where
// systemd-resolved listens on this machine: systemd-resolved.service(8).
func isStub(server string) bool {
	if server != "127.0.0.53:53" && server != "127.0.0.54:53" {
		return server == ""
	}
	_, err := os.Stat("/run/systemd/resolve/stub-resolv.conf")
	return err == nil
}
