package netif_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/loopback/internal/faulttest"
	"example.com/loopback/internal/netif"
	"example.com/loopback/internal/netnstest"
)

// A lack of descriptors or memory is an error of FindLoopback, or makes no
// difference. It is never taken for a machine that shows no interface.
func TestFindLoopbackUnderFaults(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "name", "home", "up")
	want := netif.Loopback{Name: "home", Index: netif.LoopbackIndex, Up: true}
	plan := faulttest.Plan{
		Calls: []faulttest.Call{
			{Name: "socket", Number: unix.SYS_SOCKET},
			{Name: "ioctl", Number: unix.SYS_IOCTL},
			{Name: "sendto", Number: unix.SYS_SENDTO},
			{Name: "recvfrom", Number: unix.SYS_RECVFROM},
		},
		Errnos: []unix.Errno{unix.EMFILE, unix.ENOBUFS},
	}
	in := faulttest.Start(t, plan.Calls...)
	failures := 0
	faults := in.Each(plan, func(f faulttest.Fault, during func(func())) {
		var lo netif.Loopback
		var err error
		during(func() { lo, err = netif.FindLoopback() })
		if err != nil {
			failures++
			assert.ErrorIs(t, err, f.Errno, "%v", f)
		} else {
			assert.Equal(t, want, lo, "%v", f)
		}
	})
	require.Positive(t, faults)
	assert.Positive(t, failures)
}
