package loopback_test

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/loopback"
	"example.com/loopback/internal/faulttest"
	"example.com/loopback/internal/netnstest"
)

// listed returns what Sockets and Exposed say of a descriptor.
func listed(t *testing.T, fd int) (s loopback.Socket, ok bool) {
	t.Helper()
	all, err := loopback.Sockets()
	require.NoError(t, err)
	exposed, err := loopback.Exposed()
	require.NoError(t, err)
	for _, s := range all {
		if s.FD == fd {
			assert.Equal(t, s.Exposed, slices.Contains(exposed, s), "%v", s)
			return s, true
		}
	}
	return s, false
}

// The sockets are of another network namespace than the test.
func TestSocketsOfEveryKind(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	s := forSockets(t)
	for _, tt := range socketTable {
		t.Run(tt.name, func(t *testing.T) {
			var fd int
			var err error
			s.host.Do(func() { fd, err = tt.spec.open() })
			if err != nil {
				t.Skipf("needs such a socket: %v", err)
			}
			defer unix.Close(fd)
			hears := tt.spec.listen
			if typ := tt.spec.typ; typ != stream && typ != unix.SOCK_SEQPACKET {
				internet := tt.spec.family == v4 || tt.spec.family == v6
				switch {
				case tt.spec.family == unix.AF_NETLINK:
				case internet && typ == dgram:
					hears = tt.spec.bind != "" && tt.spec.connect == ""
				default:
					hears = true
				}
			}
			got, ok := listed(t, fd)
			require.Equal(t, hears, ok, "%v", got)
			if !ok {
				return
			}
			assert.Equal(t, tt.why != "" || tt.spec.typ == unix.SOCK_RAW, got.Exposed, "%v", got)
			switch sa, _ := unix.Getsockname(fd); sa := sa.(type) {
			case *unix.SockaddrInet4:
				assert.Equal(t, netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)), got.Addr)
			case *unix.SockaddrInet6:
				assert.Equal(t, netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port)), got.Addr)
			default:
				assert.False(t, got.Addr.IsValid())
			}
			network := map[int]string{stream: "tcp", dgram: "udp", unix.SOCK_RAW: "ip"}[tt.spec.typ]
			if tt.why == notInternet {
				network = map[int]string{unix.AF_PACKET: "packet", unix.AF_XDP: "xdp"}[tt.spec.family]
			}
			assert.Equal(t, network, got.Network)
		})
	}
}

// Verify asks for the address alone, the audit for who can send.
func TestExposedSeesRawSockets(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	for _, tt := range []struct {
		spec           socketSpec
		local          string
		listed, passes bool
	}{
		{socketSpec{family: v4, proto: unix.IPPROTO_ICMP, bind: "127.0.0.1:0"}, "127.0.0.1:1", true, true},
		{socketSpec{family: v6, proto: unix.IPPROTO_ICMPV6, bind: "[::1]:0"}, "[::1]:58", true, true},
		{socketSpec{family: v6, proto: unix.IPPROTO_TCP, bind: "[::1]:0"}, "[::1]:6", true, true},
		{socketSpec{family: v4, proto: unix.IPPROTO_UDP}, "0.0.0.0:17", true, false},
		{socketSpec{family: v4, proto: unix.IPPROTO_ICMP, bind: "127.0.0.1:0", connect: "127.0.0.1:0"}, "", false, true},
		{socketSpec{family: v6, proto: unix.IPPROTO_ICMPV6, connect: "[::1]:0"}, "", false, true},
	} {
		tt.spec.typ = unix.SOCK_RAW
		fd, err := tt.spec.open()
		require.NoError(t, err)
		got, ok := listed(t, fd)
		assert.Equal(t, tt.listed, ok, "%v", tt.spec)
		if ok {
			assert.Equal(t, loopback.Socket{Network: "ip", Addr: netip.MustParseAddrPort(tt.local), FD: fd, Exposed: true}, got)
		}
		f := os.NewFile(uintptr(fd), "raw")
		err = loopback.Verify(f)
		assert.Equal(t, tt.passes, err == nil, "%v", err)
		f.Close()
	}
}

func TestExposedSeesVsock(t *testing.T) {
	for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_SEQPACKET} {
		fd, err := unix.Socket(unix.AF_VSOCK, typ|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Skipf("needs vsock: %v", err)
		}
		defer unix.Close(fd)
		_, ok := listed(t, fd)
		assert.False(t, ok, "it does not listen")
		require.NoError(t, unix.Bind(fd, &unix.SockaddrVM{CID: unix.VMADDR_CID_ANY, Port: unix.VMADDR_PORT_ANY}))
		require.NoError(t, unix.Listen(fd, 1))
		got, ok := listed(t, fd)
		assert.True(t, ok)
		assert.Equal(t, loopback.Socket{Network: "vsock", FD: fd, Exposed: true}, got)
	}
}

func TestSocketsNamesTheProtocol(t *testing.T) {
	for _, tt := range []struct {
		network         string
		family, typ, is int
	}{
		{"udplite", v4, dgram, unix.IPPROTO_UDPLITE},
		{"sctp", v4, stream, unix.IPPROTO_SCTP},
		{"dccp", v4, unix.SOCK_DCCP, unix.IPPROTO_DCCP},
		{"icmp", v4, dgram, unix.IPPROTO_ICMP},
	} {
		t.Run(tt.network, func(t *testing.T) {
			fd, err := unix.Socket(tt.family, tt.typ|unix.SOCK_CLOEXEC, tt.is)
			if err != nil {
				t.Skipf("needs the protocol: %v", err)
			}
			defer unix.Close(fd)
			require.NoError(t, unix.Bind(fd, sockaddr(tt.family, "127.0.0.1:0")))
			_ = unix.Listen(fd, 1) // datagram sockets do not
			got, ok := listed(t, fd)
			assert.True(t, ok)
			assert.Equal(t, tt.network, got.Network)
			assert.False(t, got.Exposed)
		})
	}
}

// A duplicate far from the others, 10,000 descriptors in a row, and holes.
func TestSocketsAmongManyDescriptors(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	limit := unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		limit = unix.Rlimit{Cur: 20_000, Max: 20_000}
		require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	}
	ln, err := socketSpec{family: v4, typ: stream, bind: "0.0.0.0:0", listen: true}.open()
	require.NoError(t, err)
	const many = 10_000
	files := make([]int, many)
	for i := range files {
		files[i], err = unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		require.NoError(t, err)
	}
	for _, i := range []int{5, many / 2, many - 1} {
		require.NoError(t, unix.Dup3(ln, files[i], unix.O_CLOEXEC))
	}
	far := int(limit.Cur) - 1
	require.NoError(t, unix.Dup3(ln, far, unix.O_CLOEXEC))
	want := []int{ln, files[5], files[many/2], files[many-1], far}
	defer func() {
		for _, fd := range want {
			unix.Close(fd)
		}
	}()
	descriptors := func() (fds []int) {
		exposed, err := loopback.Exposed()
		require.NoError(t, err)
		for _, s := range exposed {
			fds = append(fds, s.FD)
		}
		return fds
	}
	assert.Equal(t, want, descriptors())
	for i, fd := range files { // holes, some of them long
		if i%3 == 1 && i != many/2 || i > 300 && i < many/2-200 {
			unix.Close(fd)
		}
	}
	want = slices.DeleteFunc(want, func(fd int) bool { return fd == files[many-1] && (many-1)%3 == 1 })
	assert.Equal(t, want, descriptors())

	t.Run("no descriptor left", func(t *testing.T) {
		for {
			if _, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
				require.ErrorIs(t, err, unix.EMFILE)
				break
			}
		}
		assert.Equal(t, want, descriptors())
		limit.Cur = 100 // below what is open
		require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
		assert.Equal(t, want, descriptors())
	})
}

func TestSocketsWithoutProc(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	ln, err := socketSpec{family: v6, typ: stream, bind: "[::]:0", listen: true}.open()
	require.NoError(t, err)
	defer unix.Close(ln)
	for _, tt := range []struct{ name, over string }{
		{"another /proc", t.TempDir()},
		{"a list that is not ours", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.over == "" {
				tt.over = t.TempDir()
				require.NoError(t, os.MkdirAll(tt.over+"/self/fd/0", 0o777))
				require.NoError(t, os.MkdirAll(tt.over+"/self/fd/1", 0o777))
			}
			require.NoError(t, unix.Mount(tt.over, "/proc", "", unix.MS_BIND, ""))
			defer unix.Unmount("/proc", unix.MNT_DETACH)
			got, ok := listed(t, ln)
			assert.True(t, ok)
			assert.True(t, got.Exposed)
		})
	}
	t.Run("and too many descriptors to try", func(t *testing.T) {
		limit := unix.Rlimit{Cur: 1 << 30, Max: 1 << 30}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Skipf("needs a higher limit: %v", err)
		}
		require.NoError(t, unix.Mount(t.TempDir(), "/proc", "", unix.MS_BIND, ""))
		defer unix.Unmount("/proc", unix.MNT_DETACH)
		_, err := loopback.Exposed()
		assert.ErrorContains(t, err, "too many")
	})
}

// auditChild makes the test binary print what it has inherited.
const auditChild = "LOOPBACK_TEST_AUDIT"

func TestSocketsAreInheritedByAnotherUser(t *testing.T) {
	if os.Getenv(auditChild) != "" {
		s, ok := listed(t, 3)
		t.Logf("uid %d: %v %v", os.Getuid(), ok, s)
		return
	}
	if os.Getuid() != 0 {
		t.Skip("needs root, to start a process of another user")
	}
	ln, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	defer ln.Close()
	f, err := ln.File()
	require.NoError(t, err)
	defer f.Close()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), auditChild+"=1")
	cmd.ExtraFiles = []*os.File{f}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil && !strings.Contains(string(out), "uid") {
		t.Skipf("needs to start a process of another user: %v\n%s", err, out)
	}
	assert.Contains(t, string(out), "uid 65534: true tcp "+ln.Addr().String()+" (descriptor 3)")
}

// A system call that fails makes an error, and no shorter list.
func TestSocketsFailClosed(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	fd, err := socketSpec{family: v4, typ: dgram, bind: "0.0.0.0:0"}.open()
	require.NoError(t, err)
	defer unix.Close(fd)
	calls := []faulttest.Call{
		{Name: "getsockname", Number: unix.SYS_GETSOCKNAME},
		{Name: "getpeername", Number: unix.SYS_GETPEERNAME},
		{Name: "getsockopt", Number: unix.SYS_GETSOCKOPT},
		{Name: "fstat", Number: unix.SYS_FSTAT},
		{Name: "openat", Number: unix.SYS_OPENAT},
		{Name: "lseek", Number: unix.SYS_LSEEK},
		{Name: "getdents64", Number: unix.SYS_GETDENTS64},
	}
	limit := unix.Rlimit{Cur: 256, Max: 256} // so that each descriptor is tried in no time
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	plan := faulttest.Plan{Calls: calls, Errnos: []unix.Errno{unix.EPERM, unix.ENOMEM}, Sparse: true}
	faults := faulttest.Start(t, calls...).Each(plan, func(f faulttest.Fault, during func(func())) {
		var exposed []loopback.Socket
		var err error
		during(func() { exposed, err = loopback.Exposed() })
		if err == nil {
			assert.Equal(t, []loopback.Socket{exposedAt(fd)}, exposed, "%v", f)
		}
	})
	assert.Greater(t, faults, 20)
}

// exposedAt is what Exposed says of a UDP socket on every interface.
func exposedAt(fd int) loopback.Socket {
	sa, _ := unix.Getsockname(fd)
	port := uint16(sa.(*unix.SockaddrInet4).Port)
	return loopback.Socket{Network: "udp", Addr: netip.AddrPortFrom(netip.IPv4Unspecified(), port), FD: fd, Exposed: true}
}
