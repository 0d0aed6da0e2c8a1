package loopbacktest_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
	"example.com/loopback/loopbacktest"
)

// A recorder is a TestingT that keeps what it is told.
type recorder struct{ errors []string }

func (r *recorder) Error(args ...any) { r.errors = append(r.errors, fmt.Sprint(args...)) }

// helped counts the calls of Helper, too.
type helped struct {
	recorder
	helper int
}

func (h *helped) Helper() { h.helper++ }

func TestVerifyNoneExposed(t *testing.T) {
	var quiet helped
	loopbacktest.VerifyNoneExposed(&quiet)
	assert.Empty(t, quiet.errors)
	assert.Equal(t, 1, quiet.helper)

	loopbacktest.Listen(t)
	loopbacktest.ListenPacket(t)
	loopbacktest.VerifyNoneExposed(t)

	tcp, err := net.Listen("tcp4", ":0")
	require.NoError(t, err)
	defer tcp.Close()
	udp, err := net.ListenPacket("udp4", ":0")
	require.NoError(t, err)
	defer udp.Close()
	var r recorder
	loopbacktest.VerifyNoneExposed(&r)
	require.Len(t, r.errors, 1, "one error for all of them")
	assert.Contains(t, r.errors[0], "tcp "+tcp.Addr().String())
	assert.Contains(t, r.errors[0], "udp "+udp.LocalAddr().String())
	assert.Contains(t, r.errors[0], "fix: listen with loopback.Listen")

	tcpOnly := func(s loopback.Socket) bool { return s.Network == "tcp" }
	r.errors = nil
	loopbacktest.VerifyNoneExposed(&r, tcpOnly)
	require.Len(t, r.errors, 1)
	assert.NotContains(t, r.errors[0], "tcp "+tcp.Addr().String())
	loopbacktest.VerifyNoneExposed(t, tcpOnly, func(s loopback.Socket) bool { return s.Network == "udp" })
}

func TestVerifyNoneExposedWaitsForAClose(t *testing.T) {
	ln, err := net.Listen("tcp4", ":0")
	require.NoError(t, err)
	closed := time.AfterFunc(50*time.Millisecond, func() { ln.Close() })
	defer closed.Stop()
	loopbacktest.VerifyNoneExposed(t)
}

// An errorFunc is a TestingT that is a function.
type errorFunc func(args ...any)

func (f errorFunc) Error(args ...any) { f(args...) }

func TestVerifyBadInput(t *testing.T) {
	assert.PanicsWithValue(t, "loopbacktest: VerifyNoneExposed: the TestingT is nil", func() { loopbacktest.VerifyNoneExposed(nil) })
	assert.PanicsWithValue(t, "loopbacktest: VerifyNoneExposed: the TestingT is nil", func() { loopbacktest.VerifyNoneExposed((*testing.T)(nil)) })
	assert.PanicsWithValue(t, "loopbacktest: VerifyNoneExposed: a function of ignore is nil", func() { loopbacktest.VerifyNoneExposed(t, nil) })
	assert.PanicsWithValue(t, "loopbacktest: VerifyNoneExposed: the TestingT is nil", func() { loopbacktest.VerifyNoneExposed(errorFunc(nil)) })
	assert.PanicsWithValue(t, "loopbacktest: Listen: the testing.TB is nil", func() { loopbacktest.Listen(nil) })
	assert.PanicsWithValue(t, "loopbacktest: ListenPacket: the testing.TB is nil", func() { loopbacktest.ListenPacket(nil) })
	assert.PanicsWithValue(t, "loopbacktest: Addr: the testing.TB is nil", func() { loopbacktest.Addr((*testing.B)(nil)) })
	assert.PanicsWithValue(t, "loopbacktest: VerifyTestMain: the TestingM is nil", func() { loopbacktest.VerifyTestMain(nil) })
}

func TestVerifyTestMain(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	for _, tt := range []struct {
		what string
		code int
		says bool
	}{
		{"0", 0, false},
		{"0 127.0.0.1:0", 0, false},
		{"0 0.0.0.0:0", 1, true},
		{"7", 7, false},
		{"7 0.0.0.0:0", 7, false},
		{"ignore 0 0.0.0.0:0", 0, false},
	} {
		t.Run(tt.what, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), exe)
			cmd.Env = append(os.Environ(), asMain+"="+tt.what)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			stdout, err := cmd.Output()
			if _, ok := err.(*exec.ExitError); err != nil && !ok {
				t.Skipf("needs to start itself: %v", err)
			}
			require.NotContains(t, string(stdout), "skip:")
			assert.Equal(t, tt.code, cmd.ProcessState.ExitCode())
			assert.Equal(t, tt.says, strings.Contains(stderr.String(), "sockets that other machines may reach"), "%s", &stderr)
		})
	}
}

func TestListenAndAddrEndWithTheTest(t *testing.T) {
	var ln *loopback.Listener
	var pc *loopback.PacketConn
	t.Run("inside", func(t *testing.T) {
		ln, pc = loopbacktest.Listen(t), loopbacktest.ListenPacket(t)
		require.NoError(t, loopbacktest.Listen(t).Close(), "before the test ends")
		c, err := loopback.DialContext(t.Context(), "tcp", ln.Addr().String())
		require.NoError(t, err)
		c.Close()
	})
	assert.ErrorIs(t, ln.Close(), net.ErrClosed)
	assert.ErrorIs(t, pc.Close(), net.ErrClosed)
}

func TestAddrIsOfOneTestAlone(t *testing.T) {
	first := loopbacktest.Addr(t)
	for i := range 4 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			addr := loopbacktest.Addr(t)
			assert.True(t, loopback.Is(addr))
			assert.NotEqual(t, first, addr)
			ln, err := net.Listen("tcp", addr.String()+":8080")
			require.NoError(t, err)
			ln.Close()
		})
	}
}
