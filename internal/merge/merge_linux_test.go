package merge_test

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/loopback/internal/merge"
	"example.com/loopback/internal/netnstest"
	"example.com/loopback/internal/sockctl"
)

// onFD runs f on the descriptor of a socket.
func onFD(t *testing.T, c syscall.Conn, f func(fd int)) {
	t.Helper()
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) { f(int(fd)) }))
}

// duplicate returns another descriptor of a source, as in a process that
// inherited it.
func duplicate(t *testing.T, s merge.Source) (fd int) {
	t.Helper()
	var c syscall.Conn = s.UDP
	if s.TCP != nil {
		c = s.TCP
	}
	onFD(t, c, func(own int) {
		var err error
		fd, err = unix.FcntlInt(uintptr(own), unix.F_DUPFD_CLOEXEC, 0)
		require.NoError(t, err)
	})
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// Another process that has the socket may take what Next was woken for. The
// other source is served all the same, and so is what comes.
func TestNextAfterTheft(t *testing.T) {
	each(t, func(t *testing.T, r receiver) {
		if strings.Contains(t.Name(), "goroutines") {
			return // it waits in a receive from each source, so that a theft changes nothing
		}
		shared := []int{duplicate(t, r.sources[0]), duplicate(t, r.sources[1])}
		var victim atomic.Int32 // of whom everything is stolen
		thefts := make(chan struct{}, 1)
		merge.BeforeReceive(r.Receiver, func(source int) {
			if source != int(victim.Load()) {
				return
			}
			if r.sources[0].TCP != nil {
				fd, _, err := unix.Accept4(shared[source], unix.SOCK_CLOEXEC)
				assert.NoError(t, err)
				unix.Close(fd)
			} else if _, _, err := unix.Recvfrom(shared[source], make([]byte, 1), unix.MSG_DONTWAIT); err != nil {
				return // Next looks whether there is something
			}
			thefts <- struct{}{}
		})
		for source := range r.sources {
			victim.Store(int32(source))
			for range 3 {
				results := r.goNext(1)
				r.send(t, source)
				wait(t, thefts)
				from := r.send(t, 1-source)
				got := wait(t, results)
				require.NoError(t, got.Err)
				assert.Equal(t, 1-source, got.Source)
				if got.Conn != nil {
					assert.Equal(t, from.String(), got.Conn.RemoteAddr().String())
					got.Conn.Close()
				} else {
					assert.Equal(t, from, got.From)
				}
			}
		}

		// Close does not wait for what was stolen.
		victim.Store(0)
		results := r.goNext(1)
		r.send(t, 0)
		wait(t, thefts)
		r.closeAll()
		require.ErrorIs(t, wait(t, results).Err, net.ErrClosed)
	})
}

// Sources that have something take turns, however much came first to one.
func TestNextIsFair(t *testing.T) {
	for _, source := range []func(*testing.T) merge.Source{tcp, udp} {
		r := receiving(t, merge.New, source(t), source(t))
		const queue = 40
		for i := range 2 * queue {
			r.send(t, i/queue)
		}
		count := make([]int, 2)
		for range queue {
			count[r.next(t).Source]++
		}
		for _, n := range count {
			assert.GreaterOrEqual(t, n, queue/2-1, "of the first %d", queue)
		}
		for range queue {
			count[r.next(t).Source]++
		}
		assert.Equal(t, []int{queue, queue}, count)
	}
}

// While one source always has something, the other is looked at after a run of
// bounded length, and both take turns once they have a queue.
func TestRunsAreBounded(t *testing.T) {
	const run = 16
	r := receiving(t, merge.New, udp(t), udp(t))
	for range 5 * run {
		r.send(t, 0)
	}
	for range 3 * run {
		require.Zero(t, r.next(t).Source)
	}
	for range run / 2 {
		r.send(t, 1)
	}
	n := 0
	for r.next(t).Source == 0 {
		n++
	}
	assert.LessOrEqual(t, n, run)
	for range run/2 - 1 {
		require.Equal(t, 0, r.next(t).Source)
		require.Equal(t, 1, r.next(t).Source)
	}
}

// The same holds for connections.
func TestRunsOfConnectionsAreBounded(t *testing.T) {
	const run = 16
	r := receiving(t, merge.New, tcp(t), tcp(t))
	for range 5 * run {
		r.send(t, 0)
	}
	require.Zero(t, r.next(t).Source)
	r.send(t, 1)
	n := 0
	for r.next(t).Source == 0 {
		n++
	}
	assert.LessOrEqual(t, n, run+1) // epoll may report the first of them before the other
}

// A queue costs little more than one system call for each datagram: time cannot
// be asserted, but calls can be counted.
func TestQueueCostsOneCallEach(t *testing.T) {
	for name, second := range map[string]int{"one": 0, "both": 1} {
		t.Run(name, func(t *testing.T) {
			r := receiving(t, merge.New, udp(t), udp(t))
			calls := 0
			merge.BeforeReceive(r.Receiver, func(int) { calls++ })
			merge.BeforeEpoll(r.Receiver, func() { calls++ })
			for range 2 { // also after a wait
				results := r.goNext(1)
				awaitParked(t)
				r.send(t, 0)
				require.NoError(t, wait(t, results).Err)

				const queue = 64
				for i := range queue {
					r.send(t, i%2*second)
				}
				calls = 0
				for range queue {
					r.next(t)
				}
				assert.LessOrEqual(t, calls, queue*9/8+1)
			}
		})
	}
}

// A datagram that is waited for, from the source of the last one, costs the
// question before the wait, the wake-up, and one receive.
func TestWaitCostsTwoCalls(t *testing.T) {
	r := receiving(t, merge.New, udp(t), udp(t))
	calls := 0
	merge.BeforeReceive(r.Receiver, func(int) { calls++ })
	merge.BeforeEpoll(r.Receiver, func() { calls++ })
	for n := range 5 {
		calls = 0
		results := r.goNext(1)
		awaitParked(t)
		r.send(t, 0)
		require.NoError(t, wait(t, results).Err)
		if n > 0 {
			assert.LessOrEqual(t, calls, 3)
		}
	}
}

// awaitParked waits until a goroutine waits in Next for something to come.
func awaitParked(t *testing.T) {
	t.Helper()
	await(t, func() bool {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		for stack := range bytes.SplitSeq(stacks, []byte("\n\n")) {
			if bytes.Contains(stack, []byte("[IO wait")) && bytes.Contains(stack, []byte(").Next(")) {
				return true
			}
		}
		return false
	})
}

// Nothing is accepted from a listener but what epoll has reported: accept
// would wait.
func TestAcceptDoesNotWait(t *testing.T) {
	r := receiving(t, merge.New, tcp(t), tcp(t))
	var asked []int
	merge.BeforeReceive(r.Receiver, func(source int) { asked = append(asked, source) })
	for _, source := range []int{0, 0, 0, 1, 0, 1, 1} {
		r.send(t, source)
		assert.Equal(t, source, r.next(t).Source)
	}
	assert.Equal(t, []int{0, 0, 0, 1, 0, 1, 1}, asked)
	asked = nil
	for _, source := range []int{0, 1, 1, 0} {
		results := r.goNext(1)
		awaitParked(t)
		r.send(t, source)
		got := wait(t, results)
		require.NoError(t, got.Err)
		got.Conn.Close()
	}
	assert.Equal(t, []int{0, 1, 1, 0}, asked)
}

// How many connections wait is soon not believed any more: another process may
// have accepted them.
func TestQueueIsStolen(t *testing.T) {
	r := receiving(t, merge.New, tcp(t), tcp(t))
	const queue = 10
	for range queue {
		r.send(t, 0)
	}
	shared := duplicate(t, r.sources[0])
	r.next(t)
	for range queue - 1 {
		fd, _, err := unix.Accept4(shared, unix.SOCK_CLOEXEC)
		require.NoError(t, err)
		unix.Close(fd)
	}
	for start := time.Now(); time.Since(start) < 2*time.Millisecond; {
		runtime.Gosched()
	}
	var asked []int
	merge.BeforeReceive(r.Receiver, func(source int) { asked = append(asked, source) })
	r.send(t, 1)
	assert.Equal(t, 1, r.next(t).Source)
	assert.Equal(t, []int{1}, asked)
}

// A queue of connections costs a question to epoll now and then.
func TestAcceptAsksSeldom(t *testing.T) {
	for name, second := range map[string]int{"one": 0, "both": 1} {
		t.Run(name, func(t *testing.T) {
			r := receiving(t, merge.New, tcp(t), tcp(t))
			const queue = 64
			for i := range queue {
				r.send(t, i%2*second)
			}
			onFD(t, r.sources[0].TCP, func(fd int) {
				info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
				if err != nil || int(info.Unacked) != queue/(1+second) {
					t.Skipf("needs a kernel that tells how many connections wait: %v", err) // qemu-user does not
				}
			})
			questions := 0
			merge.BeforeEpoll(r.Receiver, func() { questions++ })
			for range queue {
				r.next(t)
			}
			assert.LessOrEqual(t, questions, queue*3/4) // a slow machine asks again after each millisecond
		})
	}
}

// After Close the error is that of package net, also where no wait is due.
func TestErrorAfterQueue(t *testing.T) {
	r := receiving(t, merge.New, udp(t), udp(t))
	for range 4 {
		r.send(t, 0)
	}
	r.next(t)
	r.next(t)
	r.closeAll()
	require.Equal(t, net.ErrClosed, r.Next(make([]byte, 1)).Err)
}

// An error that stays in the queue of errors, as epoll reports for as long as
// nobody reads it, is handed out once, and keeps nobody busy.
func TestErrorIsHandedOutOnce(t *testing.T) {
	r := receiving(t, merge.New, udp(t), udp(t))
	onFD(t, r.sources[0].UDP, func(fd int) {
		require.NoError(t, unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1))
	})
	unbound := udp(t)
	to := unbound.UDP.LocalAddr()
	unbound.UDP.Close()
	_, err := r.sources[0].UDP.WriteTo([]byte("x"), to)
	require.NoError(t, err)
	got := r.Next(make([]byte, 1))
	require.ErrorIs(t, got.Err, syscall.ECONNREFUSED)
	require.IsType(t, (*os.SyscallError)(nil), got.Err)
	assert.Zero(t, got.Source)

	receives := 0
	merge.BeforeReceive(r.Receiver, func(int) { receives++ })
	require.NoError(t, r.SetDeadline(time.Now().Add(50*time.Millisecond)))
	require.ErrorIs(t, r.Next(make([]byte, 1)).Err, os.ErrDeadlineExceeded)
	assert.Less(t, receives, 10)
	require.NoError(t, r.SetDeadline(time.Time{}))
	r.send(t, 1)
	assert.Equal(t, 1, r.next(t).Source)
}

// A datagram is received without an allocation.
func TestNextAllocs(t *testing.T) {
	for _, withInterface := range []bool{false, true} {
		first, second := udp(t), udp(t)
		raw, err := second.UDP.SyscallConn()
		require.NoError(t, err)
		require.NoError(t, sockctl.ReportInterface(raw, netip.MustParseAddr("127.0.0.1")))
		second.Interface = withInterface
		r := receiving(t, merge.New, first, second)
		c, err := net.DialUDP("udp", nil, second.UDP.LocalAddr().(*net.UDPAddr))
		require.NoError(t, err)
		defer c.Close()
		buf := make([]byte, 10)
		assert.Zero(t, testing.AllocsPerRun(100, func() {
			for range 3 {
				if _, err := c.Write(buf); err != nil {
					t.Fatal(err)
				}
			}
			for range 3 {
				if got := r.Next(buf); got.Err != nil {
					t.Fatal(got.Err)
				}
			}
		}), "with the interface: %v", withInterface)
	}
}

// A connection that was handed out is not kept from the garbage collector.
func TestNextKeepsNoConnection(t *testing.T) {
	r := receiving(t, merge.New, tcp(t), tcp(t))
	r.send(t, 0)
	got := r.next(t)
	collected := make(chan struct{})
	runtime.AddCleanup(got.Conn, func(c chan struct{}) { close(c) }, collected)
	got.Conn = nil
	await(t, func() bool {
		runtime.GC()
		select {
		case <-collected:
			return true
		default:
			return false
		}
	})
	runtime.KeepAlive(r)
}

// A child does not inherit what New opens.
func TestDescriptorsAreClosedOnExec(t *testing.T) {
	receiving(t, merge.New, udp(t), udp(t))
	fds, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	instances := 0
	for _, fd := range fds {
		target, err := os.Readlink("/proc/self/fd/" + fd.Name())
		if err != nil || target != "anon_inode:[eventpoll]" {
			continue // the directory itself is closed
		}
		instances++
		n, err := strconv.Atoi(fd.Name())
		require.NoError(t, err)
		flags, err := unix.FcntlInt(uintptr(n), unix.F_GETFD, 0)
		require.NoError(t, err)
		assert.Equal(t, unix.FD_CLOEXEC, flags&unix.FD_CLOEXEC)
	}
	assert.GreaterOrEqual(t, instances, 2, "that of the runtime, and that of the Receiver")
}

// The zone of a sender is the name of the interface, as in package net.
func TestZone(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	netnstest.Run(t, "ip", "addr", "add", "fe80::5/64", "dev", "lo", "nodad")
	await(t, func() bool { // the kernel routes to it a moment later
		return strings.Contains(netnstest.Run(t, "ip", "-6", "route", "show", "table", "local"), "fe80::5 ")
	})
	local := &net.UDPAddr{IP: net.ParseIP("fe80::5"), Zone: "lo"}
	var sources []merge.Source
	for range 2 {
		c, err := net.ListenUDP("udp", local)
		require.NoError(t, err)
		sources = append(sources, merge.Source{UDP: c})
	}
	r := receiving(t, merge.New, sources...)
	from := r.send(t, 1)
	assert.Equal(t, "lo", from.Addr().Zone())
	assert.Equal(t, from, r.next(t).From)
	for id, want := range map[uint32]string{0: "", 1: "lo", 1 << 30: "1073741824"} {
		assert.Equal(t, want, merge.Zone(id))
	}
}

// A source that is closed, or none, makes New fail, and nothing is left open.
func TestNewOfClosedSources(t *testing.T) {
	closedTCP, closedUDP := tcp(t), udp(t)
	require.NoError(t, closedTCP.TCP.Close())
	require.NoError(t, closedUDP.UDP.Close())
	openTCP, openUDP := tcp(t), udp(t)
	defer openTCP.TCP.Close()
	defer openUDP.UDP.Close()
	lowest := func() int { // the descriptor that is made next
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		require.NoError(t, err)
		unix.Close(fd)
		return fd
	}
	first := lowest()
	for _, sources := range [][]merge.Source{
		{openTCP, closedTCP},
		{openUDP, closedUDP},
		{openTCP, {TCP: new(net.TCPListener)}},
		{{UDP: new(net.UDPConn)}, openUDP},
	} {
		r, err := merge.New(sources)
		assert.Error(t, err)
		assert.Nil(t, r)
		assert.LessOrEqual(t, lowest(), first, "left open") // others may have been closed
	}
}

// A question to epoll that fails is an error of Next.
func TestEpollThatFails(t *testing.T) {
	r := receiving(t, merge.New, udp(t), udp(t))
	null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(null)
	require.NoError(t, unix.Dup3(null, merge.FD(r.Receiver), unix.O_CLOEXEC))
	got := r.Next(make([]byte, 1))
	assert.Equal(t, merge.Result{Err: os.NewSyscallError("epoll_wait", unix.EINVAL)}, got)
}

// A queue of connections is accepted with no more allocations than package net
// needs for it.
func TestAcceptAllocs(t *testing.T) {
	const queue = 40
	allocs := func(accept func() *net.TCPConn, to net.Addr) float64 {
		return testing.AllocsPerRun(10, func() {
			for range queue {
				connectAndReset(t, to.(*net.TCPAddr))
			}
			for range queue {
				accept().Close()
			}
		})
	}
	peer := tcp(t).TCP
	defer peer.Close()
	want := allocs(func() *net.TCPConn {
		c, err := peer.AcceptTCP()
		require.NoError(t, err)
		return c
	}, peer.Addr())
	r := receiving(t, merge.New, tcp(t), tcp(t))
	got := allocs(func() *net.TCPConn { return r.Next(nil).Conn }, r.addr(1))
	assert.LessOrEqual(t, got, want)
}

// connectAndReset connects without package net.
func connectAndReset(t *testing.T, to *net.TCPAddr) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	require.NoError(t, unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
	require.NoError(t, unix.Connect(fd, &unix.SockaddrInet4{Port: to.Port, Addr: [4]byte(to.IP.To4())}))
}
