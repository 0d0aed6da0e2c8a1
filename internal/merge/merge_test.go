package merge_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback/internal/merge"
	"example.com/loopback/internal/netif"
	"example.com/loopback/internal/sockctl"
	"example.com/loopback/internal/syserr"
)

// patience bounds the wait for what happens at once if the code is right.
const patience = 10 * time.Second

// wait returns what comes out of a channel.
func wait[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		require.FailNow(t, "nothing came")
		panic("unreachable")
	}
}

// await waits until something holds.
func await(t *testing.T, holds func() bool) {
	t.Helper()
	for start := time.Now(); !holds(); time.Sleep(100 * time.Microsecond) {
		require.Less(t, time.Since(start), patience, "it never came")
	}
}

// A receiver is a Receiver with its sources.
type receiver struct {
	merge.Receiver
	sources []merge.Source
}

// receivers are the Receiver of this system and that of the systems without
// epoll.
var receivers = map[string]func([]merge.Source) (merge.Receiver, error){
	"system": merge.New, "goroutines": merge.NewGoroutines,
}

// each runs a test on both kinds of sources, with each of the receivers.
func each(t *testing.T, test func(t *testing.T, r receiver)) {
	t.Helper()
	for name, newReceiver := range receivers {
		t.Run(name+"/TCP", func(t *testing.T) { test(t, receiving(t, newReceiver, tcp(t), tcp(t))) })
		t.Run(name+"/UDP", func(t *testing.T) { test(t, receiving(t, newReceiver, udp(t), udp(t))) })
	}
}

// eachUDP is each without TCP.
func eachUDP(t *testing.T, test func(t *testing.T, r receiver)) {
	t.Helper()
	each(t, func(t *testing.T, r receiver) {
		if r.sources[0].UDP != nil {
			test(t, r)
		}
	})
}

// receiving makes a Receiver that is closed at the end of the test.
func receiving(t *testing.T, newReceiver func([]merge.Source) (merge.Receiver, error), sources ...merge.Source) receiver {
	t.Helper()
	made, err := newReceiver(sources)
	require.NoError(t, err)
	r := receiver{Receiver: made, sources: sources}
	t.Cleanup(r.closeAll)
	require.NoError(t, r.SetDeadline(time.Now().Add(patience)))
	return r
}

// closeAll closes as the contract has it.
func (r receiver) closeAll() {
	open := false
	for _, s := range r.sources {
		if s.TCP != nil {
			open = s.TCP.Close() == nil
		} else {
			open = s.UDP.Close() == nil
		}
	}
	if open {
		r.Close()
	}
}

func tcp(t *testing.T) merge.Source {
	t.Helper()
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	return merge.Source{TCP: ln}
}

func udp(t *testing.T) merge.Source {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Skipf("needs UDP: %v", err) // some versions of Wine
	}
	return merge.Source{UDP: c}
}

// addr returns the address of a source.
func (r receiver) addr(source int) net.Addr {
	if s := r.sources[source]; s.TCP != nil {
		return s.TCP.Addr()
	}
	return r.sources[source].UDP.LocalAddr()
}

// send connects to a source, or sends it a datagram.
func (r receiver) send(t *testing.T, source int) (from netip.AddrPort) {
	t.Helper()
	addr := r.addr(source)
	c, err := net.DialTimeout(addr.Network(), addr.String(), patience)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	if addr.Network() == "udp" {
		_, err = c.Write([]byte("datagram"))
		require.NoError(t, err)
	}
	return netip.MustParseAddrPort(c.LocalAddr().String())
}

// next receives one thing, and closes it if it is a connection.
func (r receiver) next(t *testing.T) merge.Result {
	t.Helper()
	got := r.Next(make([]byte, 100))
	require.NoError(t, got.Err)
	if got.Conn != nil {
		got.Conn.Close()
	}
	return got
}

// goNext calls Next in n goroutines.
func (r receiver) goNext(n int) <-chan merge.Result {
	results := make(chan merge.Result, n)
	for range n {
		go func() { results <- r.Next(make([]byte, 100)) }()
	}
	return results
}

func TestNextNamesTheSource(t *testing.T) {
	each(t, func(t *testing.T, r receiver) {
		for _, source := range []int{0, 1, 1, 0, 0} {
			from := r.send(t, source)
			got := r.next(t)
			assert.Equal(t, source, got.Source)
			if got.Conn != nil {
				assert.Equal(t, from.String(), got.Conn.RemoteAddr().String())
				continue
			}
			assert.Equal(t, from, got.From)
			assert.Equal(t, len("datagram"), got.N)
			assert.Zero(t, got.Interface)
		}
	})
}

// A crowd at one source does not keep the other from being served.
func TestNextStarvesNobody(t *testing.T) {
	if testing.Short() && runtime.GOOS == "windows" {
		t.Skip("fairness between goroutines is the scheduler's, and Wine lets it wait for seconds")
	}
	each(t, func(t *testing.T, r receiver) {
		const few = 10
		fromSecond := make(chan netip.AddrPort, few)
		received := make(chan struct{})
		go func() {
			defer close(received)
			for {
				switch got := r.Next(make([]byte, 100)); {
				case got.Err != nil:
					return
				case got.Conn != nil:
					if got.Source == 1 {
						fromSecond <- got.Conn.RemoteAddr().(*net.TCPAddr).AddrPort()
					}
					got.Conn.Close()
				case got.Source == 1:
					fromSecond <- got.From
				}
			}
		}()
		done := make(chan struct{})
		var crowd sync.WaitGroup
		for range 2 {
			crowd.Go(func() { r.flood(0, done) })
		}
		for range few {
			from := r.send(t, 1)
			assert.Equal(t, from, wait(t, fromSecond))
		}
		close(done)
		crowd.Wait()
		r.closeAll()
		wait(t, received)
	})
}

// flood sends to a source until done: connections that are reset, or datagrams.
func (r receiver) flood(source int, done <-chan struct{}) {
	to := r.addr(source)
	for {
		select {
		case <-done:
			return
		default:
		}
		c, err := net.DialTimeout(to.Network(), to.String(), patience)
		if err != nil {
			return
		}
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		} else {
			for range 100 {
				c.Write([]byte("flood"))
			}
		}
		c.Close()
	}
}

// Each of several goroutines that call Next once returns, whichever source has
// something, and whether it comes before they wait or after.
func TestNextWakesEachCaller(t *testing.T) {
	each(t, func(t *testing.T, r receiver) {
		const callers = 3
		for round := range 20 {
			results := r.goNext(callers)
			if round%2 == 0 {
				await(t, func() bool { return inNext() == callers })
			}
			for _, source := range [][callers]int{{0, 0, 0}, {1, 0, 1}}[round%4/2] {
				r.send(t, source)
			}
			for range callers {
				got := wait(t, results)
				require.NoError(t, got.Err)
				if got.Conn != nil {
					got.Conn.Close()
				}
			}
		}
	})
}

// Without epoll each source has one receive at most, and none that is not
// asked for once its result was taken.
func TestGoroutinesReceiveOnceEach(t *testing.T) {
	receives := func() int { return count(`merge\.Source\.Receive\(`) }
	r := receiving(t, merge.NewGoroutines, tcp(t), tcp(t))
	for range 3 {
		r.send(t, 0)
		r.next(t)
		await(t, func() bool { return receives() == 1 }) // of the other source
	}
	results := r.goNext(3)
	await(t, func() bool { return inNext() == 3 && receives() == 2 })
	for range 3 {
		r.send(t, 1)
		got := wait(t, results)
		require.NoError(t, got.Err)
		got.Conn.Close()
	}
	await(t, func() bool { return receives() == 1 })
}

// inNext returns how many goroutines are in a call of Next.
func inNext() int { return count(`merge\.\(\*\w+\)\.Next\(`) }

// count returns how often a call is in the stacks of all goroutines.
func count(call string) int {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return len(regexp.MustCompile(call).FindAll(stacks, -1))
}

func TestDeadline(t *testing.T) {
	each(t, func(t *testing.T, r receiver) {
		set := func(d time.Duration) {
			t.Helper()
			require.NoError(t, r.SetDeadline(time.Now().Add(d)))
		}
		requireTimeout := func(got merge.Result) {
			t.Helper()
			require.ErrorIs(t, got.Err, os.ErrDeadlineExceeded)
			require.Nil(t, got.Conn)
		}
		buf := make([]byte, 100)
		for range 2 { // the second time after a queue, which is received in another way
			for _, source := range []int{0, 0, 0, 1} {
				r.send(t, source)
			}
			r.next(t)
			r.next(t)
			set(-time.Second)
			for range 10 {
				requireTimeout(r.Next(buf)) // although something waits
			}
			require.NoError(t, r.SetDeadline(time.Time{}))
			r.next(t)
			r.next(t)
		}

		const short = 30 * time.Millisecond
		start := time.Now()
		set(short)
		requireTimeout(r.Next(buf))
		assert.GreaterOrEqual(t, time.Since(start), short)
		requireTimeout(r.Next(buf)) // it stays

		for _, end := range []time.Duration{short, -time.Second} { // an earlier one ends what waits
			set(time.Hour)
			results := r.goNext(3)
			await(t, func() bool { return inNext() == 3 })
			set(end)
			for range 3 {
				requireTimeout(wait(t, results))
			}
		}

		set(time.Hour)
		results := r.goNext(1)
		await(t, func() bool { return inNext() == 1 })
		require.NoError(t, r.SetDeadline(time.Time{})) // none, while it waits
		r.send(t, 1)
		require.NoError(t, wait(t, results).Err)
	})
}

// A deadline that is moved away does not end a wait at its old time.
func TestDeadlineIsMovedAway(t *testing.T) {
	each(t, func(t *testing.T, r receiver) {
		for first := 50 * time.Millisecond; ; first *= 2 {
			require.Less(t, first, patience, "never in time")
			start := time.Now()
			require.NoError(t, r.SetDeadline(start.Add(first)))
			results := r.goNext(1)
			await(t, func() bool { return inNext() == 1 || len(results) == 1 })
			moved := time.Now()
			require.NoError(t, r.SetDeadline(moved.Add(3*first)))
			inTime := time.Since(start) < first
			require.ErrorIs(t, wait(t, results).Err, os.ErrDeadlineExceeded)
			if inTime {
				assert.GreaterOrEqual(t, time.Since(moved), 3*first)
				return
			}
		}
	})
}

func TestClose(t *testing.T) {
	each(t, func(t *testing.T, r receiver) {
		require.NoError(t, r.SetDeadline(time.Time{}))
		results := r.goNext(4)
		await(t, func() bool { return inNext() == 4 })
		r.closeAll()
		for range 4 {
			require.ErrorIs(t, wait(t, results).Err, net.ErrClosed)
		}
		require.ErrorIs(t, r.Next(make([]byte, 1)).Err, net.ErrClosed)
		require.ErrorIs(t, r.SetDeadline(time.Now()), net.ErrClosed)
		require.ErrorIs(t, r.SetDeadline(time.Time{}), net.ErrClosed)
	})
}

// What waits is dropped by Close, also what was received before it was asked
// for: a connection is reset.
func TestCloseDropsWhatWaits(t *testing.T) {
	for name, newReceiver := range receivers {
		t.Run(name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			r := receiving(t, newReceiver, tcp(t), tcp(t))
			var clients []net.Conn
			for range 3 {
				for _, s := range r.sources {
					c, err := net.DialTimeout("tcp", s.TCP.Addr().String(), patience)
					require.NoError(t, err)
					defer c.Close()
					clients = append(clients, c)
				}
			}
			got := r.Next(nil)
			require.NoError(t, got.Err)
			defer got.Conn.Close()
			if name == "goroutines" {
				await(t, func() bool { return merge.Kept(r.Receiver) == 1 })
			}
			r.closeAll()
			for _, c := range clients {
				if c.LocalAddr().String() == got.Conn.RemoteAddr().String() {
					continue
				}
				require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
				_, err := c.Read(make([]byte, 1))
				assertReset(t, err)
			}
			await(t, func() bool { return runtime.NumGoroutine() <= before })
		})
	}
}

// assertReset checks that err is that of a connection that was reset. Wine tells it
// now and then as one that was closed.
func assertReset(t *testing.T, err error) {
	t.Helper()
	if runtime.GOOS != "windows" || err != io.EOF {
		assert.True(t, syserr.Is(err, "ECONNRESET"), "%v", err)
	}
}

// A receive that Close does not end, as the source is open still, ends by itself:
// nobody waits for it, and a connection that it gets is reset.
func TestCloseForgetsWhatIsReceivedLater(t *testing.T) {
	r := receiving(t, merge.NewGoroutines, tcp(t))
	waiting := r.goNext(2)
	await(t, func() bool { return inNext() == 2 && count(`net\.\(\*TCPListener\)\.AcceptTCP\(`) == 1 })
	r.Close()
	for range 2 {
		require.ErrorIs(t, wait(t, waiting).Err, net.ErrClosed)
	}
	c, err := net.DialTimeout("tcp", r.addr(0).String(), patience)
	if err == nil { // or it was reset before package net had it
		defer c.Close()
		require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
		_, err = c.Read(make([]byte, 1))
	}
	assertReset(t, err)
	require.NoError(t, r.sources[0].TCP.Close()) // or the Receiver would be closed twice
}

// A result that comes in while Close runs is not handed out after it.
func TestNextAfterCloseHandsOutNothing(t *testing.T) {
	for range 50 {
		r := receiving(t, merge.NewGoroutines, udp(t))
		waiting := r.goNext(1)
		await(t, func() bool { return inNext() == 1 })
		r.closeAll()
		require.ErrorIs(t, wait(t, waiting).Err, net.ErrClosed)
		merge.Keep(r.Receiver, merge.Result{N: 1})
		require.ErrorIs(t, r.Next(make([]byte, 1)).Err, net.ErrClosed)
	}
}

// Empty datagrams and the largest arrive as they are. What does not fit is cut
// off, and does not come with the next.
func TestSizes(t *testing.T) {
	eachUDP(t, func(t *testing.T, r receiver) {
		c, err := net.DialUDP("udp", nil, r.sources[1].UDP.LocalAddr().(*net.UDPAddr))
		require.NoError(t, err)
		defer c.Close()
		buf := make([]byte, 1<<16)
		for _, size := range []int{0, 1, 1500, 8192, 0} {
			sent := bytes.Repeat([]byte{7}, size)
			_, err := c.Write(sent)
			require.NoError(t, err)
			got := r.Next(buf)
			require.NoError(t, got.Err)
			assert.Equal(t, sent, buf[:got.N])
		}
		for _, room := range [][]byte{nil, {}, make([]byte, 4)} {
			_, err := c.Write([]byte("0123456789"))
			require.NoError(t, err)
			got := r.Next(room)
			if runtime.GOOS == "windows" {
				require.ErrorIs(t, got.Err, syscall.Errno(10040)) // WSAEMSGSIZE
			} else {
				require.NoError(t, got.Err)
			}
			assert.Equal(t, "0123456789"[:len(room)], string(room[:got.N]))
			_, err = c.Write([]byte("next"))
			require.NoError(t, err)
			got = r.Next(buf)
			require.NoError(t, got.Err)
			assert.Equal(t, "next", string(buf[:got.N]))
		}
	})
}

// Where a socket reports the interface, and is asked to, the Result has it.
func TestInterface(t *testing.T) {
	lo, err := netif.FindLoopback()
	require.NoError(t, err)
	eachUDP(t, func(t *testing.T, r receiver) {
		newReceiver := receivers[strings.Split(t.Name(), "/")[1]]
		for i := range r.sources {
			raw, err := r.sources[i].UDP.SyscallConn()
			require.NoError(t, err)
			err = sockctl.ReportInterface(raw, netip.MustParseAddr("127.0.0.1"))
			if errors.Is(err, errors.ErrUnsupported) {
				t.Skip("needs a system that reports the interface")
			}
			require.NoError(t, err)
		}
		r.sources[1].Interface = true
		r.send(t, 1)
		if got := r.sources[1].Receive(make([]byte, 100)); got.Interface > 1<<16 {
			t.Skipf("needs a system that reports the index in its own byte order, not %#x", got.Interface) // qemu-user does not
		}
		r.Close()
		r = receiving(t, newReceiver, r.sources...)
		for range 2 {
			for source, want := range []int{0, lo.Index} {
				from := r.send(t, source)
				got := r.next(t)
				assert.Equal(t, from, got.From)
				assert.Equal(t, want, got.Interface)
			}
		}
	})
}

// An IPv4 sender has an IPv4 address, also where the socket is one of both
// families.
func TestSenderIsUnmapped(t *testing.T) {
	for name, newReceiver := range receivers {
		for _, withInterface := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " ", withInterface), func(t *testing.T) {
				c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP("::ffff:127.0.0.1")})
				require.NoError(t, err)
				both, err := net.ListenUDP("udp", nil)
				require.NoError(t, err)
				r := receiving(t, newReceiver, merge.Source{UDP: c}, merge.Source{UDP: both, Interface: withInterface})
				client, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: both.LocalAddr().(*net.UDPAddr).Port})
				require.NoError(t, err)
				defer client.Close()
				_, err = client.Write([]byte("x"))
				require.NoError(t, err)
				assert.Equal(t, netip.MustParseAddrPort(client.LocalAddr().String()), r.next(t).From)
			})
		}
	}
}
