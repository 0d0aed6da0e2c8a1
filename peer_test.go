package loopback_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
)

// endless is a connection that says that it wraps itself.
type endless struct{ net.Conn }

func (e endless) NetConn() net.Conn { return e }

// socketless is a connection that has the methods of a socket, and none below.
type socketless struct {
	net.Conn
	raw syscall.RawConn
}

func (s socketless) SyscallConn() (syscall.RawConn, error) { return s.raw, nil }

// idle is a RawConn that calls no function.
type idle struct{ syscall.RawConn }

func (idle) Control(func(fd uintptr)) error { return nil }

func TestPeerUIDIsUnsupportedOfOtherThingsThanStreams(t *testing.T) {
	pipe, other := net.Pipe()
	defer pipe.Close()
	defer other.Close()
	for name, c := range map[string]net.Conn{"net.Pipe": pipe, "wrapped": wrapped{pipe}, "endless": endless{pipe},
		"without a socket": socketless{pipe, idle{}}} {
		uid, err := loopback.PeerUID(c)
		assert.ErrorIs(t, err, errors.ErrUnsupported, name)
		assert.Zero(t, uid)
	}
	if udp, err := net.Dial("udp", "127.0.0.1:9"); err == nil {
		defer udp.Close()
		_, err = loopback.PeerUID(udp)
		assert.ErrorIs(t, err, errors.ErrUnsupported)
	}
}

func TestPeerUIDNamesBadInput(t *testing.T) {
	for name, c := range map[string]net.Conn{"nil": nil, "wrapped nil": wrapped{}, "nil TCPConn": (*net.TCPConn)(nil), "zero TCPConn": &net.TCPConn{},
		"nil UDPConn": (*net.UDPConn)(nil), "nil IPConn": (*net.IPConn)(nil), "zero UnixConn": &net.UnixConn{},
		"nil tls.Conn": (*tls.Conn)(nil), "nil RawConn": socketless{}} {
		uid, err := loopback.PeerUID(c)
		assert.ErrorContains(t, err, "loopback: user of the peer: ", name)
		assert.Zero(t, uid, name)
	}
}

func TestPeerUIDElsewhereThanLinux(t *testing.T) {
	_, server := tcpPair(t, "127.0.0.1")
	uid, err := loopback.PeerUID(server)
	if runtime.GOOS == "linux" {
		assert.NoError(t, err)
		assert.EqualValues(t, os.Geteuid(), uid)
		return
	}
	assert.ErrorIs(t, err, errors.ErrUnsupported)
	assert.Zero(t, uid)
}

func TestPeerUIDOfUnixSockets(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SO_PEERCRED is Linux's")
	}
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	require.NoError(t, err)
	defer ln.Close()
	c, err := net.Dial("unix", path)
	require.NoError(t, err)
	s, err := ln.Accept()
	require.NoError(t, err)
	defer s.Close()
	for _, end := range []net.Conn{c, s, wrapped{s}} {
		uid, err := loopback.PeerUID(end)
		require.NoError(t, err)
		assert.EqualValues(t, os.Geteuid(), uid)
	}
	require.NoError(t, c.Close())
	_, err = io.ReadAll(s)
	require.NoError(t, err)
	uid, err := loopback.PeerUID(s)
	require.NoError(t, err, "the kernel has kept it")
	assert.EqualValues(t, os.Geteuid(), uid)

	gram, err := net.ListenPacket("unixgram", filepath.Join(t.TempDir(), "g"))
	require.NoError(t, err)
	defer gram.Close()
	_, err = loopback.PeerUID(gram.(*net.UnixConn))
	assert.ErrorIs(t, err, errors.ErrUnsupported)
}
