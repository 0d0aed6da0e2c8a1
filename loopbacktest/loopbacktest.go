// Package loopbacktest helps to test Go services that stay on loopback: an audit
// of the sockets of a test binary, listeners and addresses for a test, and
// conformance suites for predicates, guards, filters and listeners from elsewhere.
//
// # One line for a package
//
//	func TestMain(m *testing.M) { loopbacktest.VerifyTestMain(m) }
//
// fails the tests of a package if they leave a socket open that other machines
// may reach. [VerifyNoneExposed] does so within a test.
//
// # Conformance suites
//
// [TestIs], [TestIsHost], [TestHandler], [TestForbid] and [TestListener] return
// nil for an implementation that is right, and otherwise one error with a line
// for each fault. Its Unwrap method returns the faults as values of type
// [*Failure], so that a caller can leave out deviations that are intended. If
// TestForbid ends early, the last value is the error that says why. Of many
// similar faults the error has a few. The suites send nothing beyond
// loopback, and leave no socket and no goroutine behind. They end in bounded time
// even if the implementation panics or never returns: a call may take five
// seconds, and all calls of a suite a minute.
package loopbacktest

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"

	"example.com/loopback"
)

// Listen returns a listener on a free port of 127.0.0.1 and ::1, or of one of
// them if this machine does not have both. The listener is closed when the test
// ends. The test may close it earlier. An error fails the test.
func Listen(t testing.TB) *loopback.Listener {
	requireTB("Listen", t)
	t.Helper()
	ln, err := loopback.Listen("tcp", ":0")
	if err != nil {
		t.Fatalf("loopbacktest: %v", err)
	}
	closeAtEnd(t, ln)
	return ln
}

// ListenPacket is [Listen] for UDP.
func ListenPacket(t testing.TB) *loopback.PacketConn {
	requireTB("ListenPacket", t)
	t.Helper()
	pc, err := loopback.ListenPacket("udp", ":0")
	if err != nil {
		t.Fatalf("loopbacktest: %v", err)
	}
	closeAtEnd(t, pc)
	return pc
}

// Addr returns an address of 127.0.0.0/8 that no other test has. Addr leases it
// with [loopback.Acquire], which keeps it from the tests of other processes, too.
// Every port of it is free for the test, but for [loopback.GuardPort] and those
// that a program has on every interface. The lease ends with the test. Addr skips
// the test if this machine has no address to lease, as on macOS, which has
// 127.0.0.1 alone. Any other error fails the test.
func Addr(t testing.TB) netip.Addr {
	requireTB("Addr", t)
	t.Helper()
	lease, err := loopback.Acquire(context.Background(), 1)
	switch {
	case errors.Is(err, loopback.ErrFewAddrs), errors.Is(err, errors.ErrUnsupported):
		t.Skipf("loopbacktest: needs an address of 127.0.0.0/8 to lease: %v", err)
	case err != nil:
		t.Fatalf("loopbacktest: %v", err)
	}
	closeAtEnd(t, lease)
	return lease.Addrs()[0]
}

func closeAtEnd(t testing.TB, c interface{ Close() error }) {
	t.Helper()
	t.Cleanup(func() {
		if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Errorf("loopbacktest: %v", err)
		}
	})
}

func requireTB(caller string, t testing.TB) {
	if isNil(t) {
		panic("loopbacktest: " + caller + ": the testing.TB is nil")
	}
}
