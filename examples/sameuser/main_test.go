//go:build linux

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback/internal/netnstest"
)

const child = "LOOPBACK_TEST_SAMEUSER"

// TestMain is the program itself in a process that a test starts.
func TestMain(m *testing.M) {
	if os.Getenv(child) != "" {
		main()
	}
	os.Exit(m.Run())
}

// program returns the program as a user runs it.
func program(t *testing.T, uid uint32, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", args...)
	cmd.Dir, cmd.Env = "/", append(os.Environ(), child+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}, Pdeathsig: syscall.SIGKILL}
	return cmd
}

func TestOnlyTheSameUserIsAnswered(t *testing.T) {
	if !netnstest.InWithUsers(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	const bob, alice = 1234, 1235
	server := program(t, bob, "serve", ":0")
	out, err := server.StdoutPipe()
	require.NoError(t, err)
	server.Stderr = os.Stderr
	require.NoError(t, server.Start())
	log := bufio.NewReader(out)
	line, err := log.ReadString('\n')
	require.NoError(t, err)
	var uid, port int
	_, err = fmt.Sscanf(line, "user %d listens on port %d", &uid, &port)
	require.NoError(t, err, line)
	assert.Equal(t, bob, uid)

	for _, host := range []string{"localhost", "127.0.0.1", "[::1]"} {
		address := fmt.Sprintf("%s:%d", host, port)
		answer, err := program(t, bob, "call", address, "it is me").Output()
		require.NoError(t, err)
		assert.Equal(t, "you said: it is me\n", string(answer))
		for _, other := range []uint32{alice, 0, 65534} {
			text, err := program(t, other, "call", address, "let me in").CombinedOutput()
			assert.Error(t, err)
			assert.Contains(t, string(text), "sameuser: cut off: ")
		}
	}
	require.NoError(t, server.Process.Signal(os.Interrupt))
	refusals, err := io.ReadAll(log)
	require.NoError(t, err)
	assert.NoError(t, server.Wait(), "it stops when it is interrupted")
	for line := range strings.Lines(string(refusals)) {
		// One that hangs up before it is looked at has no user any more.
		assert.Regexp(t, "^refused: accept tcp .*: (user (0|1235|65534) is not admitted|loopback: the peer is gone: .*)\n$", line)
	}
	for _, other := range []uint32{alice, 0, 65534} {
		assert.Contains(t, string(refusals), fmt.Sprintf("user %d is not admitted\n", other))
	}
}

func TestArguments(t *testing.T) {
	for _, args := range [][]string{nil, {"call"}, {"call", "x"}, {"nonsense"}, {"serve", "x", "y"}} {
		var out, err strings.Builder
		assert.Equal(t, 2, run(t.Context(), args, &out, &err), "%q", args)
		assert.Contains(t, err.String(), "usage: sameuser")
	}
	var out, stderr strings.Builder
	assert.Equal(t, 0, run(t.Context(), []string{"-h"}, &out, &stderr))
	assert.Contains(t, out.String(), "usage: sameuser")
	assert.Equal(t, 1, run(t.Context(), []string{"serve", "0.0.0.0:80"}, &out, &stderr))
	assert.Contains(t, stderr.String(), "not a loopback address")
	assert.Equal(t, 1, run(t.Context(), []string{"call", "192.0.2.1:80", "x"}, &out, &stderr))
}
