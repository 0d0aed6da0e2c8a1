package merge

import (
	"cmp"
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// An epoll is a Receiver without goroutines of its own. The sources are in an
// epoll instance, and the instance is in the poller of the runtime. Who finds
// nothing in the sources waits there.
//
// A queue costs one receive for each of its datagrams or connections: epoll is
// asked only when the source of the last one has no more, or it is the turn of
// the others.
type epoll struct {
	file    *os.File
	raw     syscall.RawConn // of file
	sources []watched
	isUDP   bool
	ready   func(fd uintptr) bool // e.take
	read    func(fd uintptr)      // e.recv
	count   func(fd uintptr)      // e.countWaiting
	receive func(i int) bool      // receives into got; reports false if the source is empty

	start    time.Time
	setting  sync.Mutex   // one sets the deadline at a time
	deadline atomic.Int64 // after start; 0 if there is none

	mu     sync.Mutex // one receives at a time
	buf    []byte     // into this
	got    Result
	msg    message
	info   unix.TCPInfo
	events []unix.EpollEvent
	direct bool          // the last result was there before it was asked for: the next may be, too
	woken  bool          // the caller has waited
	last   int           // the source that had something last
	left   int           // how often it may give something more before the others
	fresh  time.Duration // until when, after start, left is true of TCP
}

// A watched is a source in an epoll.
type watched struct {
	Source
	raw   syscall.RawConn
	until time.Duration // the deadline of TCP, after start
}

// longestRun is the most that one source may give while nobody looks whether
// another has something.
const longestRun = 16

// stolen bounds the wait in one accept. There is no wait unless another process
// took the connection that was there.
const stolen = 100 * time.Millisecond

// freshness is how long the number of connections that wait is believed.
// Another process that has the socket may accept them as well.
const freshness = time.Millisecond

func newReceiver(sources []Source) (_ Receiver, err error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_NONBLOCK); err != nil { // for os.NewFile to put it in the poller
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	e := &epoll{
		file:    os.NewFile(uintptr(fd), "epoll"),
		sources: make([]watched, len(sources)),
		start:   time.Now(),
		events:  make([]unix.EpollEvent, len(sources)),
		last:    len(sources) - 1,
		isUDP:   sources[0].UDP != nil,
	}
	defer func() {
		if err != nil {
			e.file.Close()
		}
	}()
	// Bound once: they would be allocated for each call.
	e.ready = e.take
	if e.isUDP {
		e.read, e.receive = e.recv, e.datagram
	} else {
		e.count, e.receive = e.countWaiting, e.accept
	}
	e.raw, err = e.file.SyscallConn()
	if err = cmp.Or(err, e.file.SetDeadline(time.Time{})); err != nil { // NewFile says nothing if the poller did not take it
		return nil, err
	}
	for i, s := range sources {
		var c syscall.Conn = s.UDP
		if s.TCP != nil {
			c = s.TCP
		}
		raw, err := c.SyscallConn()
		if err != nil {
			return nil, err
		}
		e.events[i] = unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}
		if err := add(fd, raw, &e.events[i]); err != nil {
			return nil, err
		}
		e.sources[i] = watched{Source: s, raw: raw}
	}
	return e, nil
}

// add adds a socket to an epoll instance.
func add(epoll int, c syscall.RawConn, event *unix.EpollEvent) (err error) {
	if cerr := c.Control(func(fd uintptr) {
		err = os.NewSyscallError("epoll_ctl", unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, int(fd), event))
	}); cerr != nil {
		return cerr
	}
	return err
}

func (e *epoll) Next(b []byte) Result {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.buf, e.woken = b, false
	if !e.direct || e.expired() || !e.again() {
		if err := e.raw.Read(e.ready); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				err = net.ErrClosed // in the words of a file
			}
			e.got = Result{Err: err}
		}
	}
	got := e.got
	e.buf, e.got.Conn = nil, nil // they are the caller's
	return got
}

// again receives without a question to epoll, if there is something: from the
// source of the last result, or from another if it is their turn.
func (e *epoll) again() bool {
	switch {
	case !e.isUDP && (e.left == 0 || time.Since(e.start) > e.fresh):
		return false // accept would wait
	case e.left == 0:
		for k := 1; k < len(e.sources); k++ {
			if i := (e.last + k) % len(e.sources); e.receive(i) {
				e.last = i
				return true
			}
		}
		e.left = longestRun
	}
	e.left--
	return e.receive(e.last)
}

// take receives from the first source after the last one that epoll reports. It
// reports false if none has something: what comes later wakes the caller.
func (e *epoll) take(fd uintptr) bool {
	if e.woken && e.isUDP && e.receive(e.last) { // as a rule it is the same source as before
		return true
	}
	for {
		n, err := unix.EpollWait(int(fd), e.events, 0)
		reported := e.events[:max(n, 0)]
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			e.got = Result{Err: os.NewSyscallError("epoll_wait", err)}
			return true
		case e.first(reported):
			e.direct = !e.woken
			if e.direct && !e.isUDP {
				e.foresee(reported)
			}
			return true
		case n == 0 || e.isUDP: // an error may be reported for as long as its queue is not read
			e.woken, e.direct = true, false
			return false
		}
	}
}

// first receives from the first source after the last one that epoll reported,
// and that has something.
func (e *epoll) first(reported []unix.EpollEvent) bool {
	for k := range e.sources {
		i := (e.last + 1 + k) % len(e.sources)
		if contains(reported, i) && e.receive(i) {
			e.last, e.left = i, 1
			return true
		}
	}
	return false
}

func contains(reported []unix.EpollEvent, i int) bool {
	return slices.ContainsFunc(reported, func(ev unix.EpollEvent) bool { return int(ev.Fd) == i })
}

// foresee finds out what can be accepted after a connection of the last source
// without a question to epoll: one of the next source that was reported, or else
// what waits in the same.
func (e *epoll) foresee(reported []unix.EpollEvent) {
	e.left, e.fresh = 0, time.Since(e.start)+freshness
	for k := range len(e.sources) - 1 {
		if i := (e.last + 1 + k) % len(e.sources); contains(reported, i) {
			e.last, e.left = i, 1
			return
		}
	}
	_ = e.sources[e.last].raw.Control(e.count) // if that fails, epoll is asked
}

// countWaiting sets left to the number of connections that wait in a socket.
func (e *epoll) countWaiting(fd uintptr) {
	e.left = min(backlog(fd, &e.info), longestRun)
}

// accept accepts from a source that has a connection.
func (e *epoll) accept(i int) bool {
	s := &e.sources[i]
	if now := time.Since(e.start); s.until-now < stolen/2 { // not for each accept: it costs a twentieth of one
		s.until = now + stolen
		_ = s.TCP.SetDeadline(e.start.Add(s.until)) // what could be wrong with s, AcceptTCP says
	}
	c, err := s.TCP.AcceptTCP()
	e.got = Result{Source: i, Conn: c, Err: err}
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// datagram receives from a source that may be empty.
func (e *epoll) datagram(i int) bool {
	e.got = Result{Source: i}
	if err := e.sources[i].raw.Control(e.read); err != nil {
		if op, ok := errors.AsType[*net.OpError](err); ok {
			err = op.Err
		}
		e.got.Err = err
	}
	return e.got.Err != unix.EAGAIN
}

// recv receives from the socket of e.got.Source. It does not wait.
func (e *epoll) recv(fd uintptr) {
	e.msg.receive(int(fd), e.buf, e.sources[e.got.Source].Interface, &e.got)
}

// expired reports whether the deadline has passed.
func (e *epoll) expired() bool {
	deadline := e.deadline.Load()
	return deadline != 0 && int64(time.Since(e.start)) >= deadline
}

func (e *epoll) SetDeadline(t time.Time) error {
	e.setting.Lock()
	defer e.setting.Unlock()
	var deadline int64
	if !t.IsZero() {
		deadline = int64(t.Sub(e.start)) | 1 // not 0
	}
	e.deadline.Store(deadline)
	if e.file.SetReadDeadline(t) != nil {
		return net.ErrClosed
	}
	return nil
}

func (e *epoll) Close() { e.file.Close() }
