package loopback_test

import (
	"bufio"
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/loopback"
	"example.com/loopback/internal/netnstest"
)

// inChild runs the calling test again in a process of its own, which is to
// pass, started by the given command. It reports whether the caller is that
// process.
func inChild(t *testing.T, command ...string) bool {
	t.Helper()
	const marker = "LOOPBACK_TEST_CHILD"
	if os.Getenv(marker) == t.Name() {
		return true
	}
	exe, err := os.Executable()
	require.NoError(t, err)
	args := append(command, exe, "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1")
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = append(os.Environ(), marker+"="+t.Name())
	out, err := cmd.CombinedOutput()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Skipf("needs to start itself: %v", err)
	}
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: "+t.Name()+" ")
	return false
}

// acceptQueue returns how many connections wait to be accepted: proc(5),
// /proc/net/tcp, rx_queue of a socket that listens.
func acceptQueue(t *testing.T, ap netip.AddrPort) (n int) {
	t.Helper()
	file, local := "/proc/net/tcp", fmt.Sprintf(":%04X", ap.Port())
	if ap.Addr().Is6() {
		file += "6"
	}
	await(t, func() bool { // a line is lost now and then, when other sockets go while the table is read
		table, err := os.ReadFile(file)
		require.NoError(t, err)
		for line := range strings.Lines(string(table)) {
			const listening = "0A"
			if f := strings.Fields(line); strings.HasSuffix(f[1], local) && f[3] == listening {
				_, rx, _ := strings.Cut(f[4], ":")
				queued, err := strconv.ParseInt(rx, 16, 32)
				require.NoError(t, err)
				n = int(queued)
				return true
			}
		}
		return false
	})
	return n
}

// inherit makes a listener on the host of a stage.
func (s *stage) inherit(t *testing.T, spec socketSpec) inherited {
	t.Helper()
	var fd int
	var err error
	s.host.Do(func() { fd, err = spec.open() })
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		t.Skipf("not in this kernel: %v", err)
	}
	require.NoError(t, err)
	return asListener(t, fd)
}

// wantUntouched checks that a listener that was not adopted is what it was:
// open, with no option changed, and accepting.
func (s *stage) wantUntouched(t *testing.T, ln inherited, before map[string]string) {
	t.Helper()
	wantSameState(t, before, socketState(ln.fd))
	var c net.Conn
	var err error
	s.host.Do(func() { c, err = net.DialTimeout("tcp", ln.Addr().String(), 5*time.Second) })
	require.NoError(t, err)
	defer c.Close()
	ln.SetDeadline(time.Now().Add(5 * time.Second))
	got, err := ln.AcceptTCP()
	require.NoError(t, err)
	defer got.Close()
	assert.Equal(t, c.LocalAddr().String(), got.RemoteAddr().String(), "the first in the queue")
}

// adoptPacket opens sockets on the host of a stage and adopts them there.
func (s *stage) adoptPacket(t *testing.T, lc *loopback.ListenConfig, specs ...socketSpec) (c *loopback.PacketConn, fds []int, err error) {
	t.Helper()
	var given []net.PacketConn
	for _, spec := range specs {
		var fd int
		var oerr error
		s.host.Do(func() { fd, oerr = spec.open() })
		require.NoError(t, oerr)
		f := os.NewFile(uintptr(fd), "inherited")
		t.Cleanup(func() { f.Close() })
		pc, oerr := net.FilePacketConn(f)
		require.NoError(t, oerr)
		t.Cleanup(func() { pc.Close() })
		given, fds = append(given, pc), append(fds, fd)
	}
	s.host.Do(func() { c, err = lc.AdoptPacket(given...) })
	return c, fds, err
}

// listenFuncs are Listen and ListenPacket, where what is tested holds for both.
var listenFuncs = map[string]func(lc *loopback.ListenConfig, ctx context.Context, family, address string) (bound, error){
	"tcp": func(lc *loopback.ListenConfig, ctx context.Context, family, address string) (bound, error) {
		ln, err := lc.Listen(ctx, "tcp"+family, address)
		if err != nil {
			return nil, err
		}
		return ln, nil
	},
	"udp": func(lc *loopback.ListenConfig, ctx context.Context, family, address string) (bound, error) {
		pc, err := lc.ListenPacket(ctx, "udp"+family, address)
		if err != nil {
			return nil, err
		}
		return pc, nil
	},
}

// descriptors lists what is open, but for files of /sys: the runtime and the C
// library read how many processors there are whenever they like.
func descriptors(t *testing.T) []string {
	t.Helper()
	dir, err := os.Open("/proc/self/fd")
	require.NoError(t, err)
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	require.NoError(t, err)
	var open []string
	for _, name := range names {
		target, err := os.Readlink("/proc/self/fd/" + name)
		if err == nil && name != strconv.Itoa(int(dir.Fd())) && !strings.HasPrefix(target, "/sys/") {
			open = append(open, name+" "+target)
		}
	}
	slices.Sort(open)
	return open
}

// wantListenError checks an error of Listen or ListenPacket.
func wantListenError(t *testing.T, err error) *net.OpError {
	t.Helper()
	require.Error(t, err)
	op, ok := err.(*net.OpError)
	require.True(t, ok, "%T: %v", err, err)
	assert.Equal(t, "listen", op.Op, "%v", err)
	return op
}

// wantErrno checks an error of Listen that wraps errno and names addresses.
func wantErrno(t *testing.T, err error, errno syscall.Errno, addresses ...string) {
	op, ok := err.(*net.OpError)
	if assert.True(t, ok, "%T: %v", err, err) {
		assert.Equal(t, "listen", op.Op)
	}
	assert.ErrorIs(t, err, errno)
	for _, a := range addresses {
		assert.ErrorContains(t, err, a)
	}
	if ok && len(addresses) == 1 {
		assert.Contains(t, op.Addr.String(), addresses[0])
	}
}

// refuseSocket makes socket(2) fail with EAFNOSUPPORT for a family, for ever,
// in this process.
func refuseSocket(t *testing.T, family uint32) {
	t.Helper()
	filterSyscall(t, unix.SYS_SOCKET, 0, family, unix.EAFNOSUPPORT)
	_, err := unix.Socket(int(family), unix.SOCK_STREAM, 0)
	require.ErrorIs(t, err, unix.EAFNOSUPPORT)
}

// filterSyscall makes a system call whose argument has the value given fail
// with errno, for ever, in this process: seccomp(2).
func filterSyscall(t *testing.T, nr, arg, value uint32, errno unix.Errno) {
	t.Helper()
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		t.Skipf("on %s arguments are elsewhere: package syscall uses socketcall, or the words are swapped", runtime.GOARCH)
	}
	const setModeFilter, allThreads, errnoIs, allow = 1, 1, 0x00050000, 0x7fff0000
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	unless := func(k uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: k, Jf: skip}
	}
	ret := func(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }
	filter := []unix.SockFilter{
		load(0), unless(nr, 3), // struct seccomp_data: nr
		load(16 + 8*arg), unless(value, 1), // args
		ret(errnoIs | uint32(errno)),
		ret(allow),
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, setModeFilter, allThreads, uintptr(unsafe.Pointer(&prog))); errno != 0 {
		t.Skipf("needs seccomp: %v", errno)
	}
}

// blockLo makes lo swallow everything, which no flag of it shows.
func blockLo(t *testing.T) {
	t.Helper()
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	netnstest.NeedNFT(t)
	netnstest.Run(t, "nft", "table inet block { chain in { type filter hook input priority 0; iif lo drop; }; }")
}

// withSpare calls f while the process may open so many more descriptors.
func withSpare(t *testing.T, spare uint64, f func()) {
	t.Helper()
	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	// With no gap below it, the next descriptor is the first spare one.
	next, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	unix.Close(next)
	tight := limit
	tight.Cur = uint64(next) + spare
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &tight))
	f()
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
}

// healthyMachine makes the namespace a machine with nothing to find.
func healthyMachine(t *testing.T) {
	t.Helper()
	startEtc(t, hostsBoth)
	writeEtc(t, "nsswitch.conf", nsswitch)
	writeEtc(t, "resolv.conf", "nameserver 127.0.0.1\n")
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
}

// diagnose checks what holds of the report of any machine.
func diagnose(t *testing.T) *loopback.Report {
	t.Helper()
	r := diagnoseInTime(t)
	assert.True(t, slices.IsSortedFunc(r.Findings, func(a, b loopback.Finding) int {
		return int(b.Level) - int(a.Level)
	}), "findings in order of severity: %v", r.Findings)
	for _, f := range r.Findings {
		assert.NotEmpty(t, f.Message, "%v", f)
		assert.NotEmpty(t, f.Evidence, "%v", f)
		assert.Contains(t, strings.Join(strings.Fields(r.String()), " "), strings.Join(strings.Fields(f.Message), " "))
	}
	assert.True(t, strings.HasPrefix(r.String(), "loopback: "+string(r.Verdict)+"  "), "%v", r)
	return r
}

// runFix does what the report advises.
func runFix(t *testing.T, f loopback.Finding) {
	t.Helper()
	require.NotEmpty(t, f.Fix)
	netnstest.Run(t, "sh", "-c", f.Fix)
	if f.Verdict == loopback.VerdictNoIPv6 {
		settle(t)
	}
}

// awaitCarrier waits until the kernel has noticed that both ends of a veth pair
// are up.
func awaitCarrier(t *testing.T, dev string) {
	t.Helper()
	require.Eventually(t, func() bool {
		return strings.Contains(netnstest.Run(t, "ip", "link", "show", dev), "state UP")
	}, 5*time.Second, time.Millisecond)
}

// A stage is two machines on one wire: the host, which runs the service, and
// the outside, which tries to get at it. The host is 10.0.0.1 and fd00::1, the
// outside 10.0.0.2 and fd00::2.
type stage struct {
	host, outside *netnstest.Neighbour
	echo          *net.UDPConn // of the host, on its wire: for sync
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{host: netnstest.NewNeighbour(t), outside: netnstest.NewNeighbour(t)}
	s.host.Run(t, "ip", "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", s.outside.Path)
	for i, n := range []*netnstest.Neighbour{s.host, s.outside} {
		last := string(rune('1' + i))
		n.Run(t, "ip", "addr", "add", "10.0.0."+last+"/24", "dev", "wire")
		n.Run(t, "ip", "addr", "add", "fd00::"+last+"/64", "dev", "wire", "nodad")
		n.Run(t, "ip", "link", "set", "wire", "up")
	}
	var err error
	s.host.Do(func() { s.echo, err = net.ListenUDP("udp", &net.UDPAddr{Port: 4001}) })
	require.NoError(t, err)
	t.Cleanup(func() { s.echo.Close() })
	go func() {
		b := make([]byte, 1)
		for {
			n, from, err := s.echo.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			s.echo.WriteToUDPAddrPort(b[:n], from)
		}
	}()
	return s
}

// routeLocalnet lets the wire into 127.0.0.0/8 on a machine: conf is "all" or
// a device.
func routeLocalnet(t *testing.T, n *netnstest.Neighbour, conf string) {
	t.Helper()
	n.Sysctl(t, "net/ipv4/conf/"+conf+"/route_localnet", "1")
}

// aim makes the outside send what is for 127.0.0.1 and ::1 to the host.
func (s *stage) aim(t *testing.T) {
	t.Helper()
	routeLocalnet(t, s.outside, "all")
	s.outside.Run(t, "ip", "addr", "flush", "dev", "lo")
	s.outside.Run(t, "ip", "route", "add", "127.0.0.1", "via", "10.0.0.1", "src", "10.0.0.2")
	s.outside.Run(t, "ip", "-6", "route", "add", "::1", "via", "fd00::1", "src", "fd00::2")
}

// nat loads rules into the host, with hooks pre (in the place of DNAT) and in
// (of SNAT); family is ip or ip6.
func (s *stage) nat(t *testing.T, family string, pre, in string) {
	t.Helper()
	netnstest.NeedNFT(t)
	s.host.Run(t, "nft", "table "+family+" nat {\n"+
		"chain pre { type nat hook prerouting priority -100; "+pre+"; }\n"+
		"chain in { type nat hook input priority 100; "+in+"; }\n}\n")
}

// rewrite makes the host change what comes in over the wire for the service,
// by rules of both families, when it has been routed.
func (s *stage) rewrite(t *testing.T, rule4, rule6 string) {
	t.Helper()
	netnstest.NeedNFT(t)
	for family, rule := range map[string]string{"ip": rule4, "ip6": rule6} {
		s.host.Run(t, "nft", "table "+family+" rewrite {\n"+
			"chain in { type filter hook input priority 0; iifname wire udp dport "+servicePort+" "+rule+"; }\n}\n")
	}
}

// sync returns when what the outside sent before is in the sockets of the
// host: it sends a datagram of the family of at down the same wire, and waits
// for its echo.
func (s *stage) sync(t *testing.T, at string) {
	t.Helper()
	to := "10.0.0.1:4001"
	if at == "::1" {
		to = "[fd00::1]:4001"
	}
	var err error
	s.outside.Do(func() {
		var c net.Conn
		if c, err = net.Dial("udp", to); err != nil {
			return
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err = c.Write([]byte{1}); err == nil {
			_, err = c.Read(make([]byte, 1))
		}
	})
	require.NoError(t, err, "the wire")
}

// serve starts the service on the host.
func (s *stage) serve(t *testing.T, ingress loopback.Ingress) (*service, error) {
	sv := &service{events: make(chan string, 100)}
	lc := &loopback.ListenConfig{Ingress: ingress, OnReject: func(err error) { assert.ErrorIs(t, err, loopback.ErrRefused) }}
	var err, uerr error
	s.host.Do(func() {
		sv.tcp, err = lc.Listen(context.Background(), "tcp", ":"+servicePort)
		sv.udp, uerr = lc.ListenPacket(context.Background(), "udp", ":"+servicePort)
	})
	if err := errors.Join(err, uerr); err != nil {
		sv.close()
		return nil, err
	}
	sv.run()
	return sv, nil
}

// call connects or sends to a service, from an address or any, and returns
// the answer.
func call(network, from, to, say string, timeout time.Duration) (string, error) {
	d := net.Dialer{Timeout: timeout}
	if network == "udp" {
		d.Timeout = 0 // nothing is waited for
	}
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
		if network == "udp" {
			d.LocalAddr = &net.UDPAddr{IP: net.ParseIP(from)}
		}
	}
	c, err := d.Dial(network, to)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if network == "udp" {
		if _, err := c.Write([]byte(say)); err != nil {
			return "", err
		}
	}
	c.SetReadDeadline(time.Now().Add(timeout))
	b := make([]byte, 16)
	n, err := c.Read(b)
	return string(b[:n]), err
}

// local is a client of the host itself, which must be served.
func (s *stage) local(t *testing.T, network, to string) {
	t.Helper()
	var got string
	var err error
	s.host.Do(func() { got, err = call(network, "", net.JoinHostPort(to, servicePort), "local", 5*time.Second) })
	require.NoError(t, err, "a local client, %s %s", network, to)
	require.Equal(t, "served", got)
}

// reach says what lets an attack through.
type reach int

const (
	nobody    reach = iota // it is stopped before it gets to any socket
	anyOnly                // IngressAny lets it through, a look at the remote address does not
	remoteToo              // so does IngressRemote
)

// through reports whether an attack that reaches so far gets through a rung.
func (r reach) through(ingress loopback.Ingress) bool {
	return ingress == loopback.IngressAny && r >= anyOnly || ingress == loopback.IngressRemote && r >= remoteToo
}

// reached carries out an attack, and reports whether it got through to the
// service. If it should, that is waited for.
func (s *stage) reached(t *testing.T, sv *service, a attack, expected bool) bool {
	t.Helper()
	timeout := 100 * time.Millisecond // for what is dropped; the rest is refused at once
	if expected {
		timeout = 5 * time.Second
	}
	want := "tcp"
	if a.network == "udp" {
		want, timeout = "udp attack", time.Millisecond // no answer is waited for
	}
	for len(sv.events) > 0 { // of clients before
		<-sv.events
	}
	var err error
	s.outside.Do(func() { _, err = call(a.network, a.from, net.JoinHostPort(a.to, servicePort), "attack", timeout) })
	if expected {
		select {
		case got := <-sv.events:
			return assert.Equal(t, want, got)
		case <-time.After(5 * time.Second):
			t.Log("the attack:", err)
			return false
		}
	}
	// The service takes what waits in turn: when a later client has been
	// served, it has seen all that came over the wire.
	s.sync(t, a.at)
	s.local(t, a.network, a.at)
	seen := 0
	for len(sv.events) > 0 {
		if <-sv.events == want {
			seen++
		}
	}
	if a.network == "tcp" {
		seen-- // the later client
	}
	return seen > 0
}

// A service of adopted sockets, to which Adopt and AdoptPacket set nothing.
func (s *stage) adopted(t *testing.T, ingress loopback.Ingress) (*loopback.Listener, *loopback.PacketConn, error) {
	t.Helper()
	lc := &loopback.ListenConfig{Ingress: ingress}
	var lns []net.Listener
	var pcs []net.PacketConn
	var ln *loopback.Listener
	var pc *loopback.PacketConn
	var err error
	s.host.Do(func() {
		for _, spec := range []socketSpec{
			{family: v4, typ: stream, bind: service4, options: options(reuseaddr), listen: true},
			{family: v6, typ: stream, bind: service6, options: options(only6, reuseaddr), listen: true},
			{family: v4, typ: dgram, bind: service4, options: options(pktinfo4)},
			{family: v6, typ: dgram, bind: service6, options: options(only6, pktinfo6)},
		} {
			var fd int
			if fd, err = spec.open(); err != nil {
				return
			}
			f := os.NewFile(uintptr(fd), "given")
			defer f.Close()
			if spec.listen {
				var given net.Listener
				if given, err = net.FileListener(f); err == nil {
					lns = append(lns, given)
				}
			} else {
				var given net.PacketConn
				if given, err = net.FilePacketConn(f); err == nil {
					pcs = append(pcs, given)
				}
			}
			if err != nil {
				return
			}
		}
		if ln, err = lc.Adopt(lns...); err == nil {
			if pc, err = lc.AdoptPacket(pcs...); err != nil {
				ln.Close()
			}
		}
	})
	if err != nil {
		for _, given := range lns {
			given.Close()
		}
		for _, given := range pcs {
			given.Close()
		}
	}
	return ln, pc, err
}

const peerChild = "LOOPBACK_TEST_PEER"

// A peer is a process of another user that does as it is told: "dial ADDR",
// "write", "closewrite", "close", "reset", "setuid UID", "exit". It answers each
// with a line.
type peer struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func newPeer(t *testing.T, attr *syscall.SysProcAttr) *peer {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestPeerChild$", "-test.count=1")
	cmd.Dir, cmd.Env, cmd.SysProcAttr, cmd.Stderr = "/", append(os.Environ(), peerChild+"=1"), attr, os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return &peer{t: t, cmd: cmd, in: in, out: bufio.NewReader(out)}
}

func asUser(uid uint32) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}, Pdeathsig: syscall.SIGKILL}
}

// do sends a command and waits until it is done.
func (p *peer) do(command string) {
	p.t.Helper()
	require.Equal(p.t, "done\n", p.ask(command), command)
}

// ask sends a command and returns what comes of it.
func (p *peer) ask(command string) string {
	p.t.Helper()
	fmt.Fprintln(p.in, command)
	line, err := p.out.ReadString('\n')
	require.NoError(p.t, err, command)
	return line
}

// connected returns a peer of a user that is connected to addr, and the server's
// end of that.
func connected(t *testing.T, uid uint32, addr string) (*peer, *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	defer ln.Close()
	p := newPeer(t, asUser(uid))
	p.do("dial " + strings.Replace(ln.Addr().String(), "[::]", "127.0.0.1", 1))
	c, err := ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return p, c.(*net.TCPConn)
}

const probePort = 3000

// listen listens on addr in the test's namespace.
func listen(t *testing.T, network, addr string) {
	t.Helper()
	address := net.JoinHostPort(addr, strconv.Itoa(probePort))
	var ln io.Closer
	var err error
	if strings.HasPrefix(network, "udp") {
		ln, err = net.ListenPacket(network, address)
	} else {
		ln, err = net.Listen(network, address)
	}
	require.NoError(t, err)
	t.Cleanup(func() { ln.Close() })
}

// filter adds a rule to the input of the test's namespace.
func filter(t *testing.T, rule string) {
	t.Helper()
	netnstest.NeedNFT(t)
	netnstest.Run(t, "nft", "table inet t { chain in { type filter hook input priority 0; "+rule+"; }; }")
	t.Cleanup(func() { exec.Command("nft", "delete table inet t").Run() })
}

// attempts returns "ADDR SOURCE OUTCOME" of each.
func attempts(r *loopback.PortReport) []string {
	var lines []string
	for _, a := range r.Attempts {
		lines = append(lines, fmt.Sprintf("%v %s %v", a.Addr.Addr(), a.Source, a.Connect))
	}
	return lines
}

func findings(r *loopback.PortReport) []string {
	lines := []string{}
	for _, f := range r.Findings {
		lines = append(lines, f.Level.String()+" "+string(f.Verdict))
	}
	return lines
}

// fillPorts takes every port of TCP or UDP that the kernel chooses from, in a
// namespace of the test's own, until the test ends.
func fillPorts(t *testing.T, transport string) {
	t.Helper()
	const ports = "net/ipv4/ip_local_port_range"
	before, err := os.ReadFile("/proc/sys/" + ports)
	require.NoError(t, err)
	t.Cleanup(func() { netnstest.Sysctl(t, ports, strings.TrimSpace(string(before))) })
	netnstest.Sysctl(t, ports, "40000 40009")
	for _, family := range []string{"4", "6"} {
		for {
			var c io.Closer
			if transport == "tcp" {
				c, err = net.Listen("tcp"+family, ":0")
			} else {
				c, err = net.ListenPacket("udp"+family, ":0")
			}
			if err != nil {
				require.ErrorIs(t, err, syscall.EADDRINUSE)
				break
			}
			t.Cleanup(func() { c.Close() })
		}
	}
}

// settle waits until the kernel has looked for other owners of ::1, which cannot be
// bound before, and has made the route to it.
func settle(t *testing.T) {
	t.Helper()
	ip := func(args ...string) string { return netnstest.Run(t, "ip", append([]string{"-6"}, args...)...) }
	require.Eventually(t, func() bool {
		return ip("addr", "show", "to", "::1", "tentative") == "" &&
			(ip("addr", "show", "to", "::1") == "" || strings.Contains(ip("route", "show", "table", "local"), "local ::1 "))
	}, patience, time.Millisecond)
}

// ownEtc puts an empty /etc in place of the machine's. Call it in a namespace.
func ownEtc(t *testing.T) {
	t.Helper()
	require.NoError(t, unix.Mount("etc", "/etc", "tmpfs", 0, ""))
}

func writeEtc(t *testing.T, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join("/etc", name), []byte(text), 0o644))
}

// needGlibc skips the test where the resolver of package net cannot be that of
// the GNU C library.
func needGlibc(t *testing.T) {
	t.Helper()
	info, _ := debug.ReadBuildInfo()
	if !slices.Contains(info.Settings, debug.BuildSetting{Key: "CGO_ENABLED", Value: "1"}) {
		t.Skip("this test binary has no cgo")
	}
	exe, err := elf.Open("/proc/self/exe")
	require.NoError(t, err)
	defer exe.Close()
	if interp := exe.Section(".interp"); interp != nil {
		loader, err := interp.Data()
		require.NoError(t, err)
		if bytes.Contains(loader, []byte("musl")) {
			t.Skipf("needs the GNU C library: %q", loader)
		}
	}
}

// newNameServer starts a nameServer on a UDP port.
func newNameServer(t *testing.T, addr string) *nameServer {
	t.Helper()
	s := new(nameServer)
	conn, err := net.ListenPacket("udp4", addr)
	require.NoError(t, err)
	done := make(chan struct{})
	t.Cleanup(func() { conn.Close(); <-done })
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer := s.answer(buf[:n]); answer != nil {
				conn.WriteTo(answer, from)
			}
		}
	}()
	return s
}

const (
	hostsBoth  = "127.0.0.1 localhost\n::1 localhost\n"
	nsswitch   = "hosts: files dns\n"
	resolvConf = "nameserver 127.0.0.53\nsearch corp.example\n"
)

// startEtc puts an ordinary /etc with a hosts file in place, without a DNS server.
func startEtc(t *testing.T, hosts string) {
	t.Helper()
	ownEtc(t)
	writeEtc(t, "host.conf", "multi on\n")
	writeEtc(t, "nsswitch.conf", "hosts: files\n")
	writeEtc(t, "hosts", hosts)
}

// rejections collects what OnReject is called with.
type rejections struct {
	mu   sync.Mutex
	errs []error
}

func (r *rejections) add(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errs = append(r.errs, err)
}

func (r *rejections) all() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.errs
}
