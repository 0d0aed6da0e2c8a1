//go:build linux

// Package netlink asks the Linux kernel single questions over netlink: one
// request, one answer, no privilege, no memory of earlier calls.
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
	if c.fd < 0 {
		return 0, nil, net.ErrClosed
	}
	c.seq++
	order := binary.NativeEndian
	order.PutUint32(msg[0:], uint32(len(msg)))
	order.PutUint16(msg[4:], typ)
	order.PutUint16(msg[6:], unix.NLM_F_REQUEST)
	order.PutUint32(msg[8:], c.seq)
	order.PutUint32(msg[12:], 0) // port id: the kernel knows
	if _, err := unix.Write(c.fd, msg); err != nil {
		return 0, nil, os.NewSyscallError("write", err)
	}
	for {
		n, err := c.read(buf)
		if err != nil {
			return 0, nil, os.NewSyscallError("read", err)
		}
		if n < HeaderLen {
			return 0, nil, errMalformed
		}
		if order.Uint32(buf[8:]) != c.seq {
			continue // the late answer to a call that timed out
		}
		size := order.Uint32(buf)
		if size < HeaderLen || size > uint32(n) {
			return 0, nil, errMalformed
		}
		answer, body = order.Uint16(buf[4:]), buf[HeaderLen:size]
		if answer == unix.NLMSG_ERROR {
			if len(body) < 4 {
				return 0, nil, errMalformed
			}
			if errno := int32(order.Uint32(body)); errno != 0 {
				return 0, nil, unix.Errno(-errno)
			}
		}
		return answer, body, nil
	}
}

// read reads one datagram, waiting for it if it is not there yet.
func (c *Conn) read(buf []byte) (int, error) {
	var deadline time.Time
	for {
		n, err := unix.Read(c.fd, buf)
		if err == nil || err != unix.EAGAIN && err != unix.EINTR {
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
