//go:build linux

// Package netlink asks the Linux kernel single questions over netlink: one
// request, one answer or the list of them, no privilege, no memory of earlier
// calls.
package netlink

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// HeaderLen is the length of struct nlmsghdr, which every message begins with.
const HeaderLen = unix.SizeofNlMsghdr

// answerTimeout bounds the wait for an answer. The kernel queues the answer
// before the write of the request returns: the wait is for what imitates it.
const answerTimeout = time.Second

var errMalformed = errors.New("malformed netlink answer")

// A Conn is a netlink socket connected to the kernel, which alone can send to
// it. Its methods may be called by several goroutines at the same time.
type Conn struct {
	mu  sync.Mutex
	fd  int // -1 once closed
	seq uint32
}

// Open returns a Conn of a netlink protocol, such as unix.NETLINK_ROUTE. It
// belongs to the network namespace of the calling thread.
func Open(protocol int) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	return &Conn{fd: fd}, nil
}

// Namespace returns a number that tells the network namespace of c from others:
// SO_NETNS_COOKIE, which Linux has since 5.14. It is 0 before.
func (c *Conn) Namespace() (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return NamespaceOf(c.fd)
}

// NamespaceOf is [Conn.Namespace] for a socket of any kind.
func NamespaceOf(fd int) (uint64, error) {
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err == unix.ENOPROTOOPT || err == unix.EOPNOTSUPP || err == unix.EINVAL { // before Linux 5.14, and in imitations of Linux
		return 0, nil
	}
	return cookie, os.NewSyscallError("getsockopt SO_NETNS_COOKIE", err)
}

// Close closes the socket. A second Close returns [net.ErrClosed].
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return net.ErrClosed
	}
	fd := c.fd
	c.fd = -1
	return os.NewSyscallError("close", unix.Close(fd))
}

// Call sends the request msg, of the given message type and with NLM_F_REQUEST
// alone, and reads one answer into buf, of which body, the answer without its
// header, is a part. The first [HeaderLen] bytes of msg are for the header,
// which Call fills in.
//
// An error that the kernel answers with is returned as the bare [unix.Errno].
// A buf too short for the answer is an error.
func (c *Conn) Call(typ uint16, msg, buf []byte) (answer uint16, body []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.send(typ, 0, msg); err != nil {
		return 0, nil, err
	}
	for {
		n, err := c.read(buf)
		if err != nil {
			return 0, nil, os.NewSyscallError("read", err)
		}
		m, err := c.parse(buf[:n])
		if err != nil {
			return 0, nil, err
		}
		if m.ours {
			return m.typ, m.body, nil
		}
	}
}

// Dump sends the request msg as Call does, for all that match it, and calls
// each with the body of every message of the answer.
func (c *Conn) Dump(typ uint16, msg []byte, each func(body []byte)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.send(typ, unix.NLM_F_DUMP, msg); err != nil {
		return err
	}
	buf := make([]byte, 32<<10) // the most that the kernel puts into one datagram
	for {
		n, err := c.read(buf)
		if err != nil {
			return os.NewSyscallError("read", err)
		}
		for rest := buf[:n]; len(rest) > 0; {
			m, err := c.parse(rest)
			if err != nil {
				return err
			}
			switch {
			case !m.ours:
			case m.typ == unix.NLMSG_DONE:
				return nil
			case m.typ != unix.NLMSG_NOOP:
				each(m.body)
			}
			rest = rest[m.size:]
		}
	}
}

// send fills in the header of msg and writes it. The caller holds mu.
func (c *Conn) send(typ, flags uint16, msg []byte) error {
	if c.fd < 0 {
		return net.ErrClosed
	}
	c.seq++
	order := binary.NativeEndian
	order.PutUint32(msg[0:], uint32(len(msg)))
	order.PutUint16(msg[4:], typ)
	order.PutUint16(msg[6:], unix.NLM_F_REQUEST|flags)
	order.PutUint32(msg[8:], c.seq)
	order.PutUint32(msg[12:], 0) // port id: the kernel knows
	_, err := unix.Write(c.fd, msg)
	return os.NewSyscallError("write", err)
}

// A message is one message of an answer.
type message struct {
	typ  uint16
	body []byte
	size int  // with its header, and up to where the next one begins
	ours bool // not the late answer to a call that timed out
}

// parse reads the message that b begins with. Its error may be one that the
// kernel answers with.
func (c *Conn) parse(b []byte) (message, error) {
	if len(b) < HeaderLen {
		return message{}, errMalformed
	}
	order := binary.NativeEndian
	size := order.Uint32(b)
	if size < HeaderLen || size > uint32(len(b)) {
		return message{}, errMalformed
	}
	m := message{typ: order.Uint16(b[4:]), body: b[HeaderLen:size], ours: order.Uint32(b[8:]) == c.seq}
	m.size = min(len(b), int(size+3)&^3)
	if !m.ours || m.typ != unix.NLMSG_ERROR && m.typ != unix.NLMSG_DONE {
		return m, nil
	}
	if len(m.body) < 4 {
		return m, errMalformed
	}
	if errno := int32(order.Uint32(m.body)); errno < 0 {
		return m, unix.Errno(-errno)
	}
	return m, nil
}

// read reads one datagram, waiting for it if it is not there yet.
func (c *Conn) read(buf []byte) (int, error) {
	var deadline time.Time
	for {
		n, err := unix.Read(c.fd, buf)
		if err != unix.EAGAIN && err != unix.EINTR {
			return n, err
		}
		if deadline.IsZero() {
			deadline = time.Now().Add(answerTimeout)
		}
		wait := time.Until(deadline)
		if wait <= 0 {
			return 0, unix.ETIMEDOUT
		}
		fds := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, int(wait.Milliseconds())+1); err != nil && err != unix.EINTR {
			return 0, err
		}
	}
}
