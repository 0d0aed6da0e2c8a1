package loopbacktest_test

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
	"example.com/loopback/loopbacktest"
)

// asMain makes the test binary one that VerifyTestMain ends: see
// TestVerifyTestMain.
const asMain = "LOOPBACKTEST_AS_MAIN"

// A fakeM is a set of tests that ends with an exit code, and leaves a socket.
type fakeM struct {
	code   int
	listen string
}

func (m fakeM) Run() int {
	if m.listen != "" {
		if _, err := net.Listen("tcp", m.listen); err != nil {
			fmt.Println("skip:", err)
		}
	}
	return m.code
}

func TestMain(m *testing.M) {
	what, ok := os.LookupEnv(asMain)
	if !ok {
		loopbacktest.VerifyTestMain(m)
	}
	var f fakeM
	ignore := strings.HasPrefix(what, "ignore ")
	fmt.Sscan(strings.TrimPrefix(what, "ignore "), &f.code, &f.listen)
	if ignore {
		loopbacktest.VerifyTestMain(f, func(s loopback.Socket) bool { return s.Network == "tcp" })
	}
	loopbacktest.VerifyTestMain(f)
}

// descriptors returns how many descriptors this process has, on Linux. Elsewhere
// it returns 0: under Wine, /proc is there and lists those of Wine, too.
func descriptors() int {
	if runtime.GOOS != "linux" {
		return 0
	}
	open, _ := os.ReadDir("/proc/self/fd")
	return len(open)
}

// requireNothingLeft fails the test if it leaves a goroutine, a socket or another
// descriptor that was not there before.
func requireNothingLeft(t *testing.T) {
	t.Helper()
	if c, err := net.ListenPacket("udp4", "127.0.0.1:0"); err == nil {
		c.Close() // from the first socket on, package net has a descriptor of its own
	}
	goroutines, open := runtime.NumGoroutine(), descriptors()
	before, err := loopback.Sockets()
	require.NoError(t, err)
	t.Cleanup(func() {
		// What has said its last word is still counted for a moment.
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if runtime.NumGoroutine() <= goroutines && descriptors() <= open {
				break
			}
		}
		assert.LessOrEqual(t, runtime.NumGoroutine(), goroutines, "goroutines")
		assert.LessOrEqual(t, descriptors(), open, "descriptors")
		after, err := loopback.Sockets()
		assert.NoError(t, err)
		assert.Subset(t, before, after)
	})
}

// A faulty implementation has a hole that a suite has to find.
type faulty[T any] struct {
	name string
	impl T
	find string // in the error
}

// failuresOf returns the failures in the error of a suite.
func failuresOf(t *testing.T, err error) (list []*loopbacktest.Failure) {
	t.Helper()
	require.Error(t, err)
	joined, ok := err.(interface{ Unwrap() []error })
	require.True(t, ok, "%T", err)
	for _, e := range joined.Unwrap() {
		f, ok := e.(*loopbacktest.Failure)
		require.True(t, ok, "%T", e)
		assert.NotEmpty(t, f.Got)
		assert.NotEmpty(t, f.Want)
		assert.NotEmpty(t, f.Why)
		assert.Contains(t, err.Error(), f.Error())
		list = append(list, f)
	}
	assert.NotEmpty(t, list)
	assert.Len(t, strings.Split(err.Error(), "\n"), len(list), "a line each")
	return list
}
