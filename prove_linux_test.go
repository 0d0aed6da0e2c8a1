package loopback_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/loopback"
	"example.com/loopback/internal/netnstest"
	"example.com/loopback/internal/sockctl"
)

// A stranger who comes to the socket of a proof before its own client, and who
// would be refused, says nothing about the rung.
func TestProofPassesStrangersBy(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	netnstest.Run(t, "ip", "addr", "add", "203.0.113.5/32", "dev", "lo")
	stranger := net.IPv4(203, 0, 113, 5)

	ln, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	defer ln.Close()
	c, err := net.DialTCP("tcp4", &net.TCPAddr{IP: stranger}, ln.Addr().(*net.TCPAddr))
	require.NoError(t, err)
	defer c.Close()
	assert.NoError(t, loopback.Trip(t.Context(), ln))

	pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	defer pc.Close()
	d, err := net.DialUDP("udp4", &net.UDPAddr{IP: stranger}, pc.LocalAddr().(*net.UDPAddr))
	require.NoError(t, err)
	defer d.Close()
	_, err = d.Write([]byte("hello"))
	require.NoError(t, err)
	assert.NoError(t, loopback.Trip(t.Context(), pc))
}

// A proof does not depend on the kind of TCP that this process dials with.
func TestProofOfMultipathListener(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	t.Setenv("GODEBUG", "multipathtcp=1")
	for _, addr := range both {
		given, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
		require.NoError(t, err)
		ln, err := new(loopback.ListenConfig).Adopt(given)
		require.NoError(t, err)
		assert.Equal(t, loopback.IngressCheck, ln.Bindings()[0].Ingress)
		assert.NoError(t, ln.Bindings()[0].Err)
		ln.Close()
	}
}

// A proof that was late, as on a machine that stood still meanwhile, is made
// again: it says nothing about the rung.
func TestProofIsLate(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	netnstest.NeedNFT(t)
	for name, listen := range listenFuncs {
		for _, ingress := range []loopback.Ingress{loopback.IngressAuto, loopback.IngressDevice, loopback.IngressCheck, loopback.IngressRemote} {
			// The first packet is dropped: TCP sends another after a second.
			if out, err := exec.Command("nft", "table inet late { chain in { type filter hook input priority 0; iif lo quota until 65 bytes drop; }; }").CombinedOutput(); err != nil {
				t.Skipf("needs quotas of nf_tables: %v %s", err, out)
			}
			c, err := listen(&loopback.ListenConfig{Ingress: ingress}, t.Context(), "4", ":0")
			netnstest.Run(t, "nft", "delete table inet late")
			require.NoError(t, err, "%s %v", name, ingress)
			if ingress == loopback.IngressAuto {
				ingress = loopback.IngressDevice
			}
			assert.Equal(t, ingress, c.Bindings()[0].Ingress, name)
			assert.NoError(t, c.Bindings()[0].Err, name)
			c.Close()
		}
	}
}

// A sandbox that forbids the port of a proof does not make the rung an
// unsupported one: what is allowed is had, and the rest is what it forbids.
func TestProofInSandbox(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	given, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	filterSyscall(t, unix.SYS_BIND, 2, unix.SizeofSockaddrInet4, unix.EACCES)

	ln, err := new(loopback.ListenConfig).Adopt(given)
	require.NoError(t, err)
	defer ln.Close()
	assert.Equal(t, loopback.IngressCheck, ln.Bindings()[0].Ingress)
	assert.EqualError(t, ln.Bindings()[0].Err, "not proved, no port can be had for it: listen tcp4 127.0.0.1:0: bind: permission denied")
	for name, listen := range listenFuncs {
		for _, ingress := range []loopback.Ingress{loopback.IngressAuto, loopback.IngressDevice, loopback.IngressCheck, loopback.IngressRemote} {
			_, err := listen(&loopback.ListenConfig{Ingress: ingress}, t.Context(), "", ":"+servicePort)
			wantErrno(t, err, unix.EACCES, "127.0.0.1:"+servicePort)
			assert.NotErrorIs(t, err, errors.ErrUnsupported, "%s %v", name, ingress)
		}
	}
}

// A sandbox that forbids a family says so: it is neither missing, as another
// may have its port, nor is a rung unsupported.
func TestProofWithoutFamily(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	filterSyscall(t, unix.SYS_SOCKET, 0, unix.AF_INET6, unix.EPERM)
	for name, listen := range listenFuncs {
		_, err := listen(new(loopback.ListenConfig), t.Context(), "", ":"+servicePort)
		wantErrno(t, err, unix.EPERM, "[::1]:"+servicePort)
		assert.NotErrorIs(t, err, errors.ErrUnsupported, name)
	}
}

// A client that routing gives a link-local address is known by it, though the
// accepting end has it with a zone: it gets through, and is refused.
func TestProofFromLinkLocal(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	s := newStage(t)
	s.host.Run(t, "ip", "addr", "add", "fe80::5/64", "dev", "wire", "nodad")
	s.host.Run(t, "ip", "-6", "route", "add", "local", "::1", "dev", "wire", "table", "local")
	s.host.Run(t, "ip", "-6", "route", "del", "local", "::1", "dev", "lo", "table", "local")
	s.host.Do(func() {
		ln, err := net.Listen("tcp", "[::1]:0")
		if !assert.NoError(t, err) {
			return
		}
		defer ln.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		err = loopback.Trip(ctx, ln)
		assert.ErrorIs(t, err, loopback.ErrRefused)
		assert.ErrorContains(t, err, "the remote address is not loopback")
	})
}

// That a rung refuses local datagrams is found out at once, and not when the
// time of the proof is up: 500 ms.
func TestProofRefusedAtOnce(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	s := newStage(t)
	s.host.Run(t, "ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
	s.host.Run(t, "ip", "addr", "add", "127.0.0.1/8", "dev", "wire")
	best := time.Hour
	s.host.Do(func() {
		for range 10 { // on a busy machine it may take as long now and then
			start := time.Now()
			c, err := loopback.ListenPacket("udp", "127.0.0.1:0")
			if !assert.NoError(t, err) {
				return
			}
			best = min(best, time.Since(start))
			assert.Equal(t, loopback.IngressRemote, c.Bindings()[0].Ingress)
			assert.ErrorIs(t, c.Bindings()[0].Err, loopback.ErrRefused)
			c.Close()
		}
	})
	assert.Less(t, best, 250*time.Millisecond)
}

// Why the stronger rungs are not in force is said also where the one that is
// cannot be proved.
func TestProofKeepsReasons(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	for _, option := range []uint32{unix.SO_BINDTODEVICE, unix.IP_PKTINFO} {
		filterSyscall(t, unix.SYS_SETSOCKOPT, 2, option, unix.EPERM)
	}
	ln, err := loopback.Listen("tcp4", ":0")
	require.NoError(t, err)
	defer ln.Close()
	pc, err := loopback.ListenPacket("udp4", ":0")
	require.NoError(t, err)
	defer pc.Close()

	for name, listen := range listenFuncs {
		network := map[string]string{"tcp": "tcp4", "udp": "udp4"}[name]
		_, err := listen(&loopback.ListenConfig{Ingress: loopback.IngressDevice}, t.Context(), "4", "127.0.0.1:0")
		assert.EqualError(t, err, "listen "+network+" 127.0.0.1:0: unsupported operation: ingress device: listen "+network+" 127.0.0.1:0: setsockopt SO_BINDTODEVICE: operation not permitted", name)
	}

	b := ln.Bindings()[0]
	assert.Equal(t, loopback.IngressCheck, b.Ingress)
	const unproved = "; not proved, nothing gets through: loopback: the loopback interface is down"
	assert.EqualError(t, b.Err, "ingress device: listen tcp4 127.0.0.1:0: setsockopt SO_BINDTODEVICE: operation not permitted"+unproved)

	b = pc.Bindings()[0]
	assert.Equal(t, loopback.IngressRemote, b.Ingress)
	assert.EqualError(t, b.Err, "other machines could forge a loopback address if routing let them in: "+
		"ingress device: listen udp4 127.0.0.1:0: setsockopt SO_BINDTODEVICE: operation not permitted; "+
		"ingress check: listen udp4 127.0.0.1:0: setsockopt IP_PKTINFO: operation not permitted"+unproved)
}

// A rung that fails its proof is not taken, whatever system error it was.
func TestAdoptUnproved(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	given, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer given.Close()
	filterSyscall(t, unix.SYS_GETSOCKOPT, 2, unix.IP_PKTOPTIONS, unix.EADDRNOTAVAIL)
	_, err = (&loopback.ListenConfig{Ingress: loopback.IngressCheck}).Adopt(given)
	assert.ErrorIs(t, err, errors.ErrUnsupported)
	assert.ErrorContains(t, err, "getsockopt IP_PKTOPTIONS")
}

// What a proof sends cannot be foreseen: another process that sends the same to
// every port would be taken for it.
func TestProofsSendDifferentTexts(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_IP)))
	require.NoError(t, err)
	defer unix.Close(fd)
	for name, listen := range listenFuncs {
		seen := make(map[string]bool)
		for range 3 {
			c, err := listen(new(loopback.ListenConfig), t.Context(), "4", ":0")
			require.NoError(t, err)
			c.Close()
			sent := make(map[string]bool)
			for b := make([]byte, 1<<16); ; {
				n, _, err := unix.Recvfrom(fd, b, unix.MSG_DONTWAIT)
				if err != nil {
					break
				}
				header := int(b[0]&15) * 4
				payload := header + 8
				if b[9] == unix.IPPROTO_TCP {
					payload = header + int(b[header+12]>>4)*4
				}
				if payload < n {
					sent[string(b[payload:n])] = true
				}
			}
			require.Len(t, sent, 1, "%s: one text in each proof", name)
			for text := range sent {
				assert.False(t, seen[text], "%s: %q was sent before", name, text)
				assert.GreaterOrEqual(t, len(text), 16)
				seen[text] = true
			}
		}
	}
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// A client that connects to the temporary socket of a proof and stays silent
// does not hold it up.
func TestProofPassesSilentClientsBy(t *testing.T) {
	ln, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	defer ln.Close()
	for range 5 {
		c, err := net.Dial("tcp4", ln.Addr().String())
		require.NoError(t, err)
		defer c.Close()
	}
	other, err := net.Dial("tcp4", ln.Addr().String())
	require.NoError(t, err)
	defer other.Close()
	_, err = other.Write(make([]byte, 100))
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	assert.NoError(t, loopback.Trip(ctx, ln))
}

// Under a mode that lets datagrams in and no replies out, clients are not served.
func TestProofAwaitsTheReply(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.NeedNFT(t)
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	netnstest.Run(t, "ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
	netnstest.Run(t, "ip", "link", "set", "veth0", "up")
	netnstest.Run(t, "ip", "link", "set", "veth1", "up")
	netnstest.Run(t, "ip", "addr", "add", "fd00::1/64", "dev", "veth0", "nodad")
	netnstest.Run(t, "nft", "table ip6 nat { chain post { type nat hook postrouting priority 100; oifname lo snat to fd00::1; }; }")

	_, err := (&loopback.ListenConfig{Ingress: loopback.IngressDevice}).ListenPacket(t.Context(), "udp", "[::1]:0")
	assert.ErrorIs(t, err, errors.ErrUnsupported)
	for _, ingress := range []loopback.Ingress{loopback.IngressAuto, loopback.IngressAny} {
		c := packetConn(t, &loopback.ListenConfig{Ingress: ingress}, "[::1]:0")
		if ingress == loopback.IngressAuto {
			assert.Equal(t, loopback.IngressCheck, c.Bindings()[0].Ingress)
			assert.ErrorContains(t, c.Bindings()[0].Err, "ingress device")
		}
		client, err := net.Dial("udp", c.LocalAddr().String())
		require.NoError(t, err)
		defer client.Close()
		require.NoError(t, client.SetDeadline(time.Now().Add(5*time.Second)))
		_, err = client.Write([]byte("question"))
		require.NoError(t, err)
		buf := make([]byte, 100)
		_, from, err := c.ReadFromUDPAddrPort(buf)
		require.NoError(t, err)
		assert.Equal(t, "fd00::1", from.Addr().String())
		_, err = c.WriteToUDPAddrPort([]byte("answer"), from)
		require.NoError(t, err, "%v", ingress)
		n, err := client.Read(buf)
		require.NoError(t, err, "%v", ingress)
		assert.Equal(t, "answer", string(buf[:n]))
	}
}

// What a proof makes of the outcomes of its trials. The trials of a mode are
// those in the table, in their order; more of them fail the test.
func TestProofByTrials(t *testing.T) {
	const device, check, remote, open = loopback.IngressDevice, loopback.IngressCheck, loopback.IngressRemote, loopback.IngressAny
	auto := []loopback.Ingress{device, check, remote}
	type trials map[loopback.Ingress][]loopback.Trial
	refused := errors.New("refused")
	ok, no := loopback.Trial{Bound: true}, loopback.Trial{Bound: true, Err: refused}
	late := loopback.Trial{Bound: true, Err: os.ErrDeadlineExceeded}
	unbound := func(call string, errno syscall.Errno) loopback.Trial {
		return loopback.Trial{Err: os.NewSyscallError(call, errno)}
	}
	for _, tt := range []struct {
		name          string
		modes         []loopback.Ingress
		down          bool
		trials        trials
		mode          loopback.Ingress
		note, missing string
		err           string
		is            error // in err
	}{
		{name: "without a mode", modes: []loopback.Ingress{open}, mode: open},
		{name: "the first", modes: auto, trials: trials{device: {ok}}, mode: device},
		{name: "the second", modes: auto, trials: trials{device: {no}, open: {ok}, check: {ok}}, mode: check, note: "ingress device: refused"},
		{name: "the third", modes: auto, trials: trials{device: {no}, open: {ok}, check: {no}, remote: {ok}}, mode: remote,
			note: "other machines could forge a loopback address if routing let them in: ingress device: refused; ingress check: refused"},
		{name: "the third by name", modes: []loopback.Ingress{remote}, trials: trials{remote: {ok}}, mode: remote},
		{name: "none", modes: auto, trials: trials{device: {no}, open: {ok}, check: {no}, remote: {no}},
			err: "unsupported operation: ingress device: refused; ingress check: refused; ingress remote: refused", is: errors.ErrUnsupported},
		{name: "late once", modes: auto, trials: trials{device: {late, ok}, open: {ok}}, mode: device},
		{name: "late twice", modes: auto, trials: trials{device: {late, late}, open: {ok}, check: {ok}}, mode: check, note: "ingress device: i/o timeout"},
		{name: "late, and not bound", modes: auto, trials: trials{device: {{Err: os.ErrDeadlineExceeded}}, check: {ok}}, mode: check, note: "ingress device: i/o timeout"},
		{name: "nothing passes", modes: auto, trials: trials{device: {no}, open: {late}}, mode: device, note: "not proved, nothing gets through: i/o timeout"},
		{name: "nothing passes, and one is not to be had", modes: auto, trials: trials{device: {unbound("setsockopt", syscall.EPERM)}, check: {no}, open: {no}}, mode: check,
			note: "ingress device: setsockopt: operation not permitted; not proved, nothing gets through: refused"},
		{name: "nothing passes, and only the last is to be had", modes: auto, trials: trials{device: {unbound("setsockopt", syscall.EPERM)}, check: {unbound("setsockopt", syscall.EPERM)}, remote: {no}, open: {no}}, mode: remote,
			note: "other machines could forge a loopback address if routing let them in: ingress device: setsockopt: operation not permitted; " +
				"ingress check: setsockopt: operation not permitted; not proved, nothing gets through: refused"},
		{name: "down", modes: auto, down: true, trials: trials{device: {no}, open: {no}}, mode: device, note: "not proved, nothing gets through: loopback: the loopback interface is down"},
		{name: "down, and not bound", modes: auto, down: true, trials: trials{device: {unbound("setsockopt", syscall.EPERM)}, check: {ok}}, mode: check, note: "ingress device: setsockopt: operation not permitted"},
		{name: "a shortage", modes: auto, trials: trials{device: {{Bound: true, Err: syscall.EMFILE}}}, err: "too many open files", is: syscall.EMFILE},
		{name: "a shortage without a mode", modes: auto, trials: trials{device: {no}, open: {{Bound: true, Err: syscall.ENOMEM}}}, err: "cannot allocate memory", is: syscall.ENOMEM},
		{name: "a shortage at the second", modes: auto, trials: trials{device: {no}, open: {ok}, check: {{Err: syscall.ENFILE}}}, err: "too many open files in system", is: syscall.ENFILE},
		{name: "no name", modes: auto, trials: trials{device: {{Err: fmt.Errorf("a: %w", sockctl.ErrNoName)}}}, err: "a: " + sockctl.ErrNoName.Error(), is: sockctl.ErrNoName},
		{name: "no such address", modes: auto, trials: trials{device: {unbound("bind", syscall.EADDRNOTAVAIL)}}, mode: device, missing: "bind: cannot assign requested address"},
		{name: "no such address, but bound", modes: auto, trials: trials{device: {{Bound: true, Err: syscall.EADDRNOTAVAIL}}, open: {ok}, check: {ok}}, mode: check,
			note: "ingress device: cannot assign requested address"},
		{name: "no port", modes: auto, trials: trials{device: {unbound("bind", syscall.EADDRINUSE)}}, mode: device, note: "not proved, no port can be had for it: bind: address already in use"},
		{name: "no socket", modes: auto, trials: trials{device: {unbound("socket", syscall.EPERM)}}, mode: device, note: "not proved, no port can be had for it: socket: operation not permitted"},
		{name: "bound, though bind failed", modes: auto, trials: trials{device: {{Bound: true, Err: os.NewSyscallError("bind", syscall.EPERM)}}, open: {ok}, check: {ok}}, mode: check,
			note: "ingress device: bind: operation not permitted"},
		{name: "bound, though socket failed", modes: auto, trials: trials{device: {{Bound: true, Err: os.NewSyscallError("socket", syscall.EPERM)}}, open: {ok}, check: {ok}}, mode: check,
			note: "ingress device: socket: operation not permitted"},
	} {
		left := tt.trials
		mode, note, missing, err := loopback.Prove(t.Context(), tt.modes, !tt.down, func(ctx context.Context, mode loopback.Ingress) loopback.Trial {
			deadline, ok := ctx.Deadline()
			limit := 500 * time.Millisecond
			if tt.down {
				limit = 20 * time.Millisecond
			}
			assert.True(t, ok && time.Until(deadline) <= limit, tt.name)
			if !assert.NotEmpty(t, left[mode], "%s: a trial of %v", tt.name, mode) {
				return loopback.Trial{}
			}
			next := left[mode][0]
			left[mode] = left[mode][1:]
			return next
		})
		for mode, trials := range left {
			assert.Empty(t, trials, "%s: %v", tt.name, mode)
		}
		text := func(err error) string {
			if err == nil {
				return ""
			}
			return err.Error()
		}
		assert.Equal(t, []string{tt.note, tt.missing, tt.err}, []string{text(note), text(missing), text(err)}, tt.name)
		if tt.err == "" {
			assert.Equal(t, tt.mode, mode, tt.name)
		} else {
			assert.ErrorIs(t, err, tt.is, tt.name)
		}
	}
}

// A proof ends with its context, at whichever trial, and makes no more.
func TestProofEndsWithItsContext(t *testing.T) {
	for _, last := range []loopback.Ingress{loopback.IngressDevice, loopback.IngressAny, loopback.IngressCheck} {
		for _, err := range []error{os.ErrDeadlineExceeded, context.Canceled, syscall.ECONNREFUSED} {
			ctx, cancel := context.WithCancel(t.Context())
			var made []loopback.Ingress
			_, note, missing, got := loopback.Prove(ctx, []loopback.Ingress{loopback.IngressDevice, loopback.IngressCheck, loopback.IngressRemote}, true,
				func(_ context.Context, mode loopback.Ingress) loopback.Trial {
					made = append(made, mode)
					if mode == last {
						cancel()
					} else if mode == loopback.IngressAny {
						return loopback.Trial{Bound: true}
					}
					return loopback.Trial{Bound: true, Err: err}
				})
			assert.Equal(t, context.Canceled, got, "%v, %v", made, err)
			assert.NoError(t, note)
			assert.NoError(t, missing)
			assert.Equal(t, slices.Index(made, last), len(made)-1, "%v", made)
		}
	}
}

// Whether this machine has an address that could not be connected to.
func TestAbsentAddress(t *testing.T) {
	skipWithoutSockets(t)
	here, elsewhere := loopback.IPv4(), netip.MustParseAddr("192.0.2.1") // a documentation address: RFC 5737
	assert.NoError(t, loopback.Absent(t.Context(), elsewhere, nil))
	assert.NoError(t, loopback.Absent(t.Context(), elsewhere, errors.New("another")))
	assert.NoError(t, loopback.Absent(t.Context(), elsewhere, syscall.ECONNREFUSED))
	assert.Equal(t, syscall.EMFILE, loopback.Absent(t.Context(), here, syscall.EMFILE))
	for _, errno := range []syscall.Errno{syscall.EADDRNOTAVAIL, syscall.ENETUNREACH} {
		assert.ErrorContains(t, loopback.Absent(t.Context(), elsewhere, errno), "bind: ")
		assert.ErrorIs(t, loopback.Absent(t.Context(), elsewhere, errno), syscall.EADDRNOTAVAIL)
		err := loopback.Absent(t.Context(), here, errno)
		assert.EqualError(t, err, fmt.Sprintf("%v: bound, but not connected to: %v", syscall.EADDRNOTAVAIL, errno))
		assert.ErrorIs(t, err, errno)
	}
}
