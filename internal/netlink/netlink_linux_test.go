package netlink_test

import (
	"encoding/binary"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/loopback/internal/netlink"
)

// getLink asks for the interface with an index, and returns the index of the
// answer.
func getLink(c *netlink.Conn, index uint32, buf []byte) (uint32, error) {
	msg := make([]byte, netlink.HeaderLen+unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(msg[netlink.HeaderLen+4:], index)
	typ, body, err := c.Call(unix.RTM_GETLINK, msg, buf)
	if err != nil {
		return 0, err
	}
	if typ != unix.RTM_NEWLINK || len(body) < unix.SizeofIfInfomsg {
		return 0, unix.EBADMSG
	}
	return binary.NativeEndian.Uint32(body[4:]), nil
}

func open(t *testing.T) *netlink.Conn {
	t.Helper()
	c, err := netlink.Open(unix.NETLINK_ROUTE)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func TestCall(t *testing.T) {
	ifs, err := net.Interfaces()
	require.NoError(t, err)
	require.NotEmpty(t, ifs)
	c := open(t)
	for _, ifi := range ifs {
		got, err := getLink(c, uint32(ifi.Index), make([]byte, 8<<10))
		require.NoError(t, err, ifi.Name)
		assert.Equal(t, uint32(ifi.Index), got, ifi.Name)
	}
}

func TestCallErrors(t *testing.T) {
	c := open(t)
	_, err := getLink(c, 1<<30, make([]byte, 8<<10))
	assert.Equal(t, unix.ENODEV, err, "an error of the kernel is a bare errno")

	_, err = getLink(c, 1, make([]byte, 32))
	assert.Error(t, err, "an answer longer than the buffer")

	_, err = getLink(c, 1, make([]byte, 8<<10))
	assert.NoError(t, err, "the socket is in order after both")

	require.NoError(t, c.Close())
	_, err = getLink(c, 1, make([]byte, 8<<10))
	assert.ErrorIs(t, err, net.ErrClosed)
	assert.ErrorIs(t, c.Close(), net.ErrClosed)

	_, err = netlink.Open(1 << 20)
	assert.ErrorIs(t, err, unix.EPROTONOSUPPORT)
}

func TestCallConcurrent(t *testing.T) {
	ifs, err := net.Interfaces()
	require.NoError(t, err)
	c := open(t)
	var wg sync.WaitGroup
	for i := range 8 {
		index := uint32(ifs[i%len(ifs)].Index)
		wg.Go(func() {
			buf := make([]byte, 8<<10)
			for range 200 {
				got, err := getLink(c, index, buf)
				if !assert.NoError(t, err) || !assert.Equal(t, index, got) {
					return
				}
			}
		})
	}
	wg.Wait()
}
