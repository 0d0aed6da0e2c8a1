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
