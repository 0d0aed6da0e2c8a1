package loopback

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"example.com/loopback/internal/hostsfile"
	"example.com/loopback/internal/sockctl"
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
//     or nsswitch.conf puts dns before it, package net asks a server, with the
//     search list, and believes what it says. On Windows the system answers for
//     them itself, and where nsswitch.conf lists nss-myhostname or
//     systemd-resolved those may have answered, which nobody can see: the
//     finding is then of level info.
//   - IPv4-ONLY and IPv6-ONLY are about names with a loopback address, and not
//     about literals, nor texts that the C library takes for one, such as 127.1.
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
		return nil, fmt.Errorf("loopback: resolve %s: %w", quote(name), err)
	}
	hosts := &hostsfile.File{Path: hostsfile.Path()}
	if !literal {
		hosts = hostsfile.Read(hosts.Path, name)
	}
	res := &Resolution{Name: name, Answers: []Answer{}, Dial: []netip.Addr{}, Findings: []Finding{}}
	l := r.lookupAll(ctx, name, hosts)
	for _, addr := range l.found() {
		a := Answer{Addr: addr, Source: "resolver"}
		if e, ok := hosts.Find(addr, l.reader()); ok && l.answerer == "" {
			a.Source = e.Source()
		} else if literal {
			a.Source = "literal"
		}
		res.Answers = append(res.Answers, a)
	}
	if l.all.err == nil {
		res.Dial = dialOrder(l.all.addrs, l.repeats)
		if len(res.Dial) > 0 { // an error of BindOnly means the zero Addr
			res.Listen, _ = sockctl.BindOnly(ctx, listenAddr(res.Dial, name))
		}
	}
	var wg sync.WaitGroup
	for i := range res.Answers[:min(len(res.Answers), maxTried)] {
		if a := &res.Answers[i]; Is(a.Addr) {
			wg.Go(func() { a.Bind, a.Connect = tryLoopback(ctx, a.Addr) })
		}
	}
	wg.Wait()
	res.judge(ctx, hosts, l)
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
	repeats  bool   // all has had an address twice
	server   string // the first DNS server that package net itself asked; "" if it asked none
	answerer string // the first that answered it with more than that there is nothing
}

// lookupAll makes the lookup of net.Dial and net.Listen, and that of each
// family, all at once.
func (r *Resolver) lookupAll(ctx context.Context, name string, hosts *hostsfile.File) (l lookups) {
	if hosts.TooBig {
		l.all.err = fmt.Errorf("%s is bigger than %d MiB, and package net would keep all of it in memory: not asked", hosts.Path, hostsfile.MaxSize>>20)
		l.v4.err, l.v6.err = l.all.err, l.all.err
		return l
	}
	ctx, cancel := context.WithTimeout(ctx, within(ctx, lookupTimeout))
	defer cancel()
	// Package net dials only when it asks servers itself; the C library and
	// the hosts file pass this by.
	var server, answerer atomic.Pointer[string]
	dial := r.net().Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	watched := func(ctx context.Context, network, address string) (net.Conn, error) {
		server.CompareAndSwap(nil, &address)
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		w := witness{conn, func() { answerer.CompareAndSwap(nil, &address) }}
		if packets, ok := conn.(net.PacketConn); ok { // by which package net tells UDP
			return struct {
				witness
				net.PacketConn
			}{w, packets}, nil
		}
		return w, nil
	}
	resolver := &net.Resolver{PreferGo: r.net().PreferGo, StrictErrors: r.net().StrictErrors, Dial: watched}
	var wg sync.WaitGroup
	wg.Go(func() {
		ips, err := resolver.LookupIPAddr(ctx, name)
		for _, ip := range ips {
			if addr, ok := netip.AddrFromSlice(ip.IP); ok {
				l.all.addrs = append(l.all.addrs, addr.Unmap().WithZone(ip.Zone))
			}
		}
		n := len(l.all.addrs)
		l.all.addrs, l.all.err = distinct(l.all.addrs), err
		l.repeats = len(l.all.addrs) < n
	})
	wg.Go(func() { l.v4.addrs, l.v4.err = resolver.LookupNetIP(ctx, "ip4", name) })
	wg.Go(func() { l.v6.addrs, l.v6.err = resolver.LookupNetIP(ctx, "ip6", name) })
	wg.Wait()
	if s := server.Load(); s != nil {
		l.server = *s
	} else if hostsfile.DNSFirst() { // the C library does not say whom it asked
		asking := &net.Resolver{PreferGo: true, Dial: watched}
		_, _ = asking.LookupIPAddr(ctx, name) // for what watched sees
	}
	if s := answerer.Load(); s != nil {
		l.answerer = *s
	}
	return l
}

// A witness is a connection to a DNS server that calls answered when the server
// returns records.
type witness struct {
	net.Conn
	answered func()
}

func (w witness) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	// RFC 1035, section 4.1.1: QR, RCODE and ANCOUNT.
	if n >= 12 && b[2]&0x80 != 0 && b[3]&0x0f == 0 && b[6]|b[7] != 0 {
		w.answered()
	}
	return n, err
}

// reader returns who reads the hosts file for the lookups. Package net asks no
// server itself where the C library resolves, and where the hosts file has the name.
func (l *lookups) reader() hostsfile.Reader {
	if l.server == "" {
		return hostsfile.ByLibc
	}
	return hostsfile.ByGo
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
	return distinct(append(l.v6.addrs, l.v4.addrs...))
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
func tryLoopback(ctx context.Context, addr netip.Addr) (bind, connect Outcome) {
	bind.Tried = true
	bound, err := sockctl.BindOnly(ctx, addr)
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
	if ctx.Err() != nil {
		return bind, connect
	}
	d := net.Dialer{Timeout: within(ctx, connectTimeout), KeepAlive: -1}
	conn, err := d.DialContext(ctx, "tcp", ln.Addr().String())
	if err == nil {
		conn.Close()
	}
	return bind, Outcome{Tried: true, Err: err}
}
