package loopback_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
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

// A socketSpec is a socket that was not made by package net.
type socketSpec struct {
	family, typ, proto int
	options            [][3]int // level, option, value
	device             string   // for SO_BINDTODEVICE
	bind               string   // "127.0.0.1:0"; a mapped address stays one
	connect            string
	listen             bool
}

// open makes the socket, in the namespace of the calling thread.
func (s socketSpec) open() (fd int, err error) {
	if fd, err = unix.Socket(s.family, s.typ|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, s.proto); err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	for _, o := range s.options {
		if err := unix.SetsockoptInt(fd, o[0], o[1], o[2]); err != nil {
			return -1, fmt.Errorf("setsockopt %v: %w", o, err)
		}
	}
	if s.device != "" {
		if err := unix.BindToDevice(fd, s.device); err != nil {
			return -1, os.NewSyscallError("bind to device", err)
		}
	}
	if s.bind != "" {
		if err := unix.Bind(fd, sockaddr(s.family, s.bind)); err != nil {
			return -1, os.NewSyscallError("bind", err)
		}
	}
	if s.connect != "" {
		if err := unix.Connect(fd, sockaddr(s.family, s.connect)); err != nil && err != unix.EINPROGRESS {
			return -1, os.NewSyscallError("connect", err)
		}
	}
	if s.listen {
		if err := unix.Listen(fd, 16); err != nil {
			return -1, os.NewSyscallError("listen", err)
		}
	}
	return fd, nil
}

func sockaddr(family int, address string) unix.Sockaddr {
	ap := netip.MustParseAddrPort(address)
	if family == unix.AF_INET {
		return &unix.SockaddrInet4{Addr: ap.Addr().As4(), Port: int(ap.Port())}
	}
	sa := &unix.SockaddrInet6{Addr: ap.Addr().As16(), Port: int(ap.Port())}
	if ifi, err := net.InterfaceByName(ap.Addr().Zone()); err == nil {
		sa.ZoneId = uint32(ifi.Index)
	}
	return sa
}

// Names for the table of sockets.
const (
	v4     = unix.AF_INET
	v6     = unix.AF_INET6
	stream = unix.SOCK_STREAM
	dgram  = unix.SOCK_DGRAM
	mptcp  = unix.IPPROTO_MPTCP
)

var (
	freebind4    = [3]int{unix.IPPROTO_IP, unix.IP_FREEBIND, 1}
	freebind6    = [3]int{unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1}
	transparent4 = [3]int{unix.IPPROTO_IP, unix.IP_TRANSPARENT, 1}
	transparent6 = [3]int{unix.IPPROTO_IPV6, unix.IPV6_TRANSPARENT, 1}
	pktinfo4     = [3]int{unix.IPPROTO_IP, unix.IP_PKTINFO, 1}
	pktinfo6     = [3]int{unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1}
	reuseport    = [3]int{unix.SOL_SOCKET, unix.SO_REUSEPORT, 1}
	reuseaddr    = [3]int{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}
	only6        = [3]int{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1}
)

func options(o ...[3]int) [][3]int { return o }

// What Verify says of the sockets of the table.
const (
	everyInterface = "the socket is bound to every interface"
	notBound       = "the socket is not bound"
	isTransparent  = "the socket has IP_TRANSPARENT, and is given connections to other addresses"
	notInternet    = "the socket is not an internet socket"
)

// socketTable is what Verify has to judge, on the host of a stage that has the
// interface wire and route_localnet. The sockets that listen are for Adopt too.
var socketTable = []struct {
	name string
	spec socketSpec
	why  string // what the refusal says; "" if the socket is loopback
}{
	{"listener", socketSpec{family: v4, typ: stream, bind: "127.0.0.1:0", listen: true}, ""},
	{"listener elsewhere in 127/8", socketSpec{family: v4, typ: stream, bind: "127.9.8.7:0", listen: true}, ""},
	{"IPv6 listener", socketSpec{family: v6, typ: stream, bind: "[::1]:0", listen: true}, ""},
	{"listener on a mapped address", socketSpec{family: v6, typ: stream, bind: "[::ffff:127.0.0.1]:0", listen: true}, ""},
	{"listener with FREEBIND", socketSpec{family: v4, typ: stream, options: options(freebind4), bind: "127.0.0.1:0", listen: true}, ""},
	{"IPv6 listener with FREEBIND", socketSpec{family: v6, typ: stream, options: options(freebind6), bind: "[::1]:0", listen: true}, ""},
	{"listener with REUSEPORT", socketSpec{family: v4, typ: stream, options: options(reuseport), bind: "127.0.0.1:0", listen: true}, ""},
	{"listener with REUSEADDR", socketSpec{family: v6, typ: stream, options: options(reuseaddr), bind: "[::1]:0", listen: true}, ""},
	{"listener bound to lo", socketSpec{family: v4, typ: stream, device: "lo", bind: "127.0.0.1:0", listen: true}, ""},
	{"IPv6 listener bound to lo", socketSpec{family: v6, typ: stream, device: "lo", bind: "[::1]:0", listen: true}, ""},
	{"MPTCP listener", socketSpec{family: v4, typ: stream, proto: mptcp, bind: "127.0.0.1:0", listen: true}, ""},
	{"IPv6 MPTCP listener", socketSpec{family: v6, typ: stream, proto: mptcp, bind: "[::1]:0", listen: true}, ""},
	{"mapped MPTCP listener", socketSpec{family: v6, typ: stream, proto: mptcp, bind: "[::ffff:127.0.0.1]:0", listen: true}, ""},

	{"wildcard listener", socketSpec{family: v4, typ: stream, bind: "0.0.0.0:0", listen: true}, everyInterface},
	{"IPv6 wildcard listener", socketSpec{family: v6, typ: stream, bind: "[::]:0", listen: true}, everyInterface},
	{"IPv6-only wildcard listener", socketSpec{family: v6, typ: stream, options: options(only6), bind: "[::]:0", listen: true}, everyInterface},
	{"mapped wildcard listener", socketSpec{family: v6, typ: stream, bind: "[::ffff:0.0.0.0]:0", listen: true}, everyInterface},
	{"wildcard MPTCP listener", socketSpec{family: v6, typ: stream, proto: mptcp, bind: "[::]:0", listen: true}, everyInterface},
	{"wildcard listener bound to lo", socketSpec{family: v4, typ: stream, device: "lo", bind: "0.0.0.0:0", listen: true}, everyInterface},
	{"listener without a bind", socketSpec{family: v4, typ: stream, listen: true}, everyInterface},
	{"listener on the wire", socketSpec{family: v4, typ: stream, bind: "10.0.0.1:0", listen: true}, "the socket is bound to 10.0.0.1"},
	{"IPv6 listener on the wire", socketSpec{family: v6, typ: stream, bind: "[fd00::1]:0", listen: true}, "the socket is bound to fd00::1"},
	{"listener with FREEBIND elsewhere", socketSpec{family: v4, typ: stream, options: options(freebind4), bind: "192.0.2.77:0", listen: true}, "the socket is bound to 192.0.2.77"},
	{"IPv6 listener with FREEBIND elsewhere", socketSpec{family: v6, typ: stream, options: options(freebind6), bind: "[2001:db8::7]:0", listen: true}, "the socket is bound to 2001:db8::7"},
	{"listener with TRANSPARENT", socketSpec{family: v4, typ: stream, options: options(transparent4), bind: "127.0.0.1:0", listen: true}, isTransparent},
	{"IPv6 listener with TRANSPARENT", socketSpec{family: v6, typ: stream, options: options(transparent6), bind: "[::1]:0", listen: true}, isTransparent},
	{"mapped listener with TRANSPARENT", socketSpec{family: v6, typ: stream, options: options(transparent4), bind: "[::ffff:127.0.0.1]:0", listen: true}, isTransparent},
	{"MPTCP listener with TRANSPARENT", socketSpec{family: v4, typ: stream, proto: mptcp, options: options(transparent4), bind: "127.0.0.1:0", listen: true}, isTransparent},
	{"listener bound to the wire", socketSpec{family: v4, typ: stream, device: "wire", bind: "127.0.0.1:0", listen: true}, ", which is not the loopback interface"},

	// The rest does not listen.
	{"bound", socketSpec{family: v4, typ: stream, bind: "127.0.0.1:0"}, ""},
	{"bound to no port yet", socketSpec{family: v4, typ: stream, options: options([3]int{unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1}), bind: "127.0.0.1:0"}, ""},
	{"not bound", socketSpec{family: v4, typ: stream}, notBound},
	{"IPv6, not bound", socketSpec{family: v6, typ: stream}, notBound},
	{"MPTCP, not bound", socketSpec{family: v4, typ: stream, proto: mptcp}, notBound},
	{"UDP", socketSpec{family: v4, typ: dgram, bind: "127.0.0.1:0"}, ""},
	{"IPv6 UDP", socketSpec{family: v6, typ: dgram, bind: "[::1]:0"}, ""},
	{"mapped UDP", socketSpec{family: v6, typ: dgram, bind: "[::ffff:127.0.0.1]:0"}, ""},
	{"UDP, connected", socketSpec{family: v4, typ: dgram, bind: "127.0.0.1:0", connect: "127.0.0.1:9"}, ""},
	{"UDP, connected, not bound before", socketSpec{family: v4, typ: dgram, connect: "127.0.0.1:9"}, ""},
	{"mapped UDP, connected", socketSpec{family: v6, typ: dgram, connect: "[::ffff:127.0.0.1]:9"}, ""},
	{"UDP, not bound", socketSpec{family: v4, typ: dgram}, notBound},
	{"wildcard UDP", socketSpec{family: v4, typ: dgram, bind: "0.0.0.0:0"}, everyInterface},
	{"IPv6 wildcard UDP", socketSpec{family: v6, typ: dgram, bind: "[::]:0"}, everyInterface},
	{"UDP with TRANSPARENT", socketSpec{family: v4, typ: dgram, options: options(transparent4), bind: "127.0.0.1:0"}, isTransparent},
	{"UDP for multicast", socketSpec{family: v4, typ: dgram, bind: "224.0.0.251:0"}, "the socket is bound to 224.0.0.251"},
	{"UDP, connected over the wire", socketSpec{family: v4, typ: dgram, connect: "10.0.0.2:9"}, "the socket is bound to 10.0.0.1"},
	{"UDP on loopback, connected over the wire", socketSpec{family: v4, typ: dgram, bind: "127.0.0.1:0", connect: "10.0.0.2:9"}, "the socket is connected to 10.0.0.2:9"},
	{"raw", socketSpec{family: v4, typ: unix.SOCK_RAW, proto: unix.IPPROTO_ICMP, bind: "127.0.0.1:0"}, ""},
	{"raw wildcard", socketSpec{family: v4, typ: unix.SOCK_RAW, proto: unix.IPPROTO_ICMP}, everyInterface},

	{"unix", socketSpec{family: unix.AF_UNIX, typ: stream}, notInternet},
	{"netlink", socketSpec{family: unix.AF_NETLINK, typ: unix.SOCK_RAW}, notInternet},
	{"packet", socketSpec{family: unix.AF_PACKET, typ: unix.SOCK_RAW}, notInternet},
	{"kernel crypto", socketSpec{family: unix.AF_ALG, typ: unix.SOCK_SEQPACKET}, notInternet},
	{"XDP", socketSpec{family: unix.AF_XDP, typ: unix.SOCK_RAW}, notInternet},
}

// forSockets makes the stage that socketTable is for.
func forSockets(t *testing.T) *stage {
	t.Helper()
	s := newStage(t)
	s.aim(t)
	routeLocalnet(t, s.host, "all")
	return s
}

// Every socket is judged in the test's own namespace too, where it is a
// foreign one: whose loopback it is does not matter.
func TestVerifySockets(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	s := forSockets(t)
	for _, tt := range socketTable {
		t.Run(tt.name, func(t *testing.T) {
			var f *os.File
			var there error
			var before, after map[string]string
			s.host.Do(func() {
				fd, err := tt.spec.open()
				if there = err; err != nil {
					return
				}
				f = os.NewFile(uintptr(fd), "socket")
				before = socketState(fd)
				there = loopback.Verify(f)
				after = socketState(fd)
			})
			if f == nil {
				if errors.Is(there, unix.EPROTONOSUPPORT) || errors.Is(there, unix.EAFNOSUPPORT) {
					t.Skipf("not in this kernel: %v", there)
				}
				t.Fatal(there)
			}
			defer f.Close()
			wantSameState(t, before, after)
			for where, err := range map[string]error{"there": there, "here": loopback.Verify(f)} {
				if tt.why == "" {
					assert.NoError(t, err, where)
					continue
				}
				require.ErrorIs(t, err, loopback.ErrNotLoopback, where)
				op, ok := err.(*net.OpError)
				require.True(t, ok, "%T", err)
				assert.Equal(t, "verify", op.Op)
				text := op.Err.Error()
				if tt.spec.device == "wire" { // it is named by its number
					text = regexp.MustCompile(`the socket is bound to interface \d+`).ReplaceAllString(text, "")
				}
				assert.Equal(t, "loopback: not a loopback address: "+tt.why, text)
				assert.Equal(t, op.Addr == nil, op.Net == "socket")
				if op.Addr != nil {
					assert.Equal(t, map[int]string{stream: "tcp", dgram: "udp", unix.SOCK_RAW: "ip"}[tt.spec.typ], op.Net)
					assert.True(t, strings.HasPrefix(op.Addr.Network(), op.Net))
				}
			}
		})
	}
}

func TestVerifyOthers(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	s := forSockets(t)
	t.Run("a connection from outside", func(t *testing.T) {
		var inside, outside net.Conn
		var ln net.Listener
		var err error
		s.host.Do(func() { ln, err = net.Listen("tcp4", "127.0.0.1:"+servicePort) })
		require.NoError(t, err)
		defer ln.Close()
		s.outside.Do(func() { outside, err = net.DialTimeout("tcp4", "127.0.0.1:"+servicePort, 5*time.Second) })
		require.NoError(t, err)
		defer outside.Close()
		inside, err = ln.Accept()
		require.NoError(t, err)
		defer inside.Close()
		err = loopback.Verify(inside.(*net.TCPConn))
		require.ErrorIs(t, err, loopback.ErrNotLoopback)
		assert.ErrorContains(t, err, "connected to 10.0.0.2:")

		outside.Close()
		_, err = io.Copy(io.Discard, inside)
		require.NoError(t, err)
		assert.ErrorIs(t, loopback.Verify(inside.(*net.TCPConn)), loopback.ErrNotLoopback, "half closed")
	})
	t.Run("a local connection", func(t *testing.T) {
		var ln net.Listener
		var c net.Conn
		var err error
		s.host.Do(func() {
			if ln, err = net.Listen("tcp", "[::1]:0"); err == nil {
				c, err = net.Dial("tcp", ln.Addr().String())
			}
		})
		require.NoError(t, err)
		defer ln.Close()
		defer c.Close()
		inside, err := ln.Accept()
		require.NoError(t, err)
		defer inside.Close()
		assert.NoError(t, loopback.Verify(c.(*net.TCPConn)))
		assert.NoError(t, loopback.Verify(inside.(*net.TCPConn)))
	})
	t.Run("no sockets", func(t *testing.T) {
		r, w, err := os.Pipe()
		require.NoError(t, err)
		defer r.Close()
		defer w.Close()
		null, err := os.Open("/dev/null")
		require.NoError(t, err)
		defer null.Close()
		file, err := os.Create(t.TempDir() + "/file")
		require.NoError(t, err)
		defer file.Close()
		for _, f := range []*os.File{r, w, null, file} {
			err := loopback.Verify(f)
			require.ErrorIs(t, err, loopback.ErrNotLoopback)
			assert.ErrorContains(t, err, "not a socket")
			assert.IsType(t, (*net.OpError)(nil), err)
		}
	})
	t.Run("closed", func(t *testing.T) {
		netnstest.Run(t, "ip", "link", "set", "lo", "up")
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		f, err := ln.(*net.TCPListener).File()
		require.NoError(t, err)
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		require.NoError(t, err)
		ln.Close()
		pc.Close()
		assert.NoError(t, loopback.Verify(f), "the descriptor is another")
		f.Close()
		var nobody *net.TCPListener
		for _, err := range []error{
			loopback.Verify(ln.(*net.TCPListener)), loopback.Verify(pc.(*net.UDPConn)), loopback.Verify(f),
		} {
			require.ErrorIs(t, err, net.ErrClosed)
			assert.NotErrorIs(t, err, loopback.ErrNotLoopback)
			assert.IsType(t, (*net.OpError)(nil), err)
		}
		assert.Error(t, loopback.Verify(nobody))
	})
}

// Require in real calls of package net, which hands it addresses in several
// shapes, and calls it twice where multipath TCP fails.
func TestRequireShapes(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	dir := t.TempDir()
	for _, tt := range []struct {
		network, address string
		ok               bool
	}{
		{"tcp", "127.0.0.1:4000", true},
		{"tcp", "[::1]:4000", true},
		{"tcp", "[::1%lo]:4000", true},
		{"tcp", "[::ffff:127.0.0.1]:4000", true},
		{"udp", "127.0.0.1:4000", true},
		{"udp", "[::1%lo]:4000", true},
		{"ip4:icmp", "127.0.0.1", true},
		{"ip6:ipv6-icmp", "::1", true},
		{"tcp", ":4000", false},
		{"tcp4", ":4000", false},
		{"tcp", "0.0.0.0:4000", false},
		{"tcp", "[::]:4000", false},
		{"udp", ":4000", false},
		{"udp4", "0.0.0.0:4000", false},
		{"ip4:icmp", "0.0.0.0", false},
		{"unix", dir + "/socket", false},
		{"unixgram", dir + "/socket", false},
		{"unix", "@abstract", false},
	} {
		for _, multipath := range []bool{false, true} {
			before := descriptors(t)
			calls := 0
			lc := net.ListenConfig{Control: func(network, address string, c syscall.RawConn) error {
				calls++
				return loopback.Require(network, address, c)
			}}
			lc.SetMultipathTCP(multipath)
			var c io.Closer
			var err error
			if strings.HasPrefix(tt.network, "tcp") || tt.network == "unix" {
				c, err = lc.Listen(t.Context(), tt.network, tt.address)
			} else {
				c, err = lc.ListenPacket(t.Context(), tt.network, tt.address)
			}
			if tt.ok {
				if assert.NoError(t, err, "%s %s", tt.network, tt.address) {
					c.Close()
				}
			} else {
				assert.ErrorIs(t, err, loopback.ErrNotLoopback, "%s %s", tt.network, tt.address)
			}
			assert.Equal(t, before, descriptors(t))
			assert.NotZero(t, calls)
		}
	}
}

// Older kernels do not tell whether a multipath listener, which net.Listen
// makes, has IP_TRANSPARENT; before Linux 5.0 a socket does not tell its
// interface by index; imitations of Linux do not know some options at all.
func TestVerifyOlderKernels(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	netnstest.Run(t, "ip", "link", "add", "wire", "type", "veth", "peer", "name", "end")
	multipath := socketSpec{family: v6, typ: stream, proto: mptcp, bind: "[::1]:0", listen: true}
	want := func(why string, specs ...socketSpec) {
		t.Helper()
		for _, spec := range specs {
			fd, err := spec.open()
			if errors.Is(err, unix.EPROTONOSUPPORT) {
				t.Logf("not in this kernel: %v", err)
				continue
			}
			require.NoError(t, err)
			f := os.NewFile(uintptr(fd), "socket")
			defer f.Close()
			if err := loopback.Verify(f); why == "" {
				assert.NoError(t, err)
			} else {
				assert.ErrorContains(t, err, why)
			}
		}
	}
	onDevice := func(spec socketSpec, name string) socketSpec {
		spec.device = name
		return spec
	}
	filterSyscall(t, unix.SYS_GETSOCKOPT, 2, unix.SO_BINDTOIFINDEX, unix.ENOPROTOOPT)
	want("", plain4, plain6, multipath, onDevice(plain4, "lo"), onDevice(plain6, "lo"))
	want("interface wire", onDevice(plain4, "wire"))
	filterSyscall(t, unix.SYS_GETSOCKOPT, 2, unix.IP_TRANSPARENT, unix.ENOPROTOOPT)
	want("", plain4)
	filterSyscall(t, unix.SYS_GETSOCKOPT, 2, unix.IPV6_TRANSPARENT, unix.EOPNOTSUPP)
	want("", multipath)
	want("IP_TRANSPARENT: operation not supported", plain6)
	filterSyscall(t, unix.SYS_GETSOCKOPT, 2, unix.SO_BINDTODEVICE, unix.EPERM)
	want("SO_BINDTODEVICE: operation not permitted", plain4, onDevice(plain4, "wire"))
}

// wantSameState compares two socketStates.
func wantSameState(t *testing.T, before, after map[string]string) {
	t.Helper()
	assert.Greater(t, len(before), 3)
	assert.Len(t, after, len(before))
	for name, value := range before {
		assert.Equal(t, value, after[name], name)
	}
}

// socketState is all that can be asked about a socket, but what changes by
// itself.
func socketState(fd int) map[string]string {
	state := make(map[string]string)
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	state["flags"] = fmt.Sprint(flags, err)
	flags, err = unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	state["descriptor flags"] = fmt.Sprint(flags, err)
	for level, last := range map[int]int{unix.SOL_SOCKET: 84, unix.IPPROTO_IP: 60, unix.IPPROTO_IPV6: 80, unix.IPPROTO_TCP: 46} {
		for opt := 1; opt <= last; opt++ {
			switch [2]int{level, opt} {
			case [2]int{unix.SOL_SOCKET, unix.SO_ERROR}, // asking resets it
				[2]int{unix.SOL_SOCKET, unix.SO_MEMINFO}, [2]int{unix.SOL_SOCKET, unix.SO_INCOMING_CPU},
				[2]int{unix.SOL_SOCKET, unix.SO_INCOMING_NAPI_ID}, [2]int{unix.IPPROTO_TCP, unix.TCP_INFO}, [2]int{unix.IPPROTO_TCP, unix.TCP_TIMESTAMP}:
				continue
			}
			var b [256]byte
			n := uint32(len(b))
			_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(opt),
				uintptr(unsafe.Pointer(&b)), uintptr(unsafe.Pointer(&n)), 0)
			if errno == 0 {
				state[fmt.Sprintf("option %d/%d", level, opt)] = fmt.Sprintf("%x", b[:n])
			}
		}
	}
	return state
}
