package loopback_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/loopback"
	"example.com/loopback/internal/faulttest"
	"example.com/loopback/internal/netnstest"
)

// Every system call that this package makes can fail, for a reason that has
// nothing to do with what it was about. The tests below let each fail once, and
// from some time on for ever.

var (
	shortages   = []unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM}
	faultErrnos = append(slices.Clone(shortages), unix.EPERM) // EPERM is the answer of a sandbox
	faultCalls  = []faulttest.Call{
		{Name: "socket", Number: unix.SYS_SOCKET},
		{Name: "socket AF_NETLINK", Number: unix.SYS_SOCKET, Args: func(args [6]uint64) bool { return args[0] == unix.AF_NETLINK }},
		{Name: "socket without SOCK_STREAM", Number: unix.SYS_SOCKET, Args: func(args [6]uint64) bool { return args[1]&0xf != unix.SOCK_STREAM }},
		{Name: "socket AF_INET6", Number: unix.SYS_SOCKET, Args: func(args [6]uint64) bool { return args[0] == unix.AF_INET6 }},
		{Name: "bind", Number: unix.SYS_BIND},
		{Name: "listen", Number: unix.SYS_LISTEN},
		{Name: "connect", Number: unix.SYS_CONNECT},
		{Name: "accept4", Number: unix.SYS_ACCEPT4},
		{Name: "getsockname", Number: unix.SYS_GETSOCKNAME},
		{Name: "getpeername", Number: unix.SYS_GETPEERNAME},
		{Name: "setsockopt", Number: unix.SYS_SETSOCKOPT},
		{Name: "setsockopt SO_BINDTODEVICE", Number: unix.SYS_SETSOCKOPT, Args: socketOption(unix.SOL_SOCKET, unix.SO_BINDTODEVICE)},
		{Name: "getsockopt", Number: unix.SYS_GETSOCKOPT},
		{Name: "epoll_create1", Number: unix.SYS_EPOLL_CREATE1},
		{Name: "epoll_ctl", Number: unix.SYS_EPOLL_CTL},
		{Name: "ioctl", Number: unix.SYS_IOCTL},
		{Name: "sendto", Number: unix.SYS_SENDTO},
		{Name: "recvfrom", Number: unix.SYS_RECVFROM},
		{Name: "sendmsg", Number: unix.SYS_SENDMSG},
		{Name: "recvmsg", Number: unix.SYS_RECVMSG},
		{Name: "openat", Number: unix.SYS_OPENAT},
		{Name: "getdents64", Number: unix.SYS_GETDENTS64},
		{Name: "fcntl", Number: unix.SYS_FCNTL},
	}
)

// socketOption matches the calls about one socket option.
func socketOption(level, name uint64) func(args [6]uint64) bool {
	return func(args [6]uint64) bool { return args[1] == level && args[2] == name }
}

// heldSocket is what the kernel says of a socket that this process has.
type heldSocket struct {
	addr      netip.AddrPort
	stream    bool
	listening bool
	device    int  // what SO_BINDTODEVICE set
	reports   bool // the interface of each datagram
}

// heldSockets returns the IPv4 and IPv6 sockets of this process.
func heldSockets() (held []heldSocket) {
	for fd := range 256 {
		sa, err := unix.Getsockname(fd)
		if err != nil {
			continue
		}
		s := heldSocket{}
		option := func(level, name int) int { v, _ := unix.GetsockoptInt(fd, level, name); return v }
		switch sa := sa.(type) {
		case *unix.SockaddrInet4:
			s.addr = netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
			s.reports = option(unix.IPPROTO_IP, unix.IP_PKTINFO) != 0
		case *unix.SockaddrInet6:
			s.addr = netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
			s.reports = option(unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO) != 0
		default:
			continue
		}
		s.stream = option(unix.SOL_SOCKET, unix.SO_TYPE) == unix.SOCK_STREAM
		s.listening = option(unix.SOL_SOCKET, unix.SO_ACCEPTCONN) != 0
		s.device = option(unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX)
		held = append(held, s)
	}
	return held
}

// wantHeld checks that the sockets of this process are those of the bindings,
// each guarded as its binding says.
func wantHeld(t *testing.T, f faulttest.Fault, bindings []loopback.Binding) {
	t.Helper()
	held := heldSockets()
	assert.Len(t, held, len(bindings), "%v: %v, %v", f, held, bindings)
	for _, b := range bindings {
		stream := b.Network[:3] == "tcp"
		i := slices.IndexFunc(held, func(s heldSocket) bool { return s.addr == b.Addr && s.stream == stream })
		if !assert.GreaterOrEqual(t, i, 0, "%v: no socket for %v", f, b) {
			continue
		}
		assert.Equal(t, stream, held[i].listening, "%v: %v", f, b)
		switch b.Ingress {
		case loopback.IngressDevice:
			assert.Equal(t, 1, held[i].device, "%v: %v", f, b)
		case loopback.IngressCheck:
			assert.Equal(t, !stream, held[i].reports, "%v: %v", f, b)
		}
	}
}

// wantNotWeaker checks the bindings of a listener that came about under a fault,
// against those without one: none is missing, a weaker one is not due to a
// shortage, and says why it is weaker.
func wantNotWeaker(t *testing.T, f faulttest.Fault, want, got []loopback.Binding) {
	t.Helper()
	if !assert.Len(t, got, len(want), "%v", f) {
		return
	}
	for i, b := range got {
		assert.True(t, b.Bound(), "%v: %v", f, b)
		if slices.Contains(shortages, f.Errno) {
			assert.Equal(t, want[i].Err == nil, b.Err == nil, "%v: a shortage is not a reason: %v", f, b)
		}
		switch {
		case b.Ingress == want[i].Ingress:
		case slices.Contains(shortages, f.Errno):
			assert.Fail(t, "a shortage made it weaker", "%v: %v", f, b)
		default:
			assert.ErrorIs(t, b.Err, f.Errno, "%v: %v", f, b)
		}
	}
}

// faulty starts an injector, and lo, in the namespace of the test.
func faulty(t *testing.T) *faulttest.Injector {
	t.Helper()
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	listening(t, ":0").Close() // opens what the runtime keeps
	return faulttest.Start(t, faultCalls...)
}

// plan returns all faults, or two error numbers of five with -short.
func plan() faulttest.Plan {
	p := faulttest.Plan{Calls: faultCalls, Errnos: faultErrnos}
	if testing.Short() {
		p.Errnos = p.Errnos[3:]
	}
	return p
}

// planWithoutDial is plan for what connects to itself: package net waits for
// getpeername to succeed.
func planWithoutDial() faulttest.Plan {
	p := plan()
	p.Calls = slices.DeleteFunc(slices.Clone(p.Calls), func(c faulttest.Call) bool { return c.Number == unix.SYS_GETPEERNAME })
	return p
}

// wantCause checks that an error names the fault. Package os does not say why
// it could not watch a descriptor, and package net nothing of getsockname.
func wantCause(t *testing.T, f faulttest.Fault, err error) {
	t.Helper()
	switch f.Call.Number {
	case unix.SYS_EPOLL_CTL, unix.SYS_FCNTL:
	case unix.SYS_GETSOCKNAME:
		assert.True(t, errors.Is(err, f.Errno) || strings.Contains(err.Error(), "getsockname"), "%v: %v", f, err)
	default:
		assert.ErrorIs(t, err, f.Errno, "%v", f)
	}
}

// A call that fails makes Listen and ListenPacket fail, or leaves a listener
// that is as strong as it says.
func TestListenUnderFaults(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	in := faulty(t)
	for network, listen := range listenFuncs {
		for _, lc := range []*loopback.ListenConfig{
			{},
			{Ingress: loopback.IngressDevice},
			{Ingress: loopback.IngressCheck},
			{Ingress: loopback.IngressRemote},
			{Ingress: loopback.IngressAny},
			{Ingress: loopback.IngressAny, RequireBoth: true},
		} {
			t.Run(fmt.Sprintf("%s/%v", network, lc.Ingress), func(t *testing.T) {
				p := planWithoutDial()
				if lc.Ingress != loopback.IngressAuto {
					p.Errnos = p.Errnos[len(p.Errnos)-2:]
				}
				c, err := listen(lc, t.Context(), "", ":0")
				require.NoError(t, err)
				want := c.Bindings()
				wantHeld(t, faulttest.Fault{}, want)
				require.NoError(t, c.Close())
				before := descriptors(t)
				failures := 0
				faults := in.Each(p, func(f faulttest.Fault, during func(func())) {
					var c bound
					var err error
					during(func() { c, err = listen(lc, t.Context(), "", ":0") })
					if err != nil {
						failures++
						assert.Nil(t, c)
						wantListenError(t, err)
						wantCause(t, f, err)
					} else {
						wantNotWeaker(t, f, want, c.Bindings())
						wantHeld(t, f, c.Bindings())
						if lc.RequireBoth && !t.Failed() { // a failure takes its time
							wantServed(t, f, c)
						}
						assert.NoError(t, c.Close(), "%v", f)
					}
					assert.Equal(t, before, descriptors(t), "%v: left open", f)
				})
				t.Logf("%d faults, %d errors", faults, failures)
				assert.Greater(t, failures, faults/3)
			})
		}
	}
}

// wantServed sends to each address that is bound, and expects it to arrive.
func wantServed(t *testing.T, f faulttest.Fault, c bound) {
	t.Helper()
	arrives := func() (net.Addr, error) { // whom something is from
		_, from, err := c.(*loopback.PacketConn).ReadFrom(make([]byte, 1))
		return from, err
	}
	network := "udp"
	if ln, ok := c.(*loopback.Listener); ok {
		network = "tcp"
		arrives = func() (net.Addr, error) {
			conn, err := ln.Accept()
			if err != nil {
				return nil, err
			}
			defer conn.Close()
			return conn.RemoteAddr(), nil
		}
	}
	assert.NoError(t, c.(interface{ SetDeadline(t time.Time) error }).SetDeadline(time.Now().Add(patience)))
	for _, at := range c.AddrPorts() {
		client, err := net.Dial(network, at.String())
		if !assert.NoError(t, err, "%v", f) {
			return
		}
		_, err = client.Write([]byte("x"))
		assert.NoError(t, err, "%v", f)
		from, err := arrives()
		if assert.NoError(t, err, "%v: %v is not served", f, at) {
			assert.Equal(t, client.LocalAddr().String(), from.String(), "%v", f)
		}
		client.Close()
	}
}

// An address that goes away while Listen is at work is left out with the reason,
// and is an error of RequireBoth. Nothing is left open.
func TestListenWhereAnAddressVanishes(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	in := faulty(t)
	p := faulttest.Plan{Calls: []faulttest.Call{{Name: "bind", Number: unix.SYS_BIND}}, Errnos: []unix.Errno{unix.EADDRNOTAVAIL, unix.EAFNOSUPPORT}}
	for network, listen := range listenFuncs {
		leftOut, failed := 0, 0
		before := descriptors(t)
		in.Each(p, func(f faulttest.Fault, during func(func())) {
			for _, lc := range []*loopback.ListenConfig{{Ingress: loopback.IngressAny}, {Ingress: loopback.IngressAny, RequireBoth: true}} {
				var c bound
				var err error
				during(func() { c, err = listen(lc, t.Context(), "", ":0") })
				if err != nil {
					failed++
					assert.ErrorIs(t, err, f.Errno, "%v", f)
				} else {
					var have []loopback.Binding
					for _, b := range c.Bindings() {
						if b.Bound() {
							have = append(have, b)
							continue
						}
						leftOut++
						assert.ErrorIs(t, b.Err, f.Errno, "%v: %v", f, b)
						assert.False(t, lc.RequireBoth, "%v: %v", f, b)
					}
					wantHeld(t, f, have)
					assert.NoError(t, c.Close())
				}
				assert.Equal(t, before, descriptors(t), "%v: left open", f)
			}
		})
		assert.Positive(t, leftOut, network)
		assert.Positive(t, failed, network)
	}
}

// A port by number is free again after a Listen that failed, wherever it did.
func TestListenUnderFaultsFreesThePort(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	in := faulty(t)
	const address = ":4711"
	for network, listen := range listenFuncs {
		p := faulttest.Plan{Calls: faultCalls, Errnos: []unix.Errno{unix.EMFILE}}
		faults := in.Each(p, func(f faulttest.Fault, during func(func())) {
			var c bound
			var err error
			lc := &loopback.ListenConfig{Ingress: loopback.IngressAny}
			during(func() { c, err = listen(lc, t.Context(), "", address) })
			if err == nil {
				assert.NoError(t, c.Close())
			}
			c, err = listen(lc, t.Context(), "", address)
			if assert.NoError(t, err, "%s, after %v", network, f) {
				assert.NoError(t, c.Close())
			}
		})
		assert.Greater(t, faults, 10)
	}
}

// A call that fails makes Accept return the error, as a temporary one if it is a
// shortage, or makes it refuse the connection and say so. The next client is
// served.
func TestAcceptUnderFaults(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	in := faulty(t)
	for _, ingress := range []loopback.Ingress{loopback.IngressDevice, loopback.IngressCheck, loopback.IngressRemote, loopback.IngressAny} {
		for _, address := range []string{":0", "127.0.0.1:0", "[::1]:0"} {
			t.Run(ingress.String()+" "+address, func(t *testing.T) {
				var ln *loopback.Listener
				var rejected error
				lc := &loopback.ListenConfig{Ingress: ingress, OnReject: func(err error) {
					rejected = err
					ln.SetDeadline(time.Unix(1, 0)) // there is no other to wait for
				}}
				ln, err := lc.Listen(t.Context(), "tcp", address)
				require.NoError(t, err)
				defer ln.Close()
				for _, to := range ln.AddrPorts() {
					before := descriptors(t)
					accept := func() (net.Conn, error) {
						ln.SetDeadline(time.Now().Add(patience))
						return ln.Accept()
					}
					failures := 0
					faults := in.Each(plan(), func(f faulttest.Fault, during func(func())) {
						client := dial(t, to)
						var got net.Conn
						var err error
						rejected = nil
						during(func() { got, err = accept() })
						switch {
						case rejected != nil:
							failures++
							assert.ErrorIs(t, rejected, loopback.ErrRefused, "%v", f)
							assert.ErrorIs(t, rejected, f.Errno, "%v", f)
							client.SetDeadline(time.Now().Add(patience))
							_, err := client.Read(make([]byte, 1))
							if f.Call.Number != unix.SYS_SETSOCKOPT { // without SO_LINGER it is the end, and no reset
								assert.ErrorIs(t, err, unix.ECONNRESET, "%v", f)
							}
							assert.NotErrorIs(t, err, os.ErrDeadlineExceeded, "%v", f)
						case err != nil:
							failures++
							assert.Nil(t, got, "%v", f)
							op, ok := err.(*net.OpError)
							require.True(t, ok, "%v: %T %v", f, err, err)
							assert.Equal(t, "accept", op.Op)
							assert.ErrorIs(t, err, f.Errno, "%v", f)
							assert.Equal(t, slices.Contains(shortages, f.Errno), op.Temporary(), "%v: %v", f, err)
						default:
							assert.Equal(t, client.LocalAddr().String(), got.RemoteAddr().String(), "%v", f)
							assert.NoError(t, got.Close())
						}
						client.Close()

						client = dial(t, to)
						for got = nil; got == nil || got.RemoteAddr().String() != client.LocalAddr().String(); { // the first may still wait
							got, err = accept()
							require.NoError(t, err, "after %v", f)
							got.Close()
						}
						client.Close()
						assert.Equal(t, before, descriptors(t), "%v: left open", f)
					})
					t.Logf("%d faults, %d errors", faults, failures)
					assert.Positive(t, failures)
				}
			})
		}
	}
}

// A call that fails makes Adopt and AdoptPacket fail, with all as it was, or
// leaves a listener that is as strong as it says. A socket of another network
// namespace is never taken for one of this.
func TestAdoptUnderFaults(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	s := forSockets(t)
	in := faulty(t)
	for network, take := range map[string]struct {
		bind  func(address string) (handed, error)
		adopt func(lc *loopback.ListenConfig, given []handed) (bound, error)
	}{
		"tcp": {
			bind: func(address string) (handed, error) {
				ln, err := net.Listen("tcp", address)
				if err != nil {
					return nil, err
				}
				return ln.(*net.TCPListener), nil
			},
			adopt: func(lc *loopback.ListenConfig, given []handed) (bound, error) {
				ln, err := lc.Adopt(given[0].(net.Listener), given[1].(net.Listener))
				if err != nil {
					return nil, err
				}
				return ln, nil
			},
		},
		"udp": {
			bind: func(address string) (handed, error) {
				lc := net.ListenConfig{Control: func(network, _ string, c syscall.RawConn) (err error) {
					level, option := unix.IPPROTO_IP, unix.IP_PKTINFO // or Adopt could not check it
					if network == "udp6" {
						level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
					}
					cerr := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, 1) })
					return errors.Join(err, cerr)
				}}
				c, err := lc.ListenPacket(context.Background(), "udp", address)
				if err != nil {
					return nil, err
				}
				return c.(*net.UDPConn), nil
			},
			adopt: func(lc *loopback.ListenConfig, given []handed) (bound, error) {
				c, err := lc.AdoptPacket(given[0].(net.PacketConn), given[1].(net.PacketConn))
				if err != nil {
					return nil, err
				}
				return c, nil
			},
		},
	} {
		for _, ingress := range []loopback.Ingress{loopback.IngressAuto, loopback.IngressCheck, loopback.IngressRemote, loopback.IngressAny} {
			for _, where := range []string{"here", "elsewhere"} {
				t.Run(network+" "+ingress.String()+" "+where, func(t *testing.T) {
					lc := &loopback.ListenConfig{Ingress: ingress}
					base := descriptors(t)
					adopt := func(during func(func())) (given []handed, c bound, err error) {
						s.host.Do(func() {
							for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
								g, err := take.bind(address)
								if !assert.NoError(t, err) {
									return
								}
								given = append(given, g)
							}
							if where == "here" {
								during(func() { c, err = take.adopt(lc, given) })
							}
						})
						require.Len(t, given, 2)
						if where == "elsewhere" {
							during(func() { c, err = take.adopt(lc, given) })
						}
						return given, c, err
					}
					_, c, err := adopt(func(f func()) { f() })
					require.NoError(t, err)
					want := c.Bindings()
					for _, b := range want {
						assert.Equal(t, where == "elsewhere" && ingress != loopback.IngressAny, b.Err != nil, "%v", b)
					}
					c.Close()
					p := planWithoutDial()
					if network == "udp" || ingress != loopback.IngressAuto {
						p.Errnos = p.Errnos[len(p.Errnos)-2:]
					}
					failures := 0
					faults := in.Each(p, func(f faulttest.Fault, during func(func())) {
						given, c, err := adopt(during)
						if err == nil {
							wantNotWeaker(t, f, want, c.Bindings())
							for i, b := range c.Bindings() {
								assert.True(t, want[i].Err == nil || b.Err != nil, "%v: %v", f, b)
							}
							assert.NoError(t, c.Close())
						} else {
							failures++
							assert.IsType(t, (*net.OpError)(nil), err)
							wantCause(t, f, err)
							for _, g := range given {
								assert.NoError(t, loopback.Verify(g), "%v: it is not what it was", f)
								assert.NoError(t, g.Close(), "%v: it was closed", f)
							}
						}
						assert.Equal(t, base, descriptors(t), "%v: left open", f)
					})
					t.Logf("%d faults, %d errors", faults, failures)
					assert.Positive(t, failures)
				})
			}
		}
	}
}

// handed is a socket that Adopt and AdoptPacket take.
type handed interface {
	io.Closer
	syscall.Conn
}

// A call that fails never makes Verify pass a socket that is not loopback.
func TestVerifyUnderFaults(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	s := forSockets(t)
	in := faulty(t)
	for _, tt := range socketTable {
		t.Run(tt.name, func(t *testing.T) {
			var fd int
			var err error
			s.host.Do(func() { fd, err = tt.spec.open() })
			if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EAFNOSUPPORT) {
				t.Skipf("not in this kernel: %v", err)
			}
			require.NoError(t, err)
			socket := os.NewFile(uintptr(fd), "socket")
			defer socket.Close()
			before := descriptors(t)
			faults := in.Each(plan(), func(f faulttest.Fault, during func(func())) {
				var err error
				during(func() { err = loopback.Verify(socket) })
				switch {
				case err == nil:
					assert.Empty(t, tt.why, "%v: passed", f)
				case !errors.Is(err, loopback.ErrNotLoopback):
					assert.ErrorIs(t, err, f.Errno, "%v", f)
				default:
					assert.NotEmpty(t, tt.why, "%v: %v", f, err)
				}
				assert.Equal(t, before, descriptors(t), "%v: left open", f)
			})
			assert.Positive(t, faults)
		})
	}
}

// A report that came about under a fault is the same as without, or names it;
// what it advises is about the fault and not about the machine.
func TestReportsUnderFaults(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	startEtc(t, hostsBoth)
	newStage(t)
	in := faulty(t)
	port := listening(t, ":0").Port()
	type report struct {
		fmt.Stringer
		findings []loopback.Finding
	}
	// Package net orders the addresses by UDP sockets that it makes.
	inOrder := func(r *loopback.Resolution) {
		slices.SortFunc(r.Answers, func(a, b loopback.Answer) int { return a.Addr.Compare(b.Addr) })
		slices.SortFunc(r.Dial, netip.Addr.Compare)
	}
	for name, ask := range map[string]func() (report, error){
		"Resolve": func() (report, error) {
			r, err := loopback.Resolve(t.Context(), "localhost")
			if err != nil {
				return report{}, err
			}
			inOrder(r)
			return report{r, r.Findings}, nil
		},
		"Probe": func() (report, error) {
			r, err := loopback.Probe(t.Context(), port)
			if err != nil {
				return report{}, err
			}
			for i := range r.Attempts { // the owner and the line are not always known
				a := &r.Attempts[i]
				assert.True(t, a.UID == nil || int(*a.UID) == os.Getuid())
				a.UID, a.Process, a.Source = nil, "", ""
			}
			r.Sockets = nil
			return report{r, r.Findings}, nil
		},
		"Diagnose": func() (report, error) {
			r, err := loopback.Diagnose(t.Context())
			if err != nil {
				return report{}, err
			}
			inOrder(r.Localhost)
			for part, known := range map[string]bool{"interfaces": r.Interfaces != nil, "misplaced": r.Misplaced != nil, "wire": r.Wire != nil} {
				absent := slices.ContainsFunc(r.Absent, func(a loopback.Absence) bool { return a.Part == part && a.Reason != "" })
				assert.NotEqual(t, known, absent, "%s: %v", part, r)
			}
			return report{r, r.Findings}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			healthy, err := ask()
			require.NoError(t, err)
			text, err := json.Marshal(healthy.Stringer)
			require.NoError(t, err)
			want := string(text)
			before := descriptors(t)
			p := planWithoutDial()
			p.Sparse = true
			if name == "Diagnose" { // waits for what does not arrive
				p.Errnos = p.Errnos[len(p.Errnos)-2:]
			}
			differ := 0
			faults := in.Each(p, func(f faulttest.Fault, during func(func())) {
				var got report
				var err error
				during(func() { got, err = ask() })
				require.NoError(t, err, "%v", f)
				text, err := json.Marshal(got.Stringer)
				require.NoError(t, err)
				if string(text) != want {
					differ++
					said := slices.ContainsFunc([]string{unix.ErrnoName(f.Errno), f.Errno.Error(), "getsockname failed"},
						func(cause string) bool { return strings.Contains(string(text), cause) })
					assert.True(t, said, "%v: differs from %s and does not say why: %s\n%v", f, want, text, got)
					for _, finding := range got.findings {
						assert.NotContains(t, finding.Fix, "sysctl", "%v: %v", f, finding)
						assert.NotContains(t, finding.Fix, "ip ", "%v: %v", f, finding)
						if f.Call.Number != unix.SYS_OPENAT { // or else it is about the hosts file
							assert.NotContains(t, finding.Fix, "hosts", "%v: %v", f, finding)
						}
					}
				}
				assert.Equal(t, before, descriptors(t), "%v: left open", f)
			})
			t.Logf("%d faults, %d reports that differ", faults, differ)
			assert.Positive(t, differ)
		})
	}
}

// A call that fails makes Exposed fail, or it lists every exposed socket.
func TestExposedUnderFaults(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	s := forSockets(t)
	for _, tt := range socketTable {
		var fd int
		var err error
		s.host.Do(func() { fd, err = tt.spec.open() })
		if err == nil {
			defer unix.Close(fd)
		}
	}
	in := faulty(t)
	want, err := loopback.Exposed()
	require.NoError(t, err)
	require.Greater(t, len(want), 10)
	before := descriptors(t)
	p := plan()
	p.Sparse = true // every descriptor is asked some questions
	p.Errnos = p.Errnos[len(p.Errnos)-2:]
	failures := 0
	faults := in.Each(p, func(f faulttest.Fault, during func(func())) {
		var got []loopback.Socket
		var err error
		during(func() { got, err = loopback.Exposed() })
		if err != nil {
			failures++
			assert.ErrorIs(t, err, f.Errno, "%v", f)
		} else {
			assert.Subset(t, got, want, "%v", f)
		}
		assert.Equal(t, before, descriptors(t), "%v: left open", f)
	})
	t.Logf("%d faults, %d errors", faults, failures)
	assert.Positive(t, failures)
}

// A call that fails never makes PeerUID name a user who is not the peer.
func TestPeerUIDUnderFaults(t *testing.T) {
	if !netnstest.InWithUsers(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	const bob = 1234
	_, live := connected(t, bob, "127.0.0.1:0")
	peer, left := connected(t, bob, "[::1]:0")
	peer.do("close")
	n := netnstest.NewNeighbour(t)
	var elsewhere []net.Conn // with the addresses of live
	n.Do(func() {
		ln, err := net.Listen("tcp", live.LocalAddr().String())
		if !assert.NoError(t, err) {
			return
		}
		defer ln.Close()
		d := net.Dialer{LocalAddr: live.RemoteAddr()}
		client, err := d.DialContext(t.Context(), "tcp", ln.Addr().String())
		if !assert.NoError(t, err) {
			return
		}
		server, err := ln.Accept()
		if assert.NoError(t, err) {
			elsewhere = append(elsewhere, client, server)
		}
	})
	require.Len(t, elsewhere, 2)
	defer elsewhere[0].Close()
	in := faulty(t)
	for name, tt := range map[string]struct {
		conn net.Conn
		ok   bool
	}{"live": {live, true}, "gone": {left, false}, "elsewhere": {elsewhere[1], false}} {
		before := descriptors(t)
		failures := 0
		faults := in.Each(plan(), func(f faulttest.Fault, during func(func())) {
			var uid uint32
			var err error
			during(func() { uid, err = loopback.PeerUID(tt.conn) })
			switch {
			case err != nil:
				failures++
				assert.True(t, errors.Is(err, f.Errno) || errors.Is(err, loopback.ErrPeerUnknown) || errors.Is(err, loopback.ErrPeerGone) && !tt.ok,
					"%s, %v: %v", name, f, err)
			default:
				assert.True(t, tt.ok, "%s, %v: %d", name, f, uid)
				assert.EqualValues(t, bob, uid, "%s, %v", name, f)
			}
			assert.Equal(t, before, descriptors(t), "%s, %v: left open", name, f)
		})
		assert.Greater(t, failures, faults/3)
	}
}

// A call that fails never lets another user in under SameUser, when it listens
// and when it accepts.
func TestSameUserUnderFaults(t *testing.T) {
	if !netnstest.InWithUsers(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	bob := newPeer(t, asUser(1234))
	in := faulty(t)
	p := planWithoutDial()
	p.Errnos = p.Errnos[len(p.Errnos)-2:]

	var ln *loopback.Listener
	var rejected error
	lc := &loopback.ListenConfig{SameUser: true, OnReject: func(err error) {
		rejected = err
		ln.SetDeadline(time.Unix(1, 0)) // there is no other to wait for
	}}
	accept := func() (net.Conn, error) {
		ln.SetDeadline(time.Now().Add(patience))
		return ln.Accept()
	}
	wantBobRefused := func(f faulttest.Fault) {
		rejected = nil
		_, err := accept()
		require.ErrorIs(t, err, os.ErrDeadlineExceeded, "%v", f)
		assert.ErrorIs(t, rejected, loopback.ErrRefused, "%v", f)
	}
	before := descriptors(t)
	failures := 0
	faults := in.Each(p, func(f faulttest.Fault, during func(func())) {
		var err error
		during(func() { ln, err = lc.Listen(t.Context(), "tcp", "127.0.0.1:0") })
		if err != nil {
			failures++
			wantListenError(t, err)
			wantCause(t, f, err)
		} else {
			bob.do("dial " + ln.Addr().String())
			wantBobRefused(f)
			bob.do("close")
			own := dial(t, ln.AddrPorts()[0])
			c, err := accept()
			if assert.NoError(t, err, "%v", f) {
				c.Close()
			}
			own.Close()
			assert.NoError(t, ln.Close())
		}
		assert.Equal(t, before, descriptors(t), "%v: left open", f)
	})
	t.Logf("%d faults, %d errors", faults, failures)
	assert.Greater(t, failures, faults/3)

	// Where users are never told, there is no listener, whoever asks for it.
	var err error
	notTold := faulttest.Fault{Errno: unix.EPERM, First: 1,
		Call: faulttest.Call{Name: "getsockopt TCP_INFO", Number: unix.SYS_GETSOCKOPT, Args: socketOption(unix.IPPROTO_TCP, unix.TCP_INFO)}}
	in.During(notTold, func() { ln, err = lc.Listen(t.Context(), "tcp", ":0") })
	require.ErrorIs(t, err, unix.EPERM)

	ln, err = lc.Listen(t.Context(), "tcp", ":0")
	require.NoError(t, err)
	defer ln.Close()
	for _, to := range ln.AddrPorts() {
		in.Each(plan(), func(f faulttest.Fault, during func(func())) {
			bob.do("dial " + to.String())
			rejected = nil
			var got net.Conn
			var err error
			during(func() { got, err = accept() })
			assert.Nil(t, got, "%v", f)
			assert.Error(t, err, "%v", f)
			if rejected == nil && f.Call.Number != unix.SYS_EPOLL_CTL { // it is gone, if it cannot be watched
				wantBobRefused(f)
			}
			bob.do("close")
		})
	}
}

// A call that fails never makes DialContext connect to anything but a loopback
// address of this machine, nor IsSelf and ForbidSelf miss one of its own.
func TestDialUnderFaults(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	n := netnstest.NewNeighbour(t)
	n.Veth(t, "wire", "192.0.2.1/24", "eth0", "192.0.2.2/24")
	netnstest.Run(t, "ip", "addr", "add", "2001:db8::1/64", "dev", "wire", "nodad")
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	ln := listening(t, ":0")
	in := faulty(t)

	localhost := fmt.Sprintf("localhost:%d", ln.Port())
	before := descriptors(t)
	failures := 0
	faults := in.Each(planWithoutDial(), func(f faulttest.Fault, during func(func())) {
		for _, network := range []string{"tcp", "udp"} {
			var c net.Conn
			var err error
			during(func() { c, err = loopback.DialContext(t.Context(), network, localhost) })
			if err != nil {
				failures++
				assert.Nil(t, c, "%v", f)
				wantCause(t, f, err)
				continue
			}
			assert.NoError(t, c.Close())
			if network == "tcp" {
				got, err := ln.Accept()
				require.NoError(t, err)
				got.Close()
			}
		}
		assert.Equal(t, before, descriptors(t), "%v: left open", f)
	})
	t.Logf("%d faults, %d errors", faults, failures)
	assert.Positive(t, failures)

	p := plan()
	p.Errnos = p.Errnos[len(p.Errnos)-2:]
	for _, own := range []string{"192.0.2.1", "2001:db8::1", "127.0.0.1"} {
		addr := netip.MustParseAddr(own)
		in.Each(p, func(f faulttest.Fault, during func(func())) {
			var self bool
			var err, forbidden error
			during(func() { self, err = loopback.IsSelf(addr) })
			if err == nil || loopback.Is(addr) { // for which nobody is asked
				assert.True(t, self, "%s, %v", own, f)
			} else {
				assert.ErrorIs(t, err, f.Errno, "%s, %v", own, f)
			}
			during(func() { forbidden = loopback.ForbidSelf("tcp", netip.AddrPortFrom(addr, 80).String(), nil) })
			assert.ErrorIs(t, forbidden, loopback.ErrSelf, "%s, %v", own, f)
			assert.Equal(t, before, descriptors(t), "%v: left open", f)
		})
	}
	in.Each(p, func(f faulttest.Fault, during func(func())) {
		var self bool
		var err, forbidden error
		during(func() { self, err = loopback.IsSelf(netip.MustParseAddr("192.0.2.2")) })
		assert.False(t, self)
		during(func() { forbidden = loopback.ForbidSelf("tcp", "192.0.2.2:80", nil) })
		assert.Equal(t, err != nil, forbidden != nil, "%v", f)
	})

	// Bound, ::1 leads out of this machine.
	netnstest.Sysctl(t, "net/ipv6/ip_nonlocal_bind", "1")
	netnstest.Run(t, "ip", "addr", "del", "::1/128", "dev", "lo")
	netnstest.Run(t, "ip", "-6", "route", "add", "default", "via", "2001:db8::2", "dev", "wire")
	in.Each(planWithoutDial(), func(f faulttest.Fault, during func(func())) {
		during(func() {
			c, err := loopback.DialContext(t.Context(), "udp", "[::1]:9")
			if !assert.Error(t, err, "%v", f) {
				c.Close()
			}
		})
	})
}

// A call that fails makes Acquire fail, or cost it no more than an address of
// many.
func TestAcquireUnderFaults(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	in := faulty(t)
	before := descriptors(t)
	failures := 0
	p := planWithoutDial()
	p.Errnos = p.Errnos[len(p.Errnos)-2:]
	faults := in.Each(p, func(f faulttest.Fault, during func(func())) {
		var l *loopback.Lease
		var err error
		during(func() { l, err = loopback.Acquire(t.Context(), 2) })
		if err != nil {
			failures++
			assert.True(t, strings.Contains(err.Error(), f.Errno.Error()) || strings.Contains(err.Error(), "getsockname"), "%v: %v", f, err)
		} else {
			assert.Len(t, l.Addrs(), 2)
			assert.NoError(t, l.Close())
		}
		assert.Equal(t, before, descriptors(t), "%v: left open", f)
	})
	t.Logf("%d faults, %d errors", faults, failures)
	assert.Positive(t, failures)
}

// A zone leads nowhere if no other machine can be behind it. It may lead
// somewhere where the interfaces are not told.
func TestLeadsNowhere(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.NewNeighbour(t).Veth(t, "wire", "192.0.2.1/24", "eth0", "192.0.2.2/24")
	wire, err := net.InterfaceByName("wire")
	require.NoError(t, err)
	zones := map[string]bool{"lo": true, "1": true, "none": true, "0": true, "wire": false, strconv.Itoa(wire.Index): false}
	for zone, want := range zones {
		assert.Equal(t, want, loopback.LeadsNowhere(zone), zone)
	}
	in := faulty(t)
	in.During(faulttest.Fault{Call: faultCalls[1], Errno: unix.EMFILE, First: 1}, func() {
		for zone := range zones {
			assert.False(t, loopback.LeadsNowhere(zone), zone)
		}
	})
}

// Every descriptor that a call makes is closed in the programs that this process
// starts, from its first moment.
func TestDescriptorsAreNotInherited(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	in := faulty(t)
	var made atomic.Int32
	var mu sync.Mutex
	var inherited []string
	for number, flags := range map[uint32]struct {
		name string
		arg  int
		flag uint64
	}{
		unix.SYS_SOCKET:        {"socket", 1, unix.SOCK_CLOEXEC},
		unix.SYS_ACCEPT4:       {"accept4", 3, unix.SOCK_CLOEXEC},
		unix.SYS_EPOLL_CREATE1: {"epoll_create1", 0, unix.EPOLL_CLOEXEC},
		unix.SYS_OPENAT:        {"openat", 2, unix.O_CLOEXEC},
	} {
		made.Store(0)
		watch := faulttest.Call{Name: flags.name, Number: number, Args: func(args [6]uint64) bool {
			made.Add(1)
			if args[flags.arg]&flags.flag == 0 {
				mu.Lock()
				defer mu.Unlock()
				inherited = append(inherited, fmt.Sprintf("%s(%#x, %#x, %#x, %#x)", flags.name, args[0], args[1], args[2], args[3]))
			}
			return false
		}}
		in.During(faulttest.Fault{Call: watch, Errno: unix.EPERM, First: 1}, func() {
			for _, ingress := range []loopback.Ingress{loopback.IngressAuto, loopback.IngressCheck, loopback.IngressRemote} {
				lc := &loopback.ListenConfig{Ingress: ingress}
				ln, err := lc.Listen(t.Context(), "tcp", ":0")
				require.NoError(t, err)
				defer ln.Close()
				c, err := loopback.DialContext(t.Context(), "tcp", ln.Addr().String())
				require.NoError(t, err)
				defer c.Close()
				server, err := ln.Accept()
				require.NoError(t, err)
				defer server.Close()
				_, err = loopback.PeerUID(server)
				require.NoError(t, err)
				pc, err := lc.ListenPacket(t.Context(), "udp", ":0")
				require.NoError(t, err)
				defer pc.Close()
				plain, err := net.Listen("tcp", "127.0.0.1:0")
				require.NoError(t, err)
				adopted, err := new(loopback.ListenConfig).Adopt(plain)
				require.NoError(t, err)
				defer adopted.Close()
			}
			_, err := loopback.IsSelf(netip.MustParseAddr("192.0.2.1"))
			require.NoError(t, err)
			_, err = loopback.Diagnose(t.Context())
			require.NoError(t, err)
			_, err = loopback.Probe(t.Context(), 9)
			require.NoError(t, err)
		})
		assert.Positive(t, made.Load(), flags.name)
	}
	mu.Lock()
	assert.Empty(t, inherited)
	mu.Unlock()

	l, err := loopback.Acquire(t.Context(), 1) // takes syscall.ForkLock instead
	require.NoError(t, err)
	defer l.Close()
	for fd := range 256 {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if typ, terr := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err == nil && terr == nil {
			assert.NotZero(t, flags&unix.FD_CLOEXEC, "socket %d, type %d", fd, typ)
		}
	}
}

// The temporary socket of a proof does not set SO_REUSEADDR: with it, the
// kernel searches one half of the ports before the other, and may be long.
func TestProofSearchesAllPorts(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	in := faulty(t)
	var off atomic.Int32
	watch := faulttest.Call{Name: "setsockopt SO_REUSEADDR", Number: unix.SYS_SETSOCKOPT, Args: func(args [6]uint64) bool {
		if args[1] != unix.SOL_SOCKET || args[2] != unix.SO_REUSEADDR {
			return false
		}
		value := make([]byte, 4)
		remote := []unix.RemoteIovec{{Base: uintptr(args[3]), Len: len(value)}}
		local := []unix.Iovec{{Base: &value[0]}}
		local[0].SetLen(len(value))
		if _, err := unix.ProcessVMReadv(os.Getpid(), local, remote, 0); err == nil && binary.NativeEndian.Uint32(value) == 0 {
			off.Add(1)
		}
		return false
	}}
	in.During(faulttest.Fault{Call: watch, Errno: unix.EPERM, First: 1}, func() {
		ln, err := loopback.Listen("tcp", ":0")
		require.NoError(t, err)
		ln.Close()
	})
	assert.EqualValues(t, 2, off.Load(), "one proof for each address")
}
