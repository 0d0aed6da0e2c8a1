//go:build !linux

package loopback

import (
	"net"
	"os"
	"sync"
	"time"
)

// A mux receives from several sockets as if they were one: a call of next
// starts one receive on every socket, and what comes of the slower ones is
// kept for the next calls.
type mux struct {
	receive receiver
	results chan received // has room for one of each socket
	bufs    [][]byte
	done    chan struct{}

	mu      sync.Mutex
	closed  bool
	busy    []bool // a receive runs, or its result was not yet taken
	waiting int
	timer   *time.Timer
	expired chan struct{} // closed at the deadline
}

func newMux(socks []muxed, receive receiver, size int) (*mux, error) {
	m := &mux{
		receive: receive,
		results: make(chan received, len(socks)),
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

// next waits for a socket that has something, and returns it.
func (m *mux) next(b []byte) received {
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
		return received{err: net.ErrClosed}
	case <-expired:
		return received{err: os.ErrDeadlineExceeded}
	default:
	}
	select {
	case <-m.done:
		return received{err: net.ErrClosed}
	case <-expired:
		return received{err: os.ErrDeadlineExceeded}
	case r := <-m.results:
		if r.conn == nil && r.err == nil {
			r.n = copy(b, m.bufs[r.sock][:r.n])
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.busy[r.sock] = false
		if m.waiting > 1 { // others wait as well
			m.start()
		}
		return r
	}
}

// start starts a receive on every socket that has none. The caller holds mu.
func (m *mux) start() {
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
func (m *mux) drop() {
	for {
		select {
		case r := <-m.results:
			if r.conn != nil {
				r.conn.Close()
			}
		default:
			return
		}
	}
}

func (m *mux) setDeadline(t time.Time) error {
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

// close ends every next and drops what was kept for one, after the caller has
// closed the sockets and so ended the receives.
func (m *mux) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	close(m.done)
	if m.timer != nil {
		m.timer.Stop()
	}
	m.drop()
}
