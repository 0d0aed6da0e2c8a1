package netif_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/loopback/internal/faulttest"
	"example.com/loopback/internal/netif"
	"example.com/loopback/internal/netnstest"
)

// Without an answer of the kernel nothing is said to be closed.
func TestRoutesThatCannotBeAskedForAreAnError(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	netnstest.NewNeighbour(t).Veth(t, "eth0", "10.0.0.1/24", "theirs", "10.0.0.2/24")
	all, err := netif.All()
	require.NoError(t, err)
	netlink := faulttest.Call{Name: "socket", Number: unix.SYS_SOCKET, Args: func(args [6]uint64) bool { return args[0] == unix.AF_NETLINK }}
	in := faulttest.Start(t, netlink)
	for _, errno := range []unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EPERM} {
		failed := in.During(faulttest.Fault{Call: netlink, Errno: errno, First: 1}, func() {
			list, err := netif.Exposures(netip.MustParseAddr("127.0.0.1"), all)
			assert.ErrorIs(t, err, errno)
			assert.Nil(t, list)
			_, err = netif.OutgoingInterface(netip.MustParseAddr("127.0.0.1"), netif.TCP)
			assert.ErrorIs(t, err, errno)
			again, err := netif.All()
			assert.ErrorIs(t, err, errno)
			assert.Nil(t, again)
		})
		assert.Equal(t, 3, failed)
	}
	list, err := netif.Exposures(netip.MustParseAddr("127.0.0.1"), all)
	require.NoError(t, err)
	assert.Len(t, list, 1)
}

// An address of which the kernel did not say whether it is this machine's is
// not said to be another's, whichever question fails.
func TestOwnAddressesThatCannotBeAskedForAreAnError(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	const aWakeUp = 8 // bytes
	question := faulttest.Call{Name: "write", Number: unix.SYS_WRITE, Args: func(args [6]uint64) bool { return args[2] > aWakeUp }}
	in := faulttest.Start(t, question)
	for _, addr := range []string{"192.0.2.1", "fe80::1", "fe80::1%lo", "fe80::1%none"} {
		to := netip.MustParseAddr(addr)
		for name, ask := range map[string]func() (bool, error){
			"IsLocal":   func() (bool, error) { return netif.IsLocal(to) },
			"IsLocalTo": func() (bool, error) { return netif.IsLocalTo(netip.AddrPortFrom(to, 80), 6) },
		} {
			questions := 0
			for ; ; questions++ {
				var local bool
				var err error
				failed := in.During(faulttest.Fault{Call: question, Errno: unix.ENOBUFS, First: questions + 1, Last: questions + 1}, func() { local, err = ask() })
				if failed == 0 {
					break
				}
				assert.ErrorIs(t, err, unix.ENOBUFS, "%s of %v, question %d", name, to, questions)
				assert.False(t, local)
			}
			assert.Positive(t, questions)
		}
	}
}
