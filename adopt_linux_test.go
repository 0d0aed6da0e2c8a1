package loopback_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/loopback"
	"example.com/loopback/internal/netnstest"
)

// An inherited is a listener as it is handed over: package net's idea of a
// socket that somebody else made.
type inherited struct {
	*net.TCPListener
	fd int // another descriptor of it, to look from
}

func asListener(t *testing.T, fd int) inherited {
	t.Helper()
	f := os.NewFile(uintptr(fd), "inherited")
	t.Cleanup(func() { f.Close() })
	ln, err := net.FileListener(f)
	require.NoError(t, err)
	t.Cleanup(func() { ln.Close() })
	return inherited{ln.(*net.TCPListener), fd}
}

var (
	plain4 = socketSpec{family: v4, typ: stream, bind: "127.0.0.1:0", listen: true}
	plain6 = socketSpec{family: v6, typ: stream, bind: "[::1]:0", listen: true}
)

// Whatever Verify takes and listens is adopted, gets no option, and serves
// clients of its own namespace and nobody else: also where that is another
// namespace than the one in which Adopt is called, whatever works there.
func TestAdopt(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	s := forSockets(t)
	abroad := func(f func()) { f() }
	for _, place := range []struct {
		where string
		do    func(func())
	}{{"in its namespace", s.host.Do}, {"abroad, lo down", abroad}, {"abroad, lo up", abroad}} {
		where, do := place.where, place.do
		if where == "abroad, lo up" {
			netnstest.Run(t, "ip", "link", "set", "lo", "up")
		}
		for _, tt := range socketTable {
			if !tt.spec.listen || tt.why != "" {
				continue
			}
			for _, ingress := range []loopback.Ingress{loopback.IngressAuto, loopback.IngressCheck, loopback.IngressRemote, loopback.IngressAny} {
				t.Run(where+"/"+tt.name+"/"+ingress.String(), func(t *testing.T) {
					given := s.inherit(t, tt.spec)
					before := socketState(given.fd)
					lc := &loopback.ListenConfig{Ingress: ingress, Control: func(string, string, syscall.RawConn) error {
						t.Error("Control was called")
						return nil
					}}
					var ln *loopback.Listener
					var err error
					do(func() { ln, err = lc.Adopt(given.TCPListener) })
					require.NoError(t, err)
					defer ln.Close()
					wantSameState(t, before, socketState(given.fd))

					b := ln.Bindings()
					require.Len(t, b, 1)
					at := given.Addr().(*net.TCPAddr).AddrPort()
					at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
					assert.Equal(t, []netip.AddrPort{at}, ln.AddrPorts())
					assert.Equal(t, at, ln.Addr().(*net.TCPAddr).AddrPort())
					assert.True(t, b[0].Bound())
					want := ingress
					if ingress == loopback.IngressAuto {
						want = loopback.IngressCheck
					}
					assert.Equal(t, want, b[0].Ingress)
					if where != "in its namespace" && ingress != loopback.IngressAny {
						assert.ErrorContains(t, b[0].Err, "not proved")
					} else {
						assert.NoError(t, b[0].Err)
					}

					var c net.Conn
					s.host.Do(func() { c, err = net.DialTimeout("tcp", at.String(), 5*time.Second) })
					require.NoError(t, err)
					defer c.Close()
					ln.SetDeadline(time.Now().Add(5 * time.Second))
					got, err := ln.Accept()
					require.NoError(t, err)
					got.Close()
					wantSameState(t, before, socketState(given.fd))

					require.NoError(t, ln.Close())
					_, err = given.TCPListener.Accept()
					assert.ErrorIs(t, err, net.ErrClosed, "the Listener closes what it adopted")
				})
			}
		}
	}
}

// What is proved of a socket is proved by its own transport.
func TestAdoptProvesByTheTransport(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.NeedNFT(t)
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	netnstest.Run(t, "nft", "table inet t { chain out { type filter hook output priority 0; meta l4proto udp drop; }; }")
	given, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	pc, err := new(loopback.ListenConfig).AdoptPacket(given)
	require.NoError(t, err)
	defer pc.Close()
	assert.ErrorContains(t, pc.Bindings()[0].Err, "not proved, nothing gets through: ")
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	l, err := new(loopback.ListenConfig).Adopt(ln)
	require.NoError(t, err)
	defer l.Close()
	assert.NotContains(t, fmt.Sprint(l.Bindings()[0].Err), "not proved")
}

// A listener that routing lets the wire into: Adopt keeps it out, by the
// interface of each connection.
func TestAdoptIngress(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	for _, multipath := range []bool{false, true} {
		s := forSockets(t)
		s.outside.Run(t, "ip", "addr", "add", "127.5.0.2/24", "dev", "wire")
		s.host.Run(t, "ip", "addr", "flush", "dev", "lo")
		s.host.Run(t, "ip", "addr", "add", "127.0.0.1/16", "dev", "lo")
		s.host.Run(t, "ip", "addr", "add", "127.5.0.1/24", "dev", "wire")
		refused := make(chan error, 10)
		for _, ingress := range []loopback.Ingress{loopback.IngressAny, loopback.IngressRemote, loopback.IngressCheck, loopback.IngressAuto} {
			var ln *loopback.Listener
			var err error
			s.host.Do(func() {
				var lc net.ListenConfig
				lc.SetMultipathTCP(multipath)
				var given net.Listener
				if given, err = lc.Listen(context.Background(), "tcp4", "127.0.0.1:"+servicePort); err == nil {
					ln, err = (&loopback.ListenConfig{Ingress: ingress, OnReject: func(err error) { refused <- err }}).Adopt(given)
				}
			})
			require.NoError(t, err)
			go answer(ln)
			for from, passes := range map[string]reach{"10.0.0.2": anyOnly, "127.5.0.2": remoteToo} {
				var got string
				s.outside.Do(func() { got, err = call("tcp", from, service4, "", 5*time.Second) })
				if passes.through(ingress) {
					assert.NoError(t, err)
					assert.Equal(t, "served", got)
					continue
				}
				assert.ErrorIs(t, err, unix.ECONNRESET, "%v from %s", ingress, from)
				err := <-refused
				assert.ErrorIs(t, err, loopback.ErrRefused)
				assert.ErrorContains(t, err, from)
			}
			s.local(t, "tcp", "127.0.0.1")
			if ingress == loopback.IngressCheck && multipath {
				// A connection of several paths has no one interface.
				var fd int
				s.host.Do(func() {
					fd, err = socketSpec{family: v4, typ: stream, proto: mptcp, connect: ln.Addr().String()}.open()
				})
				if errors.Is(err, unix.EPROTONOSUPPORT) {
					t.Logf("without multipath TCP: %v", err)
				} else {
					require.NoError(t, err)
					assert.ErrorContains(t, <-refused, "unknown")
					unix.Close(fd)
				}
			}
			ln.Close()
		}
	}
}

// What is in the queue of the listener is the caller's: no proof takes it, and
// none is put there.
func TestAdoptKeepsQueue(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	s := forSockets(t)
	for _, ingress := range []loopback.Ingress{loopback.IngressAuto, loopback.IngressAny} {
		given := []inherited{s.inherit(t, plain4), s.inherit(t, plain6)}
		want := map[string]bool{}
		for range 3 {
			for _, g := range given {
				var c net.Conn
				var err error
				s.host.Do(func() { c, err = net.Dial("tcp", g.Addr().String()) })
				require.NoError(t, err)
				defer c.Close()
				want[c.LocalAddr().String()] = true
			}
		}
		var ln *loopback.Listener
		var err error
		s.host.Do(func() {
			ln, err = (&loopback.ListenConfig{RequireBoth: true, Ingress: ingress}).Adopt(given[0].TCPListener, given[1].TCPListener)
		})
		require.NoError(t, err)
		defer ln.Close()
		got := map[string]bool{}
		for range len(want) {
			c, err := ln.Accept()
			require.NoError(t, err)
			defer c.Close()
			got[c.RemoteAddr().String()] = true
		}
		assert.Equal(t, want, got)
		ln.SetDeadline(time.Now().Add(time.Millisecond))
		_, err = ln.Accept()
		assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
	}
}

// A refused Adopt leaves every listener untouched, whatever was wrong.
func TestAdoptRefuses(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	s := forSockets(t)
	good4, good6 := s.inherit(t, plain4), s.inherit(t, plain6)
	// refuse expects lc to refuse lns, which hold what is good among them.
	refuse := func(t *testing.T, lc *loopback.ListenConfig, want error, why string, lns ...net.Listener) {
		t.Helper()
		before := descriptors(t)
		state4, state6 := socketState(good4.fd), socketState(good6.fd)
		var ln *loopback.Listener
		var err error
		s.host.Do(func() { ln, err = lc.Adopt(lns...) })
		require.Error(t, err)
		assert.Nil(t, ln)
		op, ok := err.(*net.OpError)
		require.True(t, ok, "%T", err)
		assert.Equal(t, "adopt", op.Op)
		assert.ErrorContains(t, err, why)
		if want != nil {
			assert.ErrorIs(t, err, want)
		}
		assert.Equal(t, before, descriptors(t))
		s.wantUntouched(t, good4, state4)
		s.wantUntouched(t, good6, state6)
	}
	auto := new(loopback.ListenConfig)

	for _, tt := range socketTable {
		if !tt.spec.listen || tt.why == "" {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			bad := s.inherit(t, tt.spec)
			before := socketState(bad.fd)
			for _, lc := range []*loopback.ListenConfig{auto, {Ingress: loopback.IngressAny}} {
				refuse(t, lc, loopback.ErrNotLoopback, tt.why, bad.TCPListener)
				_, err := lc.Adopt(bad.TCPListener)
				op, ok := errors.AsType[*net.OpError](err)
				require.True(t, ok)
				assert.Equal(t, bad.Addr(), op.Addr, "the error names the listener")
				refuse(t, lc, loopback.ErrNotLoopback, tt.why, good4.TCPListener, good6.TCPListener, bad.TCPListener)
				refuse(t, lc, loopback.ErrNotLoopback, tt.why, bad.TCPListener, good4.TCPListener)
			}
			wantSameState(t, before, socketState(bad.fd))
			assert.NoError(t, bad.SetDeadline(time.Now()), "it is open")
		})
	}

	closed := s.inherit(t, plain4)
	closed.Close()
	bound := plain4
	bound.listen = false
	connected := s.inherit(t, socketSpec{family: v4, typ: stream, connect: good4.Addr().String()})
	pending, err := good4.Accept()
	require.NoError(t, err)
	defer pending.Close()
	unixLn, err := net.Listen("unix", "@adopt") // of this namespace; a path may be too long
	require.NoError(t, err)
	defer unixLn.Close()
	for _, tt := range []struct {
		name string
		ln   net.Listener
		want error
		why  string
	}{
		{"nil", nil, loopback.ErrNotLoopback, "adopt tcp: loopback: not a loopback address: a <nil> cannot be adopted, only a *net.TCPListener"},
		{"nil pointer", (*net.TCPListener)(nil), syscall.EINVAL, "adopt tcp: there is no socket: invalid argument"},
		{"zero", new(net.TCPListener), syscall.EINVAL, "adopt tcp: there is no socket: invalid argument"},
		{"closed", closed.TCPListener, net.ErrClosed, "closed"},
		{"bound, not listening", s.inherit(t, bound).TCPListener, loopback.ErrNotLoopback, "does not listen"},
		{"connected", connected.TCPListener, loopback.ErrNotLoopback, "does not listen"},
		{"unix", unixLn, loopback.ErrNotLoopback, "UnixListener"},
		{"wrapped", struct{ net.Listener }{good4.TCPListener}, loopback.ErrNotLoopback, "struct"},
		{"TLS", tls.NewListener(good4.TCPListener, nil), loopback.ErrNotLoopback, "a *tls.listener cannot be adopted"},
		{"given twice", good4.TCPListener, nil, "adopt tcp " + good4.Addr().String() + ": loopback: the socket was given twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			refuse(t, auto, tt.want, tt.why, good4.TCPListener, tt.ln)
			if tt.name != "given twice" {
				refuse(t, auto, tt.want, tt.why, tt.ln)
				refuse(t, auto, tt.want, tt.why, tt.ln, good4.TCPListener, good6.TCPListener)
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		refuse(t, auto, nil, "adopt tcp: loopback: no listener or socket to adopt was given")
	})
	t.Run("device", func(t *testing.T) {
		refuse(t, &loopback.ListenConfig{Ingress: loopback.IngressDevice}, errors.ErrUnsupported,
			"adopt tcp "+good4.Addr().String()+": unsupported operation: ingress device: the socket is not bound to the loopback interface, and others may have it", good4.TCPListener, good6.TCPListener)
	})
	t.Run("no such rung", func(t *testing.T) {
		refuse(t, &loopback.ListenConfig{Ingress: 77}, nil, "adopt tcp: loopback: unknown Ingress(77)", good4.TCPListener)
	})
	t.Run("one family", func(t *testing.T) {
		both := &loopback.ListenConfig{RequireBoth: true}
		refuse(t, both, nil, "adopt tcp: loopback: RequireBoth is set, but there is no socket of one family", good4.TCPListener)
		refuse(t, both, nil, "RequireBoth", good6.TCPListener)
		mapped := s.inherit(t, socketSpec{family: v6, typ: stream, bind: "[::ffff:127.0.0.1]:0", listen: true})
		refuse(t, both, nil, "RequireBoth", good4.TCPListener, mapped.TCPListener)
	})
	t.Run("no rung is left", func(t *testing.T) {
		// Local clients come in by the wire: see TestIngress.
		s := forSockets(t)
		s.host.Run(t, "ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
		s.host.Run(t, "ip", "addr", "add", "127.0.0.1/8", "dev", "wire")
		s.host.Run(t, "ip", "addr", "add", "127.0.0.1/8", "dev", "lo")
		given := s.inherit(t, plain4)
		before := socketState(given.fd)
		var ln *loopback.Listener
		var err error
		s.host.Do(func() { ln, err = (&loopback.ListenConfig{Ingress: loopback.IngressCheck}).Adopt(given.TCPListener) })
		require.ErrorIs(t, err, errors.ErrUnsupported)
		s.wantUntouched(t, given, before)
		s.host.Do(func() { ln, err = auto.Adopt(given.TCPListener) })
		require.NoError(t, err)
		defer ln.Close()
		assert.Equal(t, loopback.IngressRemote, ln.Bindings()[0].Ingress)
		assert.ErrorContains(t, ln.Bindings()[0].Err, "ingress check: ")
	})
}

// A lack of descriptors at any point of Adopt leaves all as it was.
func TestAdoptEMFILE(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	s := forSockets(t)
	given := []inherited{s.inherit(t, plain4), s.inherit(t, plain6)}
	adopt := func() (ln *loopback.Listener, err error) {
		s.host.Do(func() { ln, err = new(loopback.ListenConfig).Adopt(given[0].TCPListener, given[1].TCPListener) })
		return ln, err
	}
	failures := 0
	for spare := range uint64(40) {
		before := descriptors(t)
		states := []map[string]string{socketState(given[0].fd), socketState(given[1].fd)}
		var ln *loopback.Listener
		var err error
		withSpare(t, spare, func() { ln, err = adopt() })
		if err == nil {
			assert.Equal(t, loopback.IngressCheck, ln.Bindings()[1].Ingress)
			ln.Close() // they are adopted, and so is their end
			break
		}
		failures++
		assert.ErrorIs(t, err, unix.EMFILE)
		assert.IsType(t, (*net.OpError)(nil), err)
		assert.Equal(t, before, descriptors(t))
		for i, g := range given {
			s.wantUntouched(t, g, states[i])
		}
	}
	assert.Greater(t, failures, 2)
	assert.Less(t, failures, 20)
}

// A service that may make no socket at all serves what it inherited, and keeps
// the wire out as any other.
func TestAdoptWithoutSockets(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	var given []net.Listener
	var clients []net.Conn
	for _, addr := range both {
		ln, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
		require.NoError(t, err)
		c, err := net.Dial("tcp", ln.Addr().String())
		require.NoError(t, err)
		defer c.Close()
		given, clients = append(given, ln), append(clients, c)
	}
	for _, family := range []uint32{unix.AF_UNIX, unix.AF_NETLINK, unix.AF_INET, unix.AF_INET6} {
		filterSyscall(t, unix.SYS_SOCKET, 0, family, unix.EAFNOSUPPORT)
	}
	ln, err := new(loopback.ListenConfig).Adopt(given...)
	require.NoError(t, err)
	defer ln.Close()
	for _, b := range ln.Bindings() {
		assert.Equal(t, loopback.IngressCheck, b.Ingress)
		assert.EqualError(t, b.Err, "not proved: the network namespace of this process is unknown: socket: address family not supported by protocol")
	}
	ln.SetDeadline(time.Now().Add(5 * time.Second))
	for range clients {
		c, err := ln.Accept()
		require.NoError(t, err)
		c.Close()
	}
}

const adoptChild = "LOOPBACK_TEST_LISTEN_FDS"

// TestAdoptChild is a service that TestAdoptInherited starts in the way of
// systemd: its sockets are descriptors 3 and on. It tells what it has and
// serves until its input ends.
func TestAdoptChild(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv(adoptChild))
	if err != nil {
		t.Skip("only of use to TestAdoptInherited")
	}
	var lns []net.Listener
	for fd := 3; fd < 3+n; fd++ {
		f := os.NewFile(uintptr(fd), "LISTEN_FD_"+strconv.Itoa(fd))
		ln, err := net.FileListener(f)
		require.NoError(t, err)
		f.Close()
		lns = append(lns, ln)
	}
	ln, err := (&loopback.ListenConfig{RequireBoth: true}).Adopt(lns...)
	require.NoError(t, err)
	for _, b := range ln.Bindings() {
		fmt.Println(b)
	}
	fmt.Println("ready")
	go answer(ln)
	io.Copy(io.Discard, os.Stdin)
	ln.Close()
}

// A child adopts what it inherited, serves, and goes; the parent finds its
// listeners as they were.
func TestAdoptInherited(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	var files []*os.File
	var lns []*net.TCPListener
	for _, addr := range both { // as package net makes them: multipath
		ln, err := net.Listen("tcp", net.JoinHostPort(addr, servicePort))
		require.NoError(t, err)
		defer ln.Close()
		f, err := ln.(*net.TCPListener).File()
		require.NoError(t, err)
		defer f.Close()
		lns, files = append(lns, ln.(*net.TCPListener)), append(files, f)
	}
	states := func() (s []map[string]string) {
		for _, f := range files {
			s = append(s, socketState(int(f.Fd())))
		}
		return s
	}
	before := states()

	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestAdoptChild$", "-test.count=1")
	cmd.Env = append(os.Environ(), adoptChild+"="+strconv.Itoa(len(files)))
	cmd.ExtraFiles = files
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var said []string
	out := bufio.NewScanner(stdout)
	for out.Scan() && out.Text() != "ready" {
		said = append(said, out.Text())
	}
	assert.Equal(t, []string{"tcp4 127.0.0.1:4000 (ingress check)", "tcp6 [::1]:4000 (ingress check)"}, said)
	for _, addr := range both {
		got, err := call("tcp", "", net.JoinHostPort(addr, servicePort), "", 5*time.Second)
		require.NoError(t, err)
		assert.Equal(t, "served", got)
	}
	for i, state := range states() {
		wantSameState(t, before[i], state)
	}
	stdin.Close()
	for out.Scan() {
	}
	require.NoError(t, cmd.Wait())

	for i, state := range states() {
		wantSameState(t, before[i], state)
		c, err := net.Dial("tcp", lns[i].Addr().String())
		require.NoError(t, err)
		got, err := lns[i].Accept()
		require.NoError(t, err)
		got.Close()
		c.Close()
	}
}

var (
	packet4 = socketSpec{family: v4, typ: dgram, bind: "127.0.0.1:0"}
	packet6 = socketSpec{family: v6, typ: dgram, bind: "[::1]:0"}
)

// with returns spec with more options, or bound to a device.
func (s socketSpec) with(device string, o ...[3]int) socketSpec {
	s.device, s.options = device, append(slices.Clone(s.options), o...)
	return s
}

// AdoptPacket sets no option. What a socket has already decides which mode it
// can have, and what it cannot have is said, or an error.
func TestAdoptPacketModes(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	s := forSockets(t)
	for _, tt := range []struct {
		name  string
		specs []socketSpec
		auto  loopback.Ingress
	}{
		{"plain", []socketSpec{packet4, packet6}, loopback.IngressRemote},
		{"plain, one", []socketSpec{packet6}, loopback.IngressRemote},
		{"another address", []socketSpec{{family: v4, typ: dgram, bind: "127.9.9.9:0"}}, loopback.IngressRemote},
		{"with interfaces", []socketSpec{packet4.with("", pktinfo4), packet6.with("", pktinfo6)}, loopback.IngressCheck},
		{"bound to lo", []socketSpec{packet4.with("lo"), packet6.with("lo")}, loopback.IngressDevice},
		{"bound to lo, with interfaces", []socketSpec{packet4.with("lo", pktinfo4)}, loopback.IngressDevice},
	} {
		for _, ingress := range []loopback.Ingress{loopback.IngressAuto, loopback.IngressDevice, loopback.IngressCheck, loopback.IngressRemote, loopback.IngressAny} {
			t.Run(tt.name+"/"+ingress.String(), func(t *testing.T) {
				before := descriptors(t)
				c, fds, err := s.adoptPacket(t, &loopback.ListenConfig{Ingress: ingress}, tt.specs...)
				device, check := tt.specs[0].device != "", len(tt.specs[0].options) > 0
				if ingress == loopback.IngressDevice && !device || ingress == loopback.IngressCheck && !check {
					require.ErrorIs(t, err, errors.ErrUnsupported)
					why := map[loopback.Ingress]string{
						loopback.IngressDevice: "the socket is not bound to the loopback interface, and others may have it",
						loopback.IngressCheck:  "the socket does not report the interface of a datagram (IP_PKTINFO), and others may have it",
					}
					assert.Regexp(t, `^adopt udp \S+: unsupported operation: ingress `+ingress.String()+": "+regexp.QuoteMeta(why[ingress])+"$", err.Error())
					assert.Len(t, descriptors(t), len(before)+2*len(fds), "the sockets and nothing else")
					return
				}
				require.NoError(t, err)
				defer c.Close()
				want := ingress
				if ingress == loopback.IngressAuto {
					want = tt.auto
				}
				for i, b := range c.Bindings() {
					assert.True(t, b.Bound())
					assert.Equal(t, want, b.Ingress)
					assert.Equal(t, map[int]string{v4: "udp4", v6: "udp6"}[tt.specs[i].family], b.Network)
					if ingress == loopback.IngressAuto && want == loopback.IngressRemote {
						assert.ErrorContains(t, b.Err, "could forge")
						assert.ErrorContains(t, b.Err, "IP_PKTINFO")
					} else {
						assert.NoError(t, b.Err)
					}
				}
				for _, at := range c.AddrPorts() {
					exchange(t, s, c, at)
				}
				require.NoError(t, c.Close())
				assert.Len(t, descriptors(t), len(before)+len(fds), "the caller's other descriptors")
			})
		}
	}
}

// exchange sends a datagram from the host to c, and its answer back.
func exchange(t *testing.T, s *stage, c *loopback.PacketConn, at netip.AddrPort) {
	t.Helper()
	var client net.Conn
	var err error
	s.host.Do(func() { client, err = net.Dial("udp", at.String()) })
	require.NoError(t, err)
	defer client.Close()
	_, err = client.Write([]byte("question"))
	require.NoError(t, err)
	b := make([]byte, 20)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
	n, from, err := c.ReadFromUDPAddrPort(b)
	require.NoError(t, err)
	assert.Equal(t, "question", string(b[:n]))
	_, err = c.WriteToUDPAddrPort([]byte("answer"), from)
	require.NoError(t, err)
	client.SetReadDeadline(time.Now().Add(patience))
	n, err = client.Read(b)
	require.NoError(t, err)
	assert.Equal(t, "answer", string(b[:n]))
}

// No option of an adopted socket is changed, and on an error it stays open.
func TestAdoptPacketTouchesNothing(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	s := forSockets(t)
	auto := new(loopback.ListenConfig)
	wildcard := socketSpec{family: v4, typ: dgram, bind: "0.0.0.0:0"}
	target := s.inherit(t, plain4).Addr().String()
	for _, tt := range []struct {
		name  string
		lc    *loopback.ListenConfig
		specs []socketSpec
		want  error
		why   string // "" if they are adopted
	}{
		{"both", &loopback.ListenConfig{RequireBoth: true}, []socketSpec{packet4, packet6}, nil, ""},
		{"wildcard", auto, []socketSpec{packet4, wildcard}, loopback.ErrNotLoopback, "every interface"},
		{"not bound", auto, []socketSpec{{family: v4, typ: dgram}}, loopback.ErrNotLoopback, "not bound"},
		{"connected", auto, []socketSpec{packet6, {family: v4, typ: dgram, connect: target}}, loopback.ErrNotLoopback, "connected to " + target},
		{"two of a family", auto, []socketSpec{packet4, packet4}, nil, "same family"},
		{"one family", &loopback.ListenConfig{RequireBoth: true}, []socketSpec{packet6}, nil, "RequireBoth"},
		{"no such mode", &loopback.ListenConfig{Ingress: 77}, []socketSpec{packet6}, nil, "77"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var given []net.PacketConn
			var fds []int
			var before []map[string]string
			for _, spec := range tt.specs {
				var fd int
				var err error
				s.host.Do(func() { fd, err = spec.open() })
				require.NoError(t, err)
				f := os.NewFile(uintptr(fd), "inherited")
				defer f.Close()
				pc, err := net.FilePacketConn(f)
				require.NoError(t, err)
				defer pc.Close()
				given, fds, before = append(given, pc), append(fds, fd), append(before, socketState(fd))
			}
			var c *loopback.PacketConn
			var err error
			s.host.Do(func() { c, err = tt.lc.AdoptPacket(given...) })
			for i, fd := range fds {
				wantSameState(t, before[i], socketState(fd))
				assert.NoError(t, given[i].SetDeadline(time.Time{}), "it is open")
			}
			if tt.why == "" {
				require.NoError(t, err)
				require.NoError(t, c.Close())
				assert.ErrorIs(t, given[0].Close(), net.ErrClosed, "the PacketConn closes what it adopted")
				return
			}
			assert.Nil(t, c)
			op, ok := err.(*net.OpError)
			require.True(t, ok, "%T", err)
			assert.Equal(t, "adopt", op.Op)
			assert.Equal(t, "udp", op.Net)
			assert.ErrorContains(t, err, tt.why)
			if tt.want != nil {
				assert.ErrorIs(t, err, tt.want)
				assert.Equal(t, given[len(given)-1].LocalAddr(), op.Addr, "the error names the socket")
			}
		})
	}
	own, err := loopback.ListenPacket("udp", ":0")
	require.NoError(t, err)
	defer own.Close()
	for _, bad := range []net.PacketConn{nil, own, new(net.IPConn)} {
		_, err := auto.AdoptPacket(bad)
		assert.ErrorIs(t, err, loopback.ErrNotLoopback, "%T", bad)
	}
	for _, none := range []*net.UDPConn{nil, new(net.UDPConn)} {
		_, err := auto.AdoptPacket(none)
		assert.EqualError(t, err, "adopt udp: there is no socket: invalid argument")
	}
	_, err = auto.AdoptPacket()
	assert.ErrorContains(t, err, "no listener or socket")
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	defer udp.Close()
	_, err = auto.AdoptPacket(udp, udp)
	assert.ErrorContains(t, err, "twice")
}

// The files of a listener are in the order of AddrPorts, belong to the caller,
// and make another listener of the same sockets.
func TestFilesAreAdopted(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	s := forSockets(t)
	for _, ingress := range []loopback.Ingress{loopback.IngressAuto, loopback.IngressDevice, loopback.IngressCheck, loopback.IngressRemote} {
		lc := &loopback.ListenConfig{Ingress: ingress}
		var ln, again *loopback.Listener
		var pc, pcAgain *loopback.PacketConn
		var err, perr error
		s.host.Do(func() {
			ln, err = lc.Listen(context.Background(), "tcp", ":0")
			pc, perr = lc.ListenPacket(context.Background(), "udp", ":0")
		})
		require.NoError(t, errors.Join(err, perr))
		files, err := ln.Files()
		require.NoError(t, err)
		var lns []net.Listener
		for _, f := range files {
			given, err := net.FileListener(f)
			require.NoError(t, err)
			lns = append(lns, given)
			require.NoError(t, f.Close())
		}
		files, err = pc.Files()
		require.NoError(t, err)
		var pcs []net.PacketConn
		for _, f := range files {
			given, err := net.FilePacketConn(f)
			require.NoError(t, err)
			pcs = append(pcs, given)
			require.NoError(t, f.Close())
		}
		s.host.Do(func() {
			again, err = lc.Adopt(lns...)
			pcAgain, perr = lc.AdoptPacket(pcs...)
		})
		require.NoError(t, errors.Join(err, perr), "%v", ingress)
		assert.Equal(t, ln.AddrPorts(), again.AddrPorts())
		assert.Equal(t, pc.AddrPorts(), pcAgain.AddrPorts())
		require.NoError(t, ln.Close())
		require.NoError(t, pc.Close())
		for _, b := range pcAgain.Bindings() {
			want := ingress
			if ingress == loopback.IngressAuto {
				want = loopback.IngressDevice // of the parent
			}
			assert.Equal(t, want, b.Ingress)
			assert.NoError(t, b.Err)
			exchange(t, s, pcAgain, b.Addr)
		}
		go answer(again)
		for _, at := range again.AddrPorts() {
			var got string
			s.host.Do(func() { got, err = call("tcp", "", at.String(), "", 5*time.Second) })
			require.NoError(t, err)
			assert.Equal(t, "served", got)
		}
		again.Close()
		pcAgain.Close()
	}
}

// Both socket buffers of every socket have the size that was asked for.
func TestPacketBuffers(t *testing.T) {
	c := packetConn(t, new(loopback.ListenConfig), ":0")
	require.NoError(t, c.SetReadBuffer(20_000))
	require.NoError(t, c.SetWriteBuffer(30_000))
	files, err := c.Files()
	require.NoError(t, err)
	assert.Len(t, files, len(c.AddrPorts()))
	for _, f := range files {
		defer f.Close()
		for option, want := range map[int]int{unix.SO_RCVBUF: 40_000, unix.SO_SNDBUF: 60_000} { // twice: socket(7)
			got, err := unix.GetsockoptInt(int(f.Fd()), unix.SOL_SOCKET, option)
			require.NoError(t, err)
			assert.Equal(t, want, got)
		}
	}
}

// A socket whose address has gone from this machine is adopted in the first mode
// that can be, and its Binding says that nothing was proved, and why.
func TestAdoptOfAnAddressThatHasGone(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	settle(t)
	given, err := net.Listen("tcp", "[::1]:0")
	require.NoError(t, err)
	netnstest.Run(t, "ip", "addr", "del", "::1/128", "dev", "lo")
	ln, err := new(loopback.ListenConfig).Adopt(given)
	require.NoError(t, err)
	defer ln.Close()
	require.Len(t, ln.Bindings(), 1)
	b := ln.Bindings()[0]
	assert.True(t, b.Bound())
	assert.Equal(t, loopback.IngressCheck, b.Ingress)
	assert.EqualError(t, b.Err, "not proved: listen tcp [::1]:0: bind: cannot assign requested address")
}

// Files that cannot all be had are closed, and the error says why.
func TestFilesAllOrNone(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	settle(t)
	for network, listen := range listenFuncs {
		c, err := listen(new(loopback.ListenConfig), t.Context(), "", ":0")
		require.NoError(t, err)
		defer c.Close()
		before := descriptors(t)
		withSpare(t, 1, func() {
			files, err := c.(interface{ Files() ([]*os.File, error) }).Files()
			assert.Nil(t, files)
			assert.ErrorIs(t, err, unix.EMFILE)
			op, ok := errors.AsType[*net.OpError](err)
			if assert.True(t, ok, "%T", err) {
				assert.Equal(t, "file", op.Op)
				assert.Equal(t, network, op.Net)
			}
		})
		assert.Equal(t, before, descriptors(t), "left open")
	}
}
