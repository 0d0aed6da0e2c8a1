package loopback_test

import (
	"bytes"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/loopback"
	"example.com/loopback/internal/netnstest"
	"example.com/loopback/internal/syserr"
)

// What was accepted is still the kernel's to copy: io.Copy from a file is
// sendfile(2), and from a connection splice(2). strace shows it.
func TestCopyStaysInTheKernel(t *testing.T) {
	const size = 1 << 20
	if os.Getenv("LOOPBACK_TEST_CHILD") == "" {
		exe, err := os.Executable()
		require.NoError(t, err)
		trace := filepath.Join(t.TempDir(), "trace")
		strace := []string{"strace", "-f", "-qq", "-e", "trace=sendfile,?sendfile64,splice", "-e", "signal=none", "-o", trace}
		if out, err := exec.Command(strace[0], append(strace[1:], exe, "-test.run=^$")...).CombinedOutput(); err != nil {
			t.Skipf("needs strace: %v\n%s", err, out)
		}
		inChild(t, strace...)
		calls, err := os.ReadFile(trace)
		require.NoError(t, err)
		for _, call := range []string{"sendfile", "splice"} {
			moved := 0
			for _, m := range regexp.MustCompile(`\b`+call+`(?:64)?(?:\(| resumed).*= (\d+)`).FindAllSubmatch(calls, -1) {
				n, err := strconv.Atoi(string(m[1]))
				require.NoError(t, err)
				moved += n
			}
			assert.GreaterOrEqual(t, moved, 2*size, "%s, of two listeners:\n%.3000s", call, calls)
		}
		return
	}

	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, bytes.Repeat([]byte("loopback"), size/8), 0o600))
	for _, lc := range []*loopback.ListenConfig{{}, {Ingress: loopback.IngressCheck}} {
		ln, err := lc.Listen(t.Context(), "tcp", ":0")
		require.NoError(t, err)
		defer ln.Close()
		sink := func(c net.Conn) <-chan int64 {
			n := make(chan int64, 1)
			go func() {
				got, _ := io.Copy(io.Discard, struct{ io.Reader }{c})
				n <- got
			}()
			return n
		}
		pair := func() (client, server net.Conn) {
			client = dial(t, ln.AddrPorts()[0])
			server, err := ln.Accept()
			require.NoError(t, err)
			return client, server
		}

		f, err := os.Open(file)
		require.NoError(t, err)
		defer f.Close()
		client, server := pair()
		got := sink(client)
		n, err := io.Copy(server, f)
		require.NoError(t, err)
		assert.EqualValues(t, size, n)
		server.Close()
		assert.EqualValues(t, size, wait(t, got))

		from, proxyIn := pair()
		to, proxyOut := pair()
		got = sink(to)
		go func() {
			from.Write(bytes.Repeat([]byte("loopback"), size/8))
			from.Close()
		}()
		n, err = io.Copy(proxyOut, proxyIn)
		require.NoError(t, err)
		assert.EqualValues(t, size, n)
		proxyOut.Close()
		assert.EqualValues(t, size, wait(t, got))
	}
}

// What is not asked for stays in the kernel's queue.
func TestNothingIsAcceptedUnasked(t *testing.T) {
	eachListener(t, func(t *testing.T, ln *loopback.Listener) {
		const each = 5
		all := 0
		queued := func() (n int) {
			for _, ap := range ln.AddrPorts() {
				n += acceptQueue(t, ap)
			}
			return n
		}
		for range each {
			for _, to := range ln.AddrPorts() {
				dial(t, to)
				all++
			}
		}
		await(t, func() bool { return queued() == all })
		require.NoError(t, ln.SetDeadline(time.Now().Add(time.Hour))) // does not ask
		for taken := 1; taken <= all; taken++ {
			c, err := ln.Accept()
			require.NoError(t, err)
			defer c.Close()
			require.Equal(t, all-taken, queued())
		}
		require.NoError(t, ln.SetDeadline(time.Now().Add(-time.Hour)))
		_, err := ln.Accept()
		requireTimeout(t, err)
		dial(t, ln.AddrPorts()[0])
		await(t, func() bool { return queued() == 1 }) // nobody waits any more
	})
}

// The network errors of accept(2), "Error handling", do not end Accept.
func TestConnectionFailedLinux(t *testing.T) {
	for errno, want := range map[syscall.Errno]bool{
		unix.ENETDOWN: true, unix.EPROTO: true, unix.ENOPROTOOPT: true, unix.EHOSTDOWN: true, unix.ENONET: true,
		unix.EHOSTUNREACH: true, unix.EOPNOTSUPP: true, unix.ENETUNREACH: true, unix.ECONNABORTED: true, unix.EACCES: false,
	} {
		err := &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", errno)}
		assert.Equal(t, want, syserr.ConnectionFailed(err), "%v", errno)
	}
}

// Without descriptors Accept fails, at once and with an error that servers
// know as temporary; with descriptors it works again.
func TestAcceptWithoutDescriptors(t *testing.T) {
	if !inChild(t) {
		return
	}
	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	limit.Cur = 200
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	exhaust := func() (free func()) {
		var fds []int
		for {
			fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				require.ErrorIs(t, err, unix.EMFILE)
				return func() {
					for _, fd := range fds {
						unix.Close(fd)
					}
				}
			}
			fds = append(fds, fd)
		}
	}

	eachListener(t, func(t *testing.T, ln *loopback.Listener) {
		var clients []*net.TCPConn
		for _, to := range ln.AddrPorts() {
			clients = append(clients, dial(t, to), dial(t, to))
		}
		free := exhaust()
		for range 10 {
			c, err := ln.Accept()
			assert.True(t, c == nil)
			op, ok := err.(*net.OpError)
			require.True(t, ok, "%T %v", err, err)
			assert.Equal(t, "accept", op.Op)
			assert.True(t, op.Temporary())
			assert.False(t, op.Timeout())
			assert.IsType(t, (*os.SyscallError)(nil), op.Err)
			require.ErrorIs(t, err, syscall.EMFILE)
		}
		free()
		for range clients {
			c, err := ln.Accept()
			require.NoError(t, err)
			c.Close()
		}
	})

	// net/http waits for longer and longer; it does not spin.
	eachListener(t, func(t *testing.T, ln *loopback.Listener) {
		counted := &countingListener{Listener: ln, failed: make(chan struct{}, 1000)}
		srv := &http.Server{
			Handler:  http.NotFoundHandler(),
			ErrorLog: log.New(io.Discard, "", 0),
		}
		client := dial(t, ln.AddrPorts()[0])
		_, err := io.WriteString(client, "GET / HTTP/1.0\r\n\r\n")
		require.NoError(t, err)
		free := exhaust()
		served := make(chan error, 1)
		go func() { served <- srv.Serve(counted) }()
		for range 5 { // 5, 10, 20, 40, 80 ms apart
			wait(t, counted.failed)
		}
		assert.Less(t, counted.calls.Load(), int32(10))
		free()
		answer, err := io.ReadAll(client)
		require.NoError(t, err)
		assert.Contains(t, string(answer), "404")
		require.NoError(t, srv.Close())
		require.ErrorIs(t, wait(t, served), http.ErrServerClosed)
	})
}

type countingListener struct {
	net.Listener
	calls  atomic.Int32
	failed chan struct{}
}

func (l *countingListener) Accept() (net.Conn, error) {
	l.calls.Add(1)
	c, err := l.Listener.Accept()
	if err != nil {
		l.failed <- struct{}{}
	}
	return c, err
}

// The families take turns, however many clients of one came first.
func TestAcceptIsFair(t *testing.T) {
	const each = 60
	ln := listening(t, ":0")
	for _, to := range ln.AddrPorts() { // all of the first, then all of the second
		for range each {
			dial(t, to)
		}
	}
	count := map[string]int{}
	for i := range 2 * each {
		c, err := ln.AcceptTCP()
		require.NoError(t, err)
		count[c.LocalAddr().String()]++
		c.Close()
		if i == each-1 {
			for _, to := range ln.AddrPorts() {
				assert.GreaterOrEqual(t, count[to.String()], each/2-1, "of the first %d", each)
			}
		}
	}
	for _, to := range ln.AddrPorts() {
		assert.Equal(t, each, count[to.String()])
	}
}

// Accept on two families allocates what package net does on one.
func TestAcceptAllocs(t *testing.T) {
	var nc net.ListenConfig
	nc.SetMultipathTCP(false)
	peer, err := nc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer peer.Close()
	ln := listening(t, ":0")
	allocs := func(ln net.Listener, to netip.AddrPort) float64 {
		return testing.AllocsPerRun(200, func() {
			connectOnce(t, to)
			c, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
		})
	}
	want := allocs(peer, netip.MustParseAddrPort(peer.Addr().String()))
	assert.LessOrEqual(t, allocs(ln, ln.AddrPorts()[0]), want)
}

// A crowd that is let in by routing, but not here, is turned away one by one
// while the server serves, and leaves nothing behind.
func TestTenThousandRefused(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	netnstest.Run(t, "ip", "addr", "add", "192.0.2.1/32", "dev", "lo")
	netnstest.Run(t, "ip", "addr", "add", "2001:db8::1/128", "dev", "lo", "nodad")
	strangers := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}
	descriptors := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(fds)
	}
	dial(t, listening(t, ":0").AddrPorts()[0]) // the runtime opens its own, and keeps it
	goroutines, fds := runtime.NumGoroutine(), descriptors()

	const crowd = 10_000
	var rejected atomic.Int32
	var ln *loopback.Listener
	lc := loopback.ListenConfig{Ingress: loopback.IngressRemote, OnReject: func(err error) {
		rejected.Add(1)
		op, ok := err.(*net.OpError)
		if !assert.True(t, ok, "%T", err) {
			return
		}
		assert.ErrorIs(t, err, loopback.ErrRefused)
		assert.Equal(t, "accept", op.Op)
		assert.Equal(t, "tcp", op.Net)
		assert.Contains(t, ln.AddrPorts(), op.Source.(*net.TCPAddr).AddrPort())
		assert.Contains(t, strangers, op.Addr.(*net.TCPAddr).AddrPort().Addr())
	}}
	ln, err := lc.Listen(t.Context(), "tcp", ":0")
	require.NoError(t, err)
	require.Len(t, ln.AddrPorts(), 2)
	served := make(chan error, 1)
	go func() { served <- http.Serve(ln, http.NotFoundHandler()) }()
	for i := range crowd {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: strangers[i%2].AsSlice()}}
		c, err := d.DialContext(t.Context(), "tcp", ln.AddrPorts()[i%2].String())
		if err == nil {
			c.SetReadDeadline(time.Now().Add(patience))
			_, err = c.Read(make([]byte, 1))
			c.Close()
		}
		require.ErrorIs(t, err, syscall.ECONNRESET)
	}
	for _, to := range ln.AddrPorts() {
		assert.Contains(t, get(t, http.DefaultClient, "http://"+to.String()), "404")
	}
	assert.EqualValues(t, crowd, rejected.Load())
	http.DefaultClient.CloseIdleConnections()
	require.NoError(t, ln.Close())
	requireClosed(t, wait(t, served))
	noMoreGoroutines(t, goroutines)
	await(t, func() bool { return descriptors() <= fds })
}
