package loopback_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
)

// What package net hands to Control, and what a configuration may hold.
func TestRequire(t *testing.T) {
	for _, tt := range []struct {
		network, address string
		ok               bool
	}{
		{"tcp4", "127.0.0.1:80", true},
		{"tcp", "127.0.0.1:0", true},
		{"tcp6", "[::1]:80", true},
		{"tcp6", "[::1%lo]:80", true},
		{"tcp6", "[::ffff:127.0.0.1]:80", true},
		{"udp4", "127.255.255.254:53", true},
		{"udp6", "[::1]:53", true},
		{"ip4", "127.0.0.1", true},
		{"ip6", "::1", true},
		{"ip6", "::1%lo", true},

		{"tcp4", "", false},
		{"tcp6", ":80", false},
		{"tcp4", ":0", false},
		{"tcp4", "0.0.0.0:80", false},
		{"tcp6", "[::]:80", false},
		{"tcp6", "[::%lo]:80", false},
		{"tcp6", "[::ffff:0.0.0.0]:80", false},
		{"tcp4", "192.0.2.1:80", false},
		{"tcp4", "127.0.0.1", false},
		{"tcp6", "::1", false},
		{"tcp6", "[::1]", false},
		{"tcp6", "[fe80::1%lo]:80", false},
		{"tcp6", "[64:ff9b::7f00:1]:80", false},
		{"udp4", "224.0.0.1:5353", false},
		{"tcp", "localhost:80", false}, // what the name means is not known before it is resolved
		{"tcp", "127.1:80", false},
		{"ip4", "192.0.2.1", false},
		{"ip4", "", false},
		{"unix", "/run/app.sock", false},
		{"unix", "127.0.0.1:80", false},
		{"unixgram", "@127.0.0.1:80", false},
	} {
		err := loopback.Require(tt.network, tt.address, nil)
		if tt.ok {
			assert.NoError(t, err, "%s %s", tt.network, tt.address)
			continue
		}
		require.ErrorIs(t, err, loopback.ErrNotLoopback, "%s %s", tt.network, tt.address)
		assert.Contains(t, err.Error(), tt.address)
	}
}

func TestRequireAsControl(t *testing.T) {
	skipWithoutSockets(t)
	for _, multipath := range []bool{false, true} {
		lc := net.ListenConfig{Control: loopback.Require}
		lc.SetMultipathTCP(multipath)
		for _, address := range []string{":0", "0.0.0.0:0", "[::]:0"} {
			_, err := lc.Listen(t.Context(), "tcp", address)
			require.ErrorIs(t, err, loopback.ErrNotLoopback, address)
			_, err = lc.ListenPacket(t.Context(), "udp", address)
			require.ErrorIs(t, err, loopback.ErrNotLoopback, address)
		}
		ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer ln.Close()

		// 192.0.2.1 is for documentation (RFC 5737); nothing is sent to it.
		d := net.Dialer{Control: loopback.Require}
		d.SetMultipathTCP(multipath)
		for _, network := range []string{"tcp", "udp"} {
			_, err = d.DialContext(t.Context(), network, "192.0.2.1:80")
			require.ErrorIs(t, err, loopback.ErrNotLoopback)
		}
		c, err := d.DialContext(t.Context(), "tcp", ln.Addr().String())
		require.NoError(t, err)
		c.Close()
	}
	if runtime.GOOS != "windows" {
		lc := net.ListenConfig{Control: loopback.Require}
		path := filepath.Join(t.TempDir(), "s")
		_, err := lc.Listen(t.Context(), "unix", path)
		require.ErrorIs(t, err, loopback.ErrNotLoopback)
		assert.NoFileExists(t, path)
	}
}

func TestVerify(t *testing.T) {
	skipWithoutSockets(t)
	listen := func(network, address string) *net.TCPListener {
		ln, err := net.Listen(network, address)
		require.NoError(t, err)
		t.Cleanup(func() { ln.Close() })
		return ln.(*net.TCPListener)
	}
	ln := listen("tcp4", "127.0.0.1:0")
	assert.NoError(t, loopback.Verify(ln))

	conn, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	assert.NoError(t, loopback.Verify(conn.(*net.TCPConn)))

	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer pc.Close()
	assert.NoError(t, loopback.Verify(pc.(*net.UDPConn)))

	// Nothing connects to these, and they are closed at once.
	var lc net.ListenConfig
	wild, err := lc.ListenPacket(context.Background(), "udp4", "0.0.0.0:0")
	require.NoError(t, err)
	err = loopback.Verify(wild.(*net.UDPConn))
	wild.Close()
	require.ErrorIs(t, err, loopback.ErrNotLoopback)
	assert.ErrorContains(t, err, "every interface")
	require.IsType(t, (*net.OpError)(nil), err)

	closed := listen("tcp4", "127.0.0.1:0")
	closed.Close()
	err = loopback.Verify(closed)
	require.ErrorIs(t, err, net.ErrClosed)
	assert.NotErrorIs(t, err, loopback.ErrNotLoopback)
	assert.EqualError(t, err, "verify tcp "+closed.Addr().String()+": use of closed network connection")

	f, err := os.Open(os.Args[0])
	require.NoError(t, err)
	defer f.Close()
	require.Error(t, loopback.Verify(f))
	if runtime.GOOS != "windows" {
		require.ErrorIs(t, loopback.Verify(f), loopback.ErrNotLoopback)
	}
}
