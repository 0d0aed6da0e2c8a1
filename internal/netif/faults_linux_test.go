package netif_test

import (
	"bytes"
	"encoding/binary"
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
	answer := faulttest.Call{Name: "read", Number: unix.SYS_READ, Args: func(args [6]uint64) bool { return args[2] == 1024 }} // about a route
	in := faulttest.Start(t, netlink, answer)
	for _, errno := range []unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EPERM} {
		failed := in.During(faulttest.Fault{Call: netlink, Errno: errno, First: 1}, func() {
			list, err := netif.Exposures(netip.MustParseAddr("127.0.0.1"), all)
			assert.ErrorIs(t, err, errno)
			assert.Nil(t, list)
			_, err = netif.OutgoingInterface(netip.MustParseAddr("127.0.0.1"), netif.TCP)
			assert.ErrorIs(t, err, errno)
			again, err := netif.All()
			assert.ErrorIs(t, err, errno)
			assert.ErrorContains(t, err, "netlinkrib: ")
			assert.Nil(t, again)
		})
		assert.Equal(t, 3, failed)
	}
	for errno, gone := range map[unix.Errno]bool{unix.EPERM: false, unix.ENODEV: true} { // or the interface has gone
		failed := in.During(faulttest.Fault{Call: answer, Errno: errno, First: 1}, func() {
			list, err := netif.Exposures(netip.MustParseAddr("127.0.0.1"), all)
			if gone {
				assert.NoError(t, err)
				assert.Equal(t, []netif.Exposure{}, list)
			} else {
				assert.ErrorContains(t, err, ": read: operation not permitted")
				assert.Nil(t, list)
			}
		})
		assert.Equal(t, 1, failed)
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

// Addresses are read from whole messages alone.
func TestParseAddrs(t *testing.T) {
	order := binary.NativeEndian
	attribute := func(typ uint16, value []byte) []byte {
		b := order.AppendUint16(nil, uint16(4+len(value)))
		b = append(order.AppendUint16(b, typ), value...)
		return append(b, make([]byte, -len(b)&3)...)
	}
	message := func(typ uint16, bits byte, index uint32, attributes ...[]byte) []byte {
		body := order.AppendUint32([]byte{unix.AF_INET, bits, 0, 0}, index)
		body = append(body, bytes.Join(attributes, nil)...)
		b := order.AppendUint32(nil, uint32(16+len(body)))
		b = order.AppendUint16(b, typ)
		return append(append(b, make([]byte, 10)...), body...)
	}
	here, there, v6 := []byte{192, 0, 2, 1}, []byte{192, 0, 2, 2}, netip.MustParseAddr("2001:db8::1").AsSlice()
	table := bytes.Join([][]byte{
		message(unix.RTM_NEWADDR, 24, 2, attribute(unix.IFA_ADDRESS, here)),
		message(unix.RTM_NEWADDR, 32, 3, attribute(unix.IFA_ADDRESS, there), attribute(unix.IFA_LOCAL, here)), // point to point
		message(unix.RTM_NEWADDR, 31, 3, attribute(unix.IFA_LOCAL, here), attribute(unix.IFA_ADDRESS, there)),
		message(unix.RTM_NEWADDR, 64, 3, attribute(unix.IFA_LABEL, here), attribute(unix.IFA_ADDRESS, v6)),
		message(unix.RTM_NEWADDR, 8, 4, attribute(unix.IFA_ADDRESS, []byte{8})), // of another family
		message(unix.RTM_NEWLINK, 8, 4, attribute(unix.IFA_ADDRESS, here)),
	}, nil)
	got, err := netif.ParseAddrs(table)
	require.NoError(t, err)
	assert.Equal(t, map[int][]netip.Prefix{
		2: {netip.MustParsePrefix("192.0.2.1/24")},
		3: {netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.1/31"), netip.MustParsePrefix("2001:db8::1/64")},
	}, got)

	short := message(unix.RTM_NEWADDR, 24, 2, attribute(unix.IFA_ADDRESS, here))
	order.PutUint32(short, 1000)
	got, err = netif.ParseAddrs(short)
	assert.EqualError(t, err, "parsenetlinkmessage: invalid argument")
	assert.Nil(t, got)
	broken := message(unix.RTM_NEWADDR, 24, 2, attribute(unix.IFA_ADDRESS, here))
	order.PutUint16(broken[24:], 1000)
	got, err = netif.ParseAddrs(broken)
	assert.EqualError(t, err, "parsenetlinkrouteattr: invalid argument")
	assert.Nil(t, got)
}
