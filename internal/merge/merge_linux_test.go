package merge_test

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/loopback/internal/merge"
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

// duplicate returns another descriptor of a socket, as in a process that
// inherited it.
func duplicate(t *testing.T, ln *net.TCPListener) (fd int) {
	t.Helper()
	raw, err := ln.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(own uintptr) {
		fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0)
	}))
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// Another process that has the socket may take the connection that Next was
// woken for. The other socket is served all the same, and so is what comes.
func TestNextAfterTheft(t *testing.T) {
	var lns []*net.TCPListener
	var sources []merge.Source
	var shared []int
	for range 2 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer ln.Close()
		tcp := ln.(*net.TCPListener)
		lns = append(lns, tcp)
		sources = append(sources, merge.Source{Conn: tcp, SetReadDeadline: tcp.SetDeadline})
		shared = append(shared, duplicate(t, tcp))
	}
	var victim atomic.Int32 // of whom every connection is stolen
	thefts := make(chan struct{}, 1)
	m, err := merge.New(sources, func(i int, _ []byte) merge.Result {
		if i == int(victim.Load()) {
			fd, _, err := unix.Accept4(shared[i], unix.SOCK_CLOEXEC)
			if assert.NoError(t, err) {
				unix.Close(fd)
			}
			thefts <- struct{}{}
		}
		c, err := lns[i].AcceptTCP()
		return merge.Result{Source: i, Conn: c, Err: err}
	}, 0)
	require.NoError(t, err)
	defer m.Close()
	next := func() <-chan merge.Result {
		result := make(chan merge.Result, 1)
		go func() { result <- m.Next(nil) }()
		return result
	}
	dial := func(i int) net.Conn {
		c, err := net.DialTimeout("tcp", lns[i].Addr().String(), patience)
		require.NoError(t, err)
		t.Cleanup(func() { c.Close() })
		return c
	}

	for i := range lns {
		victim.Store(int32(i))
		for range 3 {
			result := next()
			dial(i)
			wait(t, thefts)
			client := dial(1 - i)
			got := wait(t, result)
			require.NoError(t, got.Err)
			assert.Equal(t, 1-i, got.Source)
			assert.Equal(t, client.LocalAddr().String(), got.Conn.RemoteAddr().String())
			got.Conn.Close()
		}
	}

	// Close does not wait for a connection that was stolen.
	victim.Store(0)
	result := next()
	dial(0)
	wait(t, thefts)
	lns[0].Close()
	lns[1].Close()
	m.Close()
	require.ErrorIs(t, wait(t, result).Err, net.ErrClosed)
}
