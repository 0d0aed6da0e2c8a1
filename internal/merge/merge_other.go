//go:build !linux

package merge

import (
	"net"
	"os"
	"sync"
	"time"
)

// A Receiver receives from several sockets as if they were one: a call of Next
// starts one receive on every socket, and what comes of the slower ones is
// kept for the next calls.
type Receiver struct {
	receive Receive
	results chan Result // has room for one of each socket
	bufs    [][]byte
	done    chan struct{}

	mu      sync.Mutex
	closed  bool
	busy    []bool // a receive runs, or its result was not yet taken
	waiting int
	timer   *time.Timer
	expired chan struct{} // closed at the deadline
}

// New returns a Receiver of socks, whose datagrams are of up to size bytes.
func New(socks []Source, receive Receive, size int) (*Receiver, error) {
	m := &Receiver{
		receive: receive,
		results: make(chan Result, len(socks)),
		bufs:    make([][]byte, len(socks)),
		done:    make(chan struct{}),
		busy:    make([]bool, len(socks)),
		expired: make(chan struct{}),
	}
	for i := range m.bufs {
		m.bufs[i] = make([]byte, size)
	}
	return m, nil
}

// Next waits for a socket that has something, and returns it.
func (m *Receiver) Next(b []byte) Result {
	m.mu.Lock()
	m.waiting++
	m.start()
	expired := m.expired
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		m.waiting--
		m.mu.Unlock()
	}()
	select { // the end comes before what was received
	case <-m.done:
		return Result{Err: net.ErrClosed}
	case <-expired:
		return Result{Err: os.ErrDeadlineExceeded}
	default:
	}
	select {
	case <-m.done:
		return Result{Err: net.ErrClosed}
	case <-expired:
		return Result{Err: os.ErrDeadlineExceeded}
	case r := <-m.results:
		if r.Conn == nil && r.Err == nil {
			r.N = copy(b, m.bufs[r.Source][:r.N])
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.busy[r.Source] = false
		if m.waiting > 1 { // others wait as well
			m.start()
		}
		return r
	}
}

// start starts a receive on every socket that has none. The caller holds mu.
func (m *Receiver) start() {
	for i := range m.busy {
		if m.busy[i] || m.closed {
			continue
		}
		m.busy[i] = true
		go func() {
			m.results <- m.receive(i, m.bufs[i]) // without mu: it would wait long for its turn
			select {
			case <-m.done:
				m.drop()
			default:
			}
		}()
	}
}

// drop closes what was received and is not wanted any more.
func (m *Receiver) drop() {
	for {
		select {
		case r := <-m.results:
			if r.Conn != nil {
				r.Conn.Close()
			}
		default:
			return
		}
	}
}

// SetDeadline sets the time after which Next fails; the zero Time is none.
func (m *Receiver) SetDeadline(t time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return net.ErrClosed
	}
	if m.timer != nil {
		m.timer.Stop()
		m.timer = nil
	}
	select {
	case <-m.expired:
		m.expired = make(chan struct{})
	default:
	}
	if t.IsZero() {
		return nil
	}
	expired := m.expired
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
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.timer == timer {
				expire()
			}
		})
		m.timer = timer
	} else {
		expire()
	}
	return nil
}

// Close ends every Next and drops what was kept for one, after the caller has
// closed the sockets and so ended the receives.
func (m *Receiver) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	close(m.done)
	if m.timer != nil {
		m.timer.Stop()
	}
	m.drop()
}
