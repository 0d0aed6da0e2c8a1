package merge

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Receiver receives from several sockets as if they were one. The sockets are in
// an epoll instance, and that one is in the runtime's poller: the goroutine
// that wants something waits there, then receives from the socket that has
// something. No other goroutine is needed, and nothing is received that was
// not asked for. The kernel takes ready sockets in turn.
type Receiver struct {
	epoll   *os.File
	raw     syscall.RawConn
	socks   []Source
	receive Receive
	ready   func(fd uintptr) bool // m.take, bound once: it would be allocated for each call

	mu  sync.Mutex // one receives at a time
	buf []byte     // into this
	got Result
}

// stolen bounds the wait of one receive on a socket that epoll says is ready:
// only if another process that has the socket came first is there a wait at all.
const stolen = 100 * time.Millisecond

// New returns a Receiver of socks. On an error nothing is left open but socks.
func New(socks []Source, receive Receive, _ int) (*Receiver, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // for os.NewFile to put it in the poller
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	m := &Receiver{epoll: os.NewFile(uintptr(fd), "epoll"), socks: socks, receive: receive}
	m.ready = m.take
	if err := m.epoll.SetDeadline(time.Time{}); err != nil { // NewFile says nothing if the poller did not take it
		m.epoll.Close()
		return nil, err
	}
	if m.raw, err = m.epoll.SyscallConn(); err != nil {
		m.epoll.Close()
		return nil, err
	}
	for i, s := range socks {
		if err := addToEpoll(fd, i, s); err != nil {
			m.epoll.Close()
			return nil, err
		}
	}
	return m, nil
}

func addToEpoll(epoll, i int, c syscall.Conn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := raw.Control(func(fd uintptr) {
		err = os.NewSyscallError("epoll_ctl", unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, int(fd),
			&unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}))
	}); cerr != nil {
		return cerr
	}
	return err
}

// Next waits for a socket that has something, and receives it.
func (m *Receiver) Next(b []byte) Result {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.buf, m.got = b, Result{}
	err := m.raw.Read(m.ready)
	got := m.got
	m.buf, m.got = nil, Result{}
	if err != nil {
		return Result{Err: err}
	}
	return got
}

// take receives from a socket that is ready, and reports false if none is.
func (m *Receiver) take(fd uintptr) bool {
	var events [1]unix.EpollEvent
	for {
		n, err := unix.EpollWait(int(fd), events[:], 0)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			m.got = Result{Err: os.NewSyscallError("epoll_wait", err)}
			return true
		case n == 0:
			return false
		}
		i := int(events[0].Fd)
		_ = m.socks[i].SetReadDeadline(time.Now().Add(stolen))
		m.got = m.receive(i, m.buf)
		if !errors.Is(m.got.Err, os.ErrDeadlineExceeded) {
			return true
		}
	}
}

// SetDeadline sets the time after which Next fails; the zero Time is none.
func (m *Receiver) SetDeadline(t time.Time) error { return m.epoll.SetReadDeadline(t) }

// Close ends every Next, after the caller has closed the sockets.
func (m *Receiver) Close() { m.epoll.Close() }
