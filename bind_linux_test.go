package loopback_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/loopback"
	"example.com/loopback/internal/netnstest"
)

// A bound is what Listener and PacketConn have in common.
type bound interface {
	io.Closer
	AddrPorts() []netip.AddrPort
	Bindings() []loopback.Binding
	Port() uint16
}

// The names of loopback are not looked up, whatever the hosts file and DNS
// would say. That they say something else is checked with package net.
func TestListenHostsWildcard(t *testing.T) { testListenNames(t, "0.0.0.0 localhost\n", "0.0.0.0") }
func TestListenHostsForeign(t *testing.T)  { testListenNames(t, "192.0.2.2 localhost\n", "192.0.2.2") }
func TestListenHostsMissing(t *testing.T)  { testListenNames(t, "", "192.0.2.66") }
func TestListenHostsOther(t *testing.T)    { testListenNames(t, "127.0.0.1 other\n", "192.0.2.66") }

func testListenNames(t *testing.T, hosts, says string) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	ownEtc(t)
	writeEtc(t, "nsswitch.conf", nsswitch)
	writeEtc(t, "resolv.conf", resolvConf)
	if hosts != "" {
		writeEtc(t, "hosts", hosts)
	}
	dns := newNameServer(t, "127.0.0.53:53")
	foreign := map[string]string{"localhost": "192.0.2.66", "localhost.corp.example": "192.0.2.66", "db.localhost": "192.0.2.66"}
	dns.set(foreign)
	ips, err := net.DefaultResolver.LookupIP(t.Context(), "ip4", "localhost")
	require.NoError(t, err)
	require.Equal(t, says, ips[0].String(), "what package net makes of localhost here")
	queries := func() []string {
		dns.mu.Lock()
		defer dns.mu.Unlock()
		return slices.Clone(dns.asked)
	}
	require.Equal(t, says == "192.0.2.66", len(queries()) > 0)

	dns.set(foreign)
	for name, listen := range listenFuncs {
		for _, host := range []string{"", "localhost", "LOCALHOST.", "db.localhost"} {
			for family, want := range map[string][]string{"": both, "4": both[:1], "6": both[1:]} {
				c, err := listen(new(loopback.ListenConfig), t.Context(), family, host+":0")
				require.NoError(t, err, "%s%s %q", name, family, host)
				assert.Equal(t, want, addrs(c.AddrPorts()))
				c.Close()
			}
		}
		_, err := listen(new(loopback.ListenConfig), t.Context(), "", "example.com:0")
		require.ErrorIs(t, err, loopback.ErrNotLoopback)
	}
	_, err = loopback.Listen("tcp", "localhost:http")
	if err != nil { // nor is a service looked up anywhere but in /etc/services, which is not there
		require.ErrorContains(t, err, "http")
	}
	assert.Empty(t, queries())

	// Require sees what the name was resolved to, before anything is bound or sent.
	netnstest.Run(t, "ip", "addr", "add", "192.0.2.2/32", "dev", "lo")
	netnstest.Run(t, "ip", "addr", "add", "192.0.2.66/32", "dev", "lo")
	for _, multipath := range []bool{false, true} {
		lc := net.ListenConfig{Control: loopback.Require}
		lc.SetMultipathTCP(multipath)
		_, err = lc.Listen(t.Context(), "tcp4", "localhost:4000")
		require.ErrorIs(t, err, loopback.ErrNotLoopback)
		require.ErrorContains(t, err, says)
		if says == "0.0.0.0" { // which Dial takes for 127.0.0.1
			continue
		}
		ln, err := net.Listen("tcp4", says+":4000")
		require.NoError(t, err)
		d := net.Dialer{Control: loopback.Require}
		d.SetMultipathTCP(multipath)
		_, err = d.DialContext(t.Context(), "tcp4", "localhost:4000")
		require.ErrorIs(t, err, loopback.ErrNotLoopback)
		ln.(*net.TCPListener).SetDeadline(time.Now().Add(time.Millisecond))
		_, err = ln.Accept()
		require.ErrorIs(t, err, os.ErrDeadlineExceeded, "nothing was sent")
		ln.Close()
	}
}

// A family that the machine does not have is left out, and the binding says
// why, unless nothing else was asked for.
func TestListenMissingFamily(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	for _, tt := range []struct {
		name    string
		setup   func(t *testing.T, host *netnstest.Neighbour)
		missing []int // of both
	}{
		{"IPv6 disabled", func(t *testing.T, host *netnstest.Neighbour) {
			host.Sysctl(t, "net/ipv6/conf/all/disable_ipv6", "1")
		}, []int{1}},
		{"IPv6 disabled on lo", func(t *testing.T, host *netnstest.Neighbour) {
			host.Sysctl(t, "net/ipv6/conf/lo/disable_ipv6", "1")
		}, []int{1}},
		{"::1 removed", func(t *testing.T, host *netnstest.Neighbour) {
			host.Run(t, "ip", "addr", "del", "::1/128", "dev", "lo")
		}, []int{1}},
		{"127.0.0.1 removed", func(t *testing.T, host *netnstest.Neighbour) {
			host.Run(t, "ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
		}, []int{0}},
		{"both removed", func(t *testing.T, host *netnstest.Neighbour) {
			host.Run(t, "ip", "addr", "flush", "dev", "lo")
		}, []int{0, 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host := netnstest.NewNeighbour(t)
			tt.setup(t, host)
			host.Do(func() { wantMissing(t, tt.missing, syscall.EADDRNOTAVAIL) })
		})
	}
}

// A machine does not have an address that it can bind and not connect to.
func TestListenAddressThatIsNotThere(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	for i, at := range []string{"127.0.0.1/8", "::1/128"} {
		for _, way := range []string{"no way", "a default route"} {
			t.Run(at+", "+way, func(t *testing.T) {
				host := netnstest.NewNeighbour(t)
				host.Run(t, "ip", "addr", "del", at, "dev", "lo")
				host.Sysctl(t, "net/"+[]string{"ipv4", "ipv6"}[i]+"/ip_nonlocal_bind", "1")
				if way != "no way" {
					router := netnstest.NewNeighbour(t)
					host.Run(t, "ip", "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", router.Path)
					host.Run(t, "ip", "addr", "add", "192.0.2.10/24", "dev", "wire")
					host.Run(t, "ip", "addr", "add", "2001:db8::10/64", "dev", "wire", "nodad")
					host.Run(t, "ip", "link", "set", "wire", "up")
					host.Run(t, "ip", "route", "add", "default", "via", "192.0.2.1")
					host.Run(t, "ip", "-6", "route", "add", "default", "via", "2001:db8::1", "dev", "wire")
				}
				host.Do(func() { wantMissing(t, []int{i}, syscall.EADDRNOTAVAIL) })
			})
		}
	}
}

// Control is called for the addresses that this machine has, with sockets that
// are not of multipath TCP.
func TestListenControlSeesItsSocketsAlone(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	netnstest.Run(t, "ip", "addr", "del", "::1/128", "dev", "lo")
	t.Setenv("GODEBUG", "multipathtcp=1")
	for name, listen := range listenFuncs {
		var networks []string
		lc := &loopback.ListenConfig{Control: func(network, _ string, c syscall.RawConn) error {
			networks = append(networks, network)
			return c.Control(func(fd uintptr) {
				protocol, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PROTOCOL)
				assert.NoError(t, err)
				assert.Equal(t, map[string]int{"tcp": unix.IPPROTO_TCP, "udp": unix.IPPROTO_UDP}[name], protocol)
			})
		}}
		c, err := listen(lc, t.Context(), "", ":0")
		require.NoError(t, err)
		c.Close()
		assert.Equal(t, []string{name + "4"}, networks)
	}
}

// No descriptor of a listener gets into a child by itself.
func TestListenDescriptorsCloseOnExec(t *testing.T) {
	before := descriptors(t)
	ln, err := loopback.Listen("tcp", ":0")
	require.NoError(t, err)
	defer ln.Close()
	pc, err := loopback.ListenPacket("udp", ":0")
	require.NoError(t, err)
	defer pc.Close()
	after := descriptors(t)
	assert.Greater(t, len(after), len(before))
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		require.NoError(t, err)
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && fd > 2 { // else it was that of ReadDir
			target, _ := os.Readlink("/proc/self/fd/" + e.Name())
			if strings.HasPrefix(target, "socket:") || strings.Contains(target, "eventpoll") {
				assert.NotZero(t, flags&unix.FD_CLOEXEC, target)
			}
		}
	}
}

// wantMissing checks what Listen and ListenPacket do where some of both lead
// to errno.
func wantMissing(t *testing.T, missing []int, errno syscall.Errno) {
	for name, listen := range listenFuncs {
		for _, ingress := range []loopback.Ingress{loopback.IngressAuto, loopback.IngressCheck, loopback.IngressAny} {
			lc := loopback.ListenConfig{Ingress: ingress}
			c, err := listen(&lc, context.Background(), "", ":0")
			if len(missing) == len(both) {
				wantErrno(t, err, errno, both...)
				continue
			}
			if !assert.NoError(t, err) {
				return
			}
			assert.NotZero(t, c.Port())
			assert.Len(t, c.AddrPorts(), 1)
			for i, b := range c.Bindings() {
				assert.Equal(t, both[i], b.Addr.Addr().String())
				gone := slices.Contains(missing, i)
				assert.Equal(t, !gone, b.Bound())
				if gone {
					assert.ErrorIs(t, b.Err, errno)
					assert.Contains(t, b.String(), "not bound")
					op, ok := b.Err.(*net.OpError)
					assert.True(t, ok && op.Addr.Network() == name, "%#v", b.Err)
				} else {
					assert.NoError(t, b.Err)
				}
				assert.NotEqual(t, loopback.IngressAuto, b.Ingress)
				assert.Equal(t, name+"46"[i:i+1], b.Network)
			}
			c.Close()
			for _, i := range missing {
				lc.RequireBoth = true
				_, err = listen(&lc, context.Background(), "", ":0")
				wantErrno(t, err, errno, both[i])
				lc.RequireBoth = false
				_, err = listen(&lc, context.Background(), "46"[i:i+1], "localhost:0")
				wantErrno(t, err, errno, both[i])
				_, err = listen(&lc, context.Background(), "", net.JoinHostPort(both[i], "0"))
				wantErrno(t, err, errno, both[i])
			}
		}
	}
}

// A kernel without IPv6 refuses the socket itself.
func TestListenNoIPv6(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	refuseSocket(t, unix.AF_INET6)
	wantMissing(t, []int{1}, syscall.EAFNOSUPPORT)
}

func TestListenNoIPv4(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	refuseSocket(t, unix.AF_INET)
	wantMissing(t, []int{0}, syscall.EAFNOSUPPORT)
}

// With 13,000 ports taken in one family, a pair on port 0 takes at most two
// attempts for TCP. Control counts them: it is called for each socket.
func TestListenCrowded(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	const taken = 13_000
	if limit := (unix.Rlimit{}); unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil || limit.Cur < taken+200 {
		t.Skipf("needs %d descriptors, RLIMIT_NOFILE is %d", taken+200, limit.Cur)
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	for family, addr := range both {
		for name, typ := range map[string]int{"tcp": unix.SOCK_STREAM, "udp": unix.SOCK_DGRAM} {
			t.Run(name+" "+addr, func(t *testing.T) {
				for range taken {
					fd, err := unix.Socket([]int{unix.AF_INET, unix.AF_INET6}[family], typ|unix.SOCK_CLOEXEC, 0)
					require.NoError(t, err)
					defer unix.Close(fd)
					if family == 0 {
						err = unix.Bind(fd, &unix.SockaddrInet4{Addr: netip.MustParseAddr(addr).As4()})
					} else {
						err = unix.Bind(fd, &unix.SockaddrInet6{Addr: netip.MustParseAddr(addr).As16()})
					}
					require.NoError(t, err)
				}
				worst := 0
				for range 200 {
					attempts := 0
					lc := &loopback.ListenConfig{Ingress: loopback.IngressAny, Control: func(network, _ string, _ syscall.RawConn) error {
						if network == name+"4" {
							attempts++
						}
						return nil
					}}
					c, err := listenFuncs[name](lc, t.Context(), "", ":0")
					require.NoError(t, err)
					assert.Len(t, c.AddrPorts(), 2)
					worst = max(worst, attempts)
					c.Close()
				}
				t.Log("attempts at most:", worst)
				if name == "tcp" {
					assert.LessOrEqual(t, worst, 2)
				}
			})
		}
	}
}

// Where all ports are taken that the kernel would choose from, none is left for
// a proof; one that is asked for by number is had all the same.
func TestListenWithoutFreePorts(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	netnstest.Sysctl(t, "net/ipv4/ip_local_port_range", "40000 40009")
	for family, addr := range both {
		for _, listen := range listenFuncs {
			var c bound
			var err error
			for err == nil {
				if c, err = listen(&loopback.ListenConfig{Ingress: loopback.IngressAny}, t.Context(), "", net.JoinHostPort(addr, "0")); err == nil {
					defer c.Close()
				}
			}
			require.ErrorIs(t, err, unix.EADDRINUSE)
			tries := 0
			_, err = listen(&loopback.ListenConfig{Ingress: loopback.IngressAny, Control: func(string, string, syscall.RawConn) error { tries++; return nil }},
				t.Context(), "", net.JoinHostPort(addr, "0"))
			require.ErrorIs(t, err, unix.EADDRINUSE)
			assert.Equal(t, 1, tries, "of one address the kernel has looked at each port")
			for _, ingress := range []loopback.Ingress{loopback.IngressAuto, loopback.IngressCheck} {
				lc := &loopback.ListenConfig{Ingress: ingress}
				_, err = listen(lc, t.Context(), "", net.JoinHostPort(addr, "0"))
				wantErrno(t, err, unix.EADDRINUSE, addr)
				assert.NotErrorIs(t, err, errors.ErrUnsupported)
				c, err := listen(lc, t.Context(), "", ":"+servicePort)
				require.NoError(t, err)
				require.Len(t, c.Bindings(), 2)
				b := c.Bindings()[family]
				assert.True(t, b.Bound())
				assert.Equal(t, max(ingress, loopback.IngressDevice), b.Ingress)
				assert.ErrorContains(t, b.Err, "not proved")
				c.Close()
			}
		}
	}
}

const portsChild = "LOOPBACK_TEST_PORTS"

// TestListenManyChild is a process that TestListenMany starts: it takes that
// many pairs of each kind, and keeps them until its input ends.
func TestListenManyChild(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv(portsChild))
	if err != nil {
		t.Skip("only of use to TestListenMany")
	}
	for range n {
		for _, listen := range listenFuncs {
			c, err := listen(new(loopback.ListenConfig), t.Context(), "", ":0")
			require.NoError(t, err)
			defer c.Close()
			require.Len(t, c.AddrPorts(), 2)
		}
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
}

// Many processes ask for port 0 at once, in a range that they nearly fill.
func TestListenMany(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	netnstest.Sysctl(t, "net/ipv4/ip_local_port_range", "40000 40400")
	const processes, each = 6, 40
	type child struct {
		*exec.Cmd
		stdin  io.Closer
		stdout *bufio.Scanner
	}
	var children []child
	for range processes {
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestListenManyChild$", "-test.count=1")
		cmd.Env = append(os.Environ(), portsChild+"="+strconv.Itoa(each))
		stdin, err := cmd.StdinPipe()
		require.NoError(t, err)
		stdout, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		children = append(children, child{cmd, stdin, bufio.NewScanner(stdout)})
	}
	for _, c := range children {
		var said []string
		for c.stdout.Scan() && c.stdout.Text() != "ready" {
			said = append(said, c.stdout.Text())
		}
		assert.Empty(t, said)
	}
	for _, c := range children {
		c.stdin.Close()
		for c.stdout.Scan() {
		}
		assert.NoError(t, c.Wait())
	}
}

// With lo down nothing can be proved, and nothing is served; the listener is
// there for when lo comes up.
func TestListenLoDown(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	for _, when := range []string{"never up", "up and down"} {
		t.Run(when, func(t *testing.T) {
			for name, listen := range listenFuncs {
				for _, ingress := range []loopback.Ingress{loopback.IngressAuto, loopback.IngressCheck} {
					start := time.Now()
					c, err := listen(&loopback.ListenConfig{Ingress: ingress}, t.Context(), "", ":0")
					require.NoError(t, err)
					defer c.Close()
					assert.Less(t, time.Since(start), 5*time.Second, "bounded in time")
					b := c.Bindings()
					require.True(t, b[0].Bound())
					if ingress == loopback.IngressAuto {
						ingress = loopback.IngressDevice
					}
					assert.Equal(t, ingress, b[0].Ingress, "the strongest that can be set")
					assert.ErrorContains(t, b[0].Err, "not proved")
					assert.ErrorContains(t, b[0].Err, "down")
					assert.False(t, b[1].Bound())
					assert.ErrorIs(t, b[1].Err, syscall.EADDRNOTAVAIL, "lo has ::1 only while it is up")

					_, err = listen(&loopback.ListenConfig{RequireBoth: true}, t.Context(), "", ":0")
					wantErrno(t, err, syscall.EADDRNOTAVAIL, "::1")

					go answer(c)
					defer func() { // when lo is up
						got, err := call(name, "", c.AddrPorts()[0].String(), "", 5*time.Second)
						assert.NoError(t, err)
						assert.Equal(t, "served", got)
					}()
				}
			}
			netnstest.Run(t, "ip", "link", "set", "lo", "up")
		})
		netnstest.Run(t, "ip", "link", "set", "lo", "down")
	}
}

// answer serves whoever asks, as call expects it, until c is closed.
func answer(c bound) {
	if ln, ok := c.(*loopback.Listener); ok {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.Write([]byte("served"))
			conn.Close()
		}
	}
	pc := c.(*loopback.PacketConn)
	for {
		_, from, err := pc.ReadFrom(make([]byte, 16))
		if err != nil {
			return
		}
		pc.WriteTo([]byte("served"), from)
	}
}

// Where lo swallows everything, a proof lasts as long as it may, and the
// result is that of lo being down.
func TestListenLoBlocked(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	blockLo(t)
	for name, listen := range listenFuncs {
		start := time.Now()
		c, err := listen(new(loopback.ListenConfig), t.Context(), "4", ":0")
		require.NoError(t, err, name)
		assert.Less(t, time.Since(start), 5*time.Second, "bounded in time")
		assert.Equal(t, loopback.IngressDevice, c.Bindings()[0].Ingress)
		assert.ErrorContains(t, c.Bindings()[0].Err, "not proved")
		c.Close()
	}
}

// A context that ends during the proofs ends the call.
func TestListenContextDuringProofs(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	blockLo(t)
	before := descriptors(t)
	for name, listen := range listenFuncs {
		soonest := time.Hour // of several: the machine may stand still meanwhile
		for _, ingress := range []loopback.Ingress{loopback.IngressAuto, loopback.IngressDevice, loopback.IngressRemote} {
			lc := &loopback.ListenConfig{Ingress: ingress, Control: func(string, string, syscall.RawConn) error {
				t.Error("a socket was made")
				return nil
			}}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			start := time.Now()
			_, err := listen(lc, ctx, "", ":"+servicePort)
			soonest = min(soonest, time.Since(start))
			assert.ErrorIs(t, err, context.DeadlineExceeded, name)
			assert.True(t, wantListenError(t, err).Timeout())
			cancel()

			ctx, cancel = context.WithCancel(t.Context())
			time.AfterFunc(30*time.Millisecond, cancel)
			start = time.Now()
			_, err = listen(lc, ctx, "", ":"+servicePort)
			soonest = min(soonest, time.Since(start))
			assert.ErrorIs(t, err, context.Canceled, name)
			wantListenError(t, err)
		}
		assert.Less(t, soonest, 400*time.Millisecond, "before the proof ends by itself")
	}
	assert.Equal(t, before, descriptors(t))
}

// A failed call leaves nothing behind: no descriptor, no port.
func TestListenFails(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	netnstest.Run(t, "ip", "link", "add", "wire", "type", "veth", "peer", "name", "end")
	failure := errors.New("not today")
	onFD := func(f func(fd int, network string) error) controlFunc {
		return func(network, _ string, c syscall.RawConn) error {
			var err error
			if cerr := c.Control(func(fd uintptr) { err = f(int(fd), network) }); cerr != nil {
				return cerr
			}
			return err
		}
	}
	only6 := func(control controlFunc) controlFunc {
		return func(network, address string, c syscall.RawConn) error {
			if strings.HasSuffix(network, "4") {
				return nil
			}
			return control(network, address, c)
		}
	}
	returning := func(err error) controlFunc { return func(string, string, syscall.RawConn) error { return err } }
	for _, tt := range []struct {
		name    string
		control controlFunc
		want    error
	}{
		{"fails", returning(failure), failure},
		{"fails on the second socket", only6(returning(failure)), failure},
		// These would mean something if they came from bind.
		{"fails like a port in use", only6(returning(unix.EADDRINUSE)), unix.EADDRINUSE},
		{"fails like a missing family", only6(returning(unix.EAFNOSUPPORT)), unix.EAFNOSUPPORT},
		{"binds by itself", onFD(func(fd int, network string) error {
			if strings.HasSuffix(network, "4") {
				return unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
			}
			return unix.Bind(fd, &unix.SockaddrInet6{Addr: [16]byte{15: 1}})
		}), unix.EINVAL},
		{"binds to every interface", only6(onFD(func(fd int, _ string) error {
			return unix.Bind(fd, &unix.SockaddrInet6{})
		})), unix.EINVAL},
		{"sets IP_TRANSPARENT", onFD(func(fd int, network string) error {
			if strings.HasSuffix(network, "4") {
				return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TRANSPARENT, 1)
			}
			return nil
		}), loopback.ErrNotLoopback},
		{"sets IPV6_TRANSPARENT", only6(onFD(func(fd int, _ string) error {
			return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_TRANSPARENT, 1)
		})), loopback.ErrNotLoopback},
		{"binds to another device", onFD(func(fd int, network string) error {
			if strings.HasSuffix(network, "6") {
				return nil
			}
			return unix.BindToDevice(fd, "wire")
		}), loopback.ErrNotLoopback},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for name, listen := range listenFuncs {
				for _, port := range []string{"0", servicePort} {
					before := descriptors(t)
					// The rung of IngressRemote undoes nothing that Control did.
					lc := &loopback.ListenConfig{Ingress: loopback.IngressRemote, Control: tt.control}
					_, err := listen(lc, t.Context(), "", ":"+port)
					require.ErrorIs(t, err, tt.want, name)
					wantListenError(t, err)
					if tt.want == loopback.ErrNotLoopback {
						assert.Regexp(t, `^listen (\w+) \S+: verify (tcp|udp) \S+: loopback: not a loopback address: the socket (has IP_TRANSPARENT|is bound to interface \d+)`, err.Error())
						assert.Contains(t, err.Error(), "listen "+err.(*net.OpError).Addr.Network()+" ")
					}
					assert.Equal(t, before, descriptors(t))
				}
			}
		})
	}

	for name, listen := range listenFuncs {
		t.Run(name+" in use", func(t *testing.T) {
			for _, addr := range both {
				other, err := listen(new(loopback.ListenConfig), t.Context(), "", net.JoinHostPort(addr, "0"))
				require.NoError(t, err)
				before := descriptors(t)
				for _, lc := range []*loopback.ListenConfig{{}, {RequireBoth: true}, {Ingress: loopback.IngressAny}} {
					_, err = listen(lc, t.Context(), "", ":"+strconv.Itoa(int(other.Port())))
					require.ErrorIs(t, err, unix.EADDRINUSE)
					assert.Equal(t, other.AddrPorts()[0].String(), wantListenError(t, err).Addr.String(), "names the one in use")
				}
				assert.Equal(t, before, descriptors(t))
				other.Close()
			}
		})
	}

	// What a Control that panics leaves is the one socket that it was given.
	before := len(descriptors(t))
	assert.PanicsWithValue(t, "oh", func() {
		lc := &loopback.ListenConfig{Control: only6(func(string, string, syscall.RawConn) error { panic("oh") })}
		lc.Listen(t.Context(), "tcp", ":0")
	})
	assert.LessOrEqual(t, len(descriptors(t)), before+1)

	// A Control that turns off what the search for a port relies on.
	exclusive := &loopback.ListenConfig{Control: onFD(func(fd int, _ string) error {
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 0)
	})}
	pair, err := exclusive.Listen(t.Context(), "tcp", ":0")
	require.NoError(t, err)
	assert.Len(t, pair.AddrPorts(), 2)
	pair.Close()

	// A Control whose device the rung replaces.
	ln, err := (&loopback.ListenConfig{Control: onFD(func(fd int, _ string) error {
		return unix.BindToDevice(fd, "wire")
	})}).Listen(t.Context(), "tcp", ":0")
	require.NoError(t, err)
	assert.NoError(t, ln.Bindings()[0].Err)
	ln.Close()
}

type controlFunc = func(network, address string, c syscall.RawConn) error

// What a socket was bound to is known from getsockname alone: without it there
// is no listener.
func TestListenWithoutGetsockname(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	listening(t, ":0").Close() // opens what the runtime keeps
	next, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	unix.Close(next)
	filterSyscall(t, unix.SYS_GETSOCKNAME, 0, uint32(next), unix.EPERM)
	before := descriptors(t)
	for name, listen := range listenFuncs {
		_, err := listen(&loopback.ListenConfig{Ingress: loopback.IngressAny}, t.Context(), "", "127.0.0.1:0")
		require.ErrorIs(t, err, loopback.ErrNotLoopback, name)
		wantListenError(t, err)
		assert.Equal(t, before, descriptors(t))
	}
}

// Descriptors that run out at any point of Listen are an error, with nothing
// left open and no weaker rung taken.
func TestListenEMFILE(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	for name, listen := range listenFuncs {
		t.Run(name, func(t *testing.T) {
			c, err := listen(new(loopback.ListenConfig), t.Context(), "", ":0") // opens what the runtime keeps
			require.NoError(t, err)
			c.Close()
			failures := 0
			for spare := range uint64(40) {
				before := descriptors(t)
				var c bound
				var err error
				withSpare(t, spare, func() { c, err = listen(new(loopback.ListenConfig), t.Context(), "", ":0") })
				if err != nil {
					failures++
					assert.ErrorIs(t, err, unix.EMFILE, "%d to spare", spare)
					wantListenError(t, err)
				} else {
					for _, b := range c.Bindings() {
						assert.True(t, b.Bound())
						assert.Equal(t, loopback.IngressDevice, b.Ingress)
						assert.NoError(t, b.Err)
					}
					c.Close()
				}
				assert.Equal(t, before, descriptors(t))
			}
			assert.Greater(t, failures, 2)
			assert.Less(t, failures, 20)
		})
	}
}

// Strangers connect to the port all the time while Listen starts on it. Each
// of them is refused or served: no proof takes one, and none is cut off.
func TestListenStrangers(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	for range 20 {
		var served sync.WaitGroup // until each stranger was served some times
		stop := make(chan struct{})
		results := make(chan error)
		for _, at := range []string{service4, service6, service4, service6} {
			served.Add(1)
			go func() {
				n := 0
				for {
					select {
					case <-stop:
						results <- nil
						return
					default:
					}
					got, err := call("tcp", "", at, "", 10*time.Second)
					switch {
					case err == nil && got == "served":
						if n++; n == 5 {
							served.Done()
						}
					case errors.Is(err, unix.ECONNREFUSED):
					default:
						if n < 5 {
							served.Done()
						}
						results <- fmt.Errorf("a client of %s got %q: %w", at, got, err)
						return
					}
				}
			}()
		}
		ln, err := loopback.Listen("tcp", ":"+servicePort)
		if assert.NoError(t, err) {
			go answer(ln)
			served.Wait()
		}
		close(stop)
		for range 4 {
			assert.NoError(t, <-results)
		}
		if ln != nil {
			ln.Close()
		}
	}
}
