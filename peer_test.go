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
	for _, tt := range []struct {
		c    net.Conn
		what string
	}{
		{pipe, ": a *net.pipe is no socket"}, {wrapped{pipe}, ": a *net.pipe is no socket"}, {endless{pipe}, ": a loopback_test.endless is no socket"},
		{socketless{pipe, idle{}}, ""},
	} {
		uid, err := loopback.PeerUID(tt.c)
		assert.ErrorIs(t, err, errors.ErrUnsupported)
		assert.EqualError(t, err, "loopback: user of the peer: unsupported operation"+tt.what)
		assert.Zero(t, uid)
	}
	if udp, err := net.Dial("udp", "127.0.0.1:9"); err == nil {
		defer udp.Close()
		_, err = loopback.PeerUID(udp)
		assert.ErrorIs(t, err, errors.ErrUnsupported)
	}
}

func TestPeerUIDNamesBadInput(t *testing.T) {
	const panics = " panics: runtime error: invalid memory address or nil pointer dereference"
	for _, tt := range []struct {
		c    net.Conn
		want string
	}{
		{nil, "there is no connection"}, {wrapped{}, "there is no connection"},
		{(*net.TCPConn)(nil), "there is no connection"}, {(*net.UnixConn)(nil), "there is no connection"},
		{(*net.UDPConn)(nil), "there is no connection"}, {(*net.IPConn)(nil), "there is no connection"},
		{&net.TCPConn{}, syscall.EINVAL.Error()}, {&net.UnixConn{}, syscall.EINVAL.Error()},
		{(*tls.Conn)(nil), "a method of *tls.Conn" + panics}, {socketless{}, "a method of loopback_test.socketless" + panics},
	} {
		uid, err := loopback.PeerUID(tt.c)
		if _, noSocket := tt.c.(socketless); runtime.GOOS != "linux" && (noSocket || tt.want == syscall.EINVAL.Error()) {
			tt.want = errors.ErrUnsupported.Error() // and no socket is looked at
		}
		assert.EqualError(t, err, "loopback: user of the peer: "+tt.want, "%#v", tt.c)
		assert.Zero(t, uid, "%#v", tt.c)
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
