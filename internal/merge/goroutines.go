package merge

import (
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// A goroutines is a Receiver for systems without epoll: a call of Next starts
// one receive on every source, and what comes of the slower ones is kept for
// the next calls.
type goroutines struct {
	sources []Source
	results chan Result // has room for one of each source
	bufs    [][]byte    // of UDP
	done    chan struct{}

	mu      sync.Mutex
	closed  bool
	busy    []bool // a receive runs, or its result was not yet taken
	waiting int
	timer   *time.Timer
	expired chan struct{} // closed at the deadline
}

// maxDatagram is the largest payload of a UDP datagram, with room to spare.
const maxDatagram = 1 << 16

// errMsgSize is WSAEMSGSIZE: winsock2.h.
const errMsgSize = syscall.Errno(10040)

func newGoroutines(sources []Source) *goroutines {
	g := &goroutines{
		sources: sources,
		results: make(chan Result, len(sources)),
		bufs:    make([][]byte, len(sources)),
		done:    make(chan struct{}),
		busy:    make([]bool, len(sources)),
		expired: make(chan struct{}),
	}
	for i, s := range sources {
		if s.UDP != nil {
			g.bufs[i] = make([]byte, maxDatagram)
		}
	}
	return g
}

func (g *goroutines) Next(b []byte) Result {
	expired, err := g.enter()
	if err != nil {
		return Result{Err: err}
	}
	defer g.leave()
	select {
	case <-g.done:
		return Result{Err: net.ErrClosed}
	case <-expired:
		return Result{Err: os.ErrDeadlineExceeded}
	case r := <-g.results:
		return g.take(r, b)
	}
}

// enter counts a caller that waits, and starts the receives that it needs,
// unless the end has come.
func (g *goroutines) enter() (expired <-chan struct{}, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, net.ErrClosed
	}
	select {
	case <-g.expired:
		return nil, os.ErrDeadlineExceeded
	default:
	}
	g.waiting++
	g.start()
	return g.expired, nil
}

func (g *goroutines) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting--
}

// take makes r, which was among the results, the result of one call.
func (g *goroutines) take(r Result, b []byte) Result {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.Conn == nil {
		size := r.N
		r.N = copy(b, g.bufs[r.Source][:size])
		if r.N < size && runtime.GOOS == "windows" { // as in package net there
			r = Result{Source: r.Source, N: r.N, Err: os.NewSyscallError("wsarecvfrom", errMsgSize)}
		}
	}
	g.busy[r.Source] = false
	if g.waiting > 1 { // others wait as well
		g.start()
	}
	return r
}

// start starts a receive on every source that has none. The caller holds mu.
func (g *goroutines) start() {
	for i := range g.busy {
		if g.busy[i] {
			continue
		}
		g.busy[i] = true
		go func() {
			r := g.sources[i].Receive(g.bufs[i])
			r.Source = i
			g.results <- r // without mu: it would wait long for its turn
			select {
			case <-g.done:
				g.drop()
			default:
			}
		}()
	}
}

// drop resets what was received and is not wanted any more, as the kernel resets
// what it has not handed out.
func (g *goroutines) drop() {
	for {
		select {
		case r := <-g.results:
			if r.Conn != nil {
				r.Conn.SetLinger(0)
				r.Conn.Close()
			}
		default:
			return
		}
	}
}

func (g *goroutines) SetDeadline(t time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return net.ErrClosed
	}
	if g.timer != nil {
		g.timer.Stop()
		g.timer = nil
	}
	select {
	case <-g.expired:
		g.expired = make(chan struct{})
	default:
	}
	if t.IsZero() {
		return nil
	}
	expired := g.expired
	expire := func() {
		select {
		case <-expired:
		default:
			close(expired)
		}
	}
	if d := time.Until(t); d > 0 {
		// A timer that was stopped too late finds itself replaced.
		var timer *time.Timer
		timer = time.AfterFunc(d, func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			if g.timer == timer {
				expire()
			}
		})
		g.timer = timer
	} else {
		expire()
	}
	return nil
}

func (g *goroutines) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	close(g.done)
	if g.timer != nil {
		g.timer.Stop()
	}
	g.drop()
}
