package socktab_test

import (
	"net"
	"os"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/loopback/internal/faulttest"
	"example.com/loopback/internal/netnstest"
	"example.com/loopback/internal/socktab"
)

var (
	newSocket   = faulttest.Call{Name: "socket", Number: unix.SYS_SOCKET}
	getsockopt  = faulttest.Call{Name: "getsockopt", Number: unix.SYS_GETSOCKOPT}
	getsockname = faulttest.Call{Name: "getsockname", Number: unix.SYS_GETSOCKNAME}
	getpeername = faulttest.Call{Name: "getpeername", Number: unix.SYS_GETPEERNAME}
	fstat       = faulttest.Call{Name: "fstat", Number: unix.SYS_FSTAT}
)

// socket makes a socket that is closed when the test ends.
func socket(t *testing.T, family, typ, protocol int) (fd int) {
	t.Helper()
	fd, err := unix.Socket(family, typ|unix.SOCK_CLOEXEC, protocol)
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// A socket that cannot be asked makes Own fail. No socket is left out.
func TestOwnUnderFaults(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	fds := []int{
		socket(t, unix.AF_PACKET, unix.SOCK_RAW, 0),
		socket(t, unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP),
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer pc.Close()
	in := faulttest.Start(t, getsockopt, getsockname, getpeername, fstat)
	own := func() (networks []string, err error) {
		sockets, err := socktab.Own()
		for _, s := range sockets {
			networks = append(networks, strconv.Itoa(s.FD)+" "+s.Network)
		}
		return networks, err
	}
	want, err := own()
	require.NoError(t, err)
	require.Len(t, want, len(fds)+2)
	failures := 0
	faults := in.Each(faulttest.Plan{Calls: []faulttest.Call{getsockopt, getsockname, getpeername, fstat}, Errnos: []unix.Errno{unix.EPERM}},
		func(f faulttest.Fault, during func(func())) {
			var got []string
			var err error
			during(func() { got, err = own() })
			if err != nil {
				failures++
				assert.Regexp(t, `^descriptor \d+: ((getsockopt [A-Z_]+|getsockname|getpeername): )?operation not permitted$`, err, "%v", f)
				assert.Empty(t, got, "%v", f)
				return
			}
			assert.Equal(t, want, got, "%v", f)
		})
	t.Logf("%d faults, %d errors", faults, failures)
	assert.Greater(t, failures, faults/3)
}

// Where the list of descriptors fails, all numbers are tried, or Own fails. A part
// is never taken for the whole.
func TestOwnWithAListThatFails(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	const dense, most = 300, 2048
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: most, Max: most}))
	ln := socket(t, unix.AF_PACKET, unix.SOCK_RAW, 0)
	for range dense {
		socket(t, unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	}
	want := []int{ln}
	for _, fd := range []int{ln + dense + 1, ln + dense + 30, ln + dense + 100, 1200, 1500, most - 1} { // some beside the others, some alone
		require.NoError(t, unix.Dup3(ln, fd, unix.O_CLOEXEC))
		want = append(want, fd)
	}
	calls := []faulttest.Call{
		{Name: "open", Number: unix.SYS_OPENAT},
		{Name: "lseek", Number: unix.SYS_LSEEK},
		{Name: "getdents64", Number: unix.SYS_GETDENTS64},
	}
	in := faulttest.Start(t, calls...)
	failures := 0
	faults := in.Each(faulttest.Plan{Calls: calls, Errnos: []unix.Errno{unix.EPERM}}, func(f faulttest.Fault, during func(func())) {
		var sockets []socktab.OwnSocket
		var err error
		during(func() { sockets, err = socktab.Own() })
		if err != nil {
			failures++
			assert.EqualError(t, err, f.Call.Name+": operation not permitted", "%v", f)
			assert.Nil(t, sockets, "%v", f)
			return
		}
		var got []int
		for _, s := range sockets {
			got = append(got, s.FD)
		}
		assert.Equal(t, want, got, "%v", f)
	})
	t.Logf("%d faults, %d errors", faults, failures)
	assert.Positive(t, failures)
}

// A descriptor whose socket is another one at every look makes Own fail.
func TestOwnOfADescriptorThatNeverStandsStill(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	fd := socket(t, unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
	swap := getsockopt
	swap.Args = func(args [6]uint64) bool {
		if int(args[0]) == fd {
			other, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
			if err == nil {
				unix.Dup3(other, fd, unix.O_CLOEXEC)
				unix.Close(other)
			}
		}
		return false
	}
	in := faulttest.Start(t, swap)
	in.During(faulttest.Fault{Call: swap, Errno: unix.EPERM, First: 1}, func() {
		got, err := socktab.Own()
		assert.EqualError(t, err, "descriptor "+strconv.Itoa(fd)+": resource temporarily unavailable")
		assert.Nil(t, got)
	})
	got, err := socktab.Own()
	require.NoError(t, err)
	require.Len(t, got, 1, "it is found where it stands still")
	assert.Equal(t, fd, got[0].FD)
}

// Without a list, descriptors are tried up to the limit, and without a limit Own
// fails.
func TestOwnWithoutProc(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	fd := socket(t, unix.AF_PACKET, unix.SOCK_RAW, 0)
	limit := unix.Rlimit{Cur: 64, Max: 128}
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	getrlimit := faulttest.Call{Name: "getrlimit", Number: unix.SYS_GETRLIMIT}
	if runtime.GOARCH == "arm64" { // by package unix
		getrlimit.Number = unix.SYS_PRLIMIT64
	}
	in := faulttest.Start(t, getrlimit)
	require.NoError(t, unix.Mount("none", "/proc", "tmpfs", 0, ""))
	got, err := socktab.Own()
	require.NoError(t, err)
	require.Len(t, got, 1)
	assert.Equal(t, fd, got[0].FD)
	in.During(faulttest.Fault{Call: getrlimit, Errno: unix.EPERM, First: 1}, func() {
		got, err := socktab.Own()
		assert.EqualError(t, err, "getrlimit: operation not permitted")
		assert.Nil(t, got)
	})
}

// A process that lowers its limit keeps what it has beyond it.
func TestCountUnder(t *testing.T) {
	const most = 1 << 22
	for _, tt := range []struct {
		limit unix.Rlimit
		want  int
		err   string
	}{
		{limit: unix.Rlimit{Cur: 64, Max: 128}, want: 128},
		{limit: unix.Rlimit{Cur: 128, Max: 64}, want: 128},
		{limit: unix.Rlimit{Cur: most, Max: most}, want: most},
		{limit: unix.Rlimit{Cur: 1, Max: most + 1}, err: "the descriptors of this process cannot be listed, and up to 4194305 are too many to try"},
		{limit: unix.Rlimit{Cur: 1, Max: unix.RLIM_INFINITY}, err: "the descriptors of this process cannot be listed, and up to 18446744073709551615 are too many to try"},
	} {
		n, err := socktab.CountUnder(tt.limit)
		assert.Equal(t, tt.want, n)
		if tt.err == "" {
			assert.NoError(t, err)
		} else {
			assert.EqualError(t, err, tt.err)
		}
	}
}

// A peer of a unix socket is known by what the kernel kept of it, or not at all.
func TestPeerUIDOfUnixSocketsUnderFaults(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(pair[1])
	c := os.NewFile(uintptr(pair[0]), "unix")
	defer c.Close()
	in := faulttest.Start(t, getsockopt)
	for option, want := range map[uint64]string{
		unix.SO_DOMAIN:   "getsockopt SO_DOMAIN: operation not permitted",
		unix.SO_TYPE:     "getsockopt SO_TYPE: operation not permitted",
		unix.SO_PEERCRED: "getsockopt SO_PEERCRED: operation not permitted",
	} {
		call := getsockopt
		call.Args = func(args [6]uint64) bool { return args[1] == unix.SOL_SOCKET && args[2] == option }
		failed := in.During(faulttest.Fault{Call: call, Errno: unix.EPERM, First: 1}, func() {
			uid, err := socktab.PeerUID(c)
			assert.EqualError(t, err, want)
			assert.Zero(t, uid)
		})
		assert.Equal(t, 1, failed)
	}
	uid, err := socktab.PeerUID(c)
	require.NoError(t, err)
	assert.Zero(t, uid, "root of this namespace")
}

// OnPort fails where a list cannot be read, and passes over a list that there is
// not.
func TestOnPortUnderFaults(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	ln, err := net.Listen("tcp", "127.0.0.1:3000")
	require.NoError(t, err)
	defer ln.Close()
	read := faulttest.Call{Name: "read", Number: unix.SYS_READ, Args: func(args [6]uint64) bool { return args[2] == 32<<10 }}
	in := faulttest.Start(t, read)
	before := socket(t, unix.AF_UNIX, unix.SOCK_STREAM, 0)
	unix.Close(before)
	assert.Positive(t, in.During(faulttest.Fault{Call: read, Errno: unix.EPERM, First: 2}, func() {
		got, err := socktab.OnPort(3000)
		assert.EqualError(t, err, "read: operation not permitted")
		assert.Nil(t, got)
	}))
	assert.LessOrEqual(t, socket(t, unix.AF_UNIX, unix.SOCK_STREAM, 0), before, "left open") // others may have been closed
}
