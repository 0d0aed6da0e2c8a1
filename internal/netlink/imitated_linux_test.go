package netlink_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/loopback/internal/faulttest"
	"example.com/loopback/internal/netlink"
	"example.com/loopback/internal/netnstest"
)

// openTo opens a Conn to a kernel that the test plays.
func openTo(t *testing.T, k faulttest.Kernel) *netlink.Conn {
	t.Helper()
	c := open(t)
	faulttest.Imitate(t, netlink.FD(c), k)
	return c
}

// bytesOf returns a message of 36 bytes: a header with the length given, and a
// body of zeros.
func bytesOf(request []byte, length uint32) []byte {
	b := faulttest.Message(request, unix.RTM_NEWROUTE, make([]byte, 20))
	binary.NativeEndian.PutUint32(b, length)
	return b
}

// A malformed message is an error, of Call and of Dump.
func TestMalformedAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		answer func(request []byte) []byte
		want   string
	}{
		"shorter than a length":        {func(r []byte) []byte { return bytesOf(r, 36)[:3] }, "malformed netlink answer"},
		"shorter than a header":        {func(r []byte) []byte { return bytesOf(r, 36)[:15] }, "malformed netlink answer"},
		"a length below the header":    {func(r []byte) []byte { return bytesOf(r, 15) }, "malformed netlink answer"},
		"a length beyond the datagram": {func(r []byte) []byte { return bytesOf(r, 37) }, "malformed netlink answer"},
		"a huge length":                {func(r []byte) []byte { return bytesOf(r, ^uint32(0)) }, "malformed netlink answer"},
		"an error without a number":    {func(r []byte) []byte { return faulttest.Message(r, unix.NLMSG_ERROR, make([]byte, 3)) }, "malformed netlink answer"},
		"an end without a number":      {func(r []byte) []byte { return faulttest.Message(r, unix.NLMSG_DONE, make([]byte, 3)) }, "malformed netlink answer"},
		"an error":                     {func(r []byte) []byte { return faulttest.ErrorMessage(r, unix.EPERM) }, "operation not permitted"},
		"an end with an error": {func(r []byte) []byte {
			b := faulttest.ErrorMessage(r, unix.EPERM)
			binary.NativeEndian.PutUint16(b[4:], unix.NLMSG_DONE)
			return b
		}, "operation not permitted"},
	} {
		c := openTo(t, func(r []byte) [][]byte { return [][]byte{tt.answer(r)} })
		typ, body, err := c.Call(unix.RTM_GETROUTE, make([]byte, netlink.HeaderLen), make([]byte, 64))
		assert.EqualError(t, err, tt.want, name)
		assert.Zero(t, typ, name)
		assert.Nil(t, body, name)
		err = c.Dump(unix.RTM_GETROUTE, make([]byte, netlink.HeaderLen), func([]byte) { assert.Fail(t, "a message", name) })
		assert.EqualError(t, err, tt.want, name)
	}
}

// A list ends with a whole message.
func TestListWithARest(t *testing.T) {
	c := openTo(t, func(r []byte) [][]byte { return [][]byte{append(faulttest.Message(r, unix.RTM_NEWROUTE, nil), 0)} })
	assert.EqualError(t, c.Dump(unix.RTM_GETROUTE, make([]byte, netlink.HeaderLen), func([]byte) {}), "malformed netlink answer")
}

// The smallest and the largest length that fit are taken.
func TestWholeAnswers(t *testing.T) {
	for length, want := range map[uint32]int{16: 0, 17: 1, 36: 20} {
		c := openTo(t, func(r []byte) [][]byte { return [][]byte{bytesOf(r, length)} })
		typ, body, err := c.Call(unix.RTM_GETROUTE, make([]byte, netlink.HeaderLen), make([]byte, 64))
		require.NoError(t, err)
		assert.EqualValues(t, unix.RTM_NEWROUTE, typ)
		assert.Len(t, body, want)
	}
	c := openTo(t, func(r []byte) [][]byte { return [][]byte{faulttest.ErrorMessage(r, 0)} })
	typ, body, err := c.Call(unix.RTM_GETROUTE, make([]byte, netlink.HeaderLen), make([]byte, 64))
	require.NoError(t, err, "the number 0 is no error")
	assert.EqualValues(t, unix.NLMSG_ERROR, typ)
	assert.Equal(t, make([]byte, 4), body)
}

// The header of a request is what the kernel expects.
func TestRequestHeader(t *testing.T) {
	var requests [][]byte
	c := openTo(t, func(r []byte) [][]byte {
		requests = append(requests, r)
		return [][]byte{faulttest.Message(r, unix.NLMSG_DONE, make([]byte, 4))}
	})
	msg := append(bytes.Repeat([]byte{9}, netlink.HeaderLen), 1, 2, 3, 4)
	for range 2 {
		_, _, err := c.Call(unix.RTM_GETROUTE, msg, make([]byte, 64))
		require.NoError(t, err)
	}
	require.NoError(t, c.Dump(unix.RTM_GETLINK, msg, nil))
	require.Len(t, requests, 3)
	order := binary.NativeEndian
	for i, want := range []struct{ typ, flags uint16 }{
		{unix.RTM_GETROUTE, unix.NLM_F_REQUEST}, {unix.RTM_GETROUTE, unix.NLM_F_REQUEST}, {unix.RTM_GETLINK, unix.NLM_F_REQUEST | unix.NLM_F_DUMP},
	} {
		r := requests[i]
		assert.EqualValues(t, len(msg), order.Uint32(r))
		assert.Equal(t, want.typ, order.Uint16(r[4:]))
		assert.Equal(t, want.flags, order.Uint16(r[6:]))
		assert.EqualValues(t, i+1, order.Uint32(r[8:]), "a number that no other request has")
		assert.Zero(t, order.Uint32(r[12:]))
		assert.Equal(t, []byte{1, 2, 3, 4}, r[netlink.HeaderLen:])
	}
}

// What answers an earlier request, as one that was given up, is passed over,
// whatever it says. So is NLMSG_NOOP in a list.
func TestLateAnswersArePassedOver(t *testing.T) {
	late := func(m []byte) []byte {
		m[8]++
		return m
	}
	c := openTo(t, func(r []byte) [][]byte {
		last := faulttest.Message(r, unix.NLMSG_DONE, make([]byte, 4))
		if binary.NativeEndian.Uint16(r[6:]) == unix.NLM_F_REQUEST {
			last = faulttest.Message(r, unix.RTM_NEWROUTE, []byte("2"))
		}
		padded := append(faulttest.Message(r, unix.RTM_NEWROUTE, []byte("1")), 0, 0, 0)
		return [][]byte{
			late(faulttest.ErrorMessage(r, unix.EPERM)),
			late(faulttest.Message(r, unix.NLMSG_DONE, nil)),
			late(faulttest.Message(r, unix.RTM_NEWROUTE, []byte("0"))),
			append(append(padded, faulttest.Message(r, unix.NLMSG_NOOP, []byte("no op"))...), 0, 0, 0),
			append(append(faulttest.Message(r, unix.RTM_NEWROUTE, []byte("even")), padded...), faulttest.Message(r, unix.RTM_NEWROUTE, []byte("unpadded"))...),
			last,
		}
	})
	var bodies []string
	require.NoError(t, c.Dump(unix.RTM_GETROUTE, make([]byte, netlink.HeaderLen), func(body []byte) { bodies = append(bodies, string(body)) }))
	assert.Equal(t, []string{"1", "even", "1", "unpadded"}, bodies)
	_, body, err := c.Call(unix.RTM_GETROUTE, make([]byte, netlink.HeaderLen), make([]byte, 64))
	require.NoError(t, err)
	assert.Equal(t, "1", string(body))
}

// An answer that never comes is waited for, and no longer than that.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	c := openTo(t, func([]byte) [][]byte { return nil })
	begin := time.Now()
	typ, body, err := c.Call(unix.RTM_GETROUTE, make([]byte, netlink.HeaderLen), make([]byte, 64))
	assert.EqualError(t, err, "read: connection timed out")
	assert.Zero(t, typ)
	assert.Nil(t, body)
	assert.GreaterOrEqual(t, time.Since(begin), netlink.AnswerTimeout)
}

// A socket that cannot be written to, or not read, is an error.
func TestBrokenSocket(t *testing.T) {
	for flag, want := range map[int]string{unix.O_WRONLY: "read: bad file descriptor", unix.O_RDONLY: "write: bad file descriptor"} {
		c := open(t)
		fd, err := unix.Open("/dev/null", flag|unix.O_CLOEXEC, 0)
		require.NoError(t, err)
		defer unix.Close(fd)
		require.NoError(t, unix.Dup3(fd, netlink.FD(c), unix.O_CLOEXEC))
		typ, body, err := c.Call(unix.RTM_GETROUTE, make([]byte, netlink.HeaderLen), make([]byte, 64))
		assert.EqualError(t, err, want)
		assert.Zero(t, typ)
		assert.Nil(t, body)
		assert.EqualError(t, c.Dump(unix.RTM_GETROUTE, make([]byte, netlink.HeaderLen), nil), want)
		_, err = c.Namespace()
		assert.EqualError(t, err, "getsockopt SO_NETNS_COOKIE: socket operation on non-socket")
		require.NoError(t, unix.Close(netlink.FD(c)))
		assert.EqualError(t, c.Close(), "close: bad file descriptor")
	}
}

// A call that a signal interrupts is made again, and an answer that is not there
// yet is waited for. Any other error is one of the question.
func TestUnderFaults(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	c := openTo(t, func(r []byte) [][]byte { return [][]byte{faulttest.Message(r, unix.NLMSG_DONE, make([]byte, 4))} })
	const room = 64
	read := faulttest.Call{Name: "read", Number: unix.SYS_READ, Args: func(args [6]uint64) bool { return args[2] == room }}
	poll := faulttest.Call{Name: "ppoll", Number: unix.SYS_PPOLL}
	connect := faulttest.Call{Name: "connect", Number: unix.SYS_CONNECT}
	cookie := faulttest.Call{Name: "getsockopt", Number: unix.SYS_GETSOCKOPT}
	in := faulttest.Start(t, read, poll, connect, cookie)
	call := func(f faulttest.Fault) (err error) {
		assert.Positive(t, in.During(f, func() { _, _, err = c.Call(unix.RTM_GETROUTE, make([]byte, netlink.HeaderLen), make([]byte, room)) }), "%v", f)
		return err
	}
	assert.NoError(t, call(faulttest.Fault{Call: read, Errno: unix.EINTR, First: 1, Last: 1}))
	assert.NoError(t, call(faulttest.Fault{Call: read, Errno: unix.EAGAIN, First: 1, Last: 3}))
	assert.EqualError(t, call(faulttest.Fault{Call: read, Errno: unix.EIO, First: 1}), "read: input/output error")

	asked := make(chan struct{}, 1)
	poll.Args = func([6]uint64) bool {
		select {
		case asked <- struct{}{}:
		default:
		}
		return true
	}
	c = openTo(t, func(r []byte) [][]byte {
		<-asked // until then there is nothing to read
		return [][]byte{faulttest.Message(r, unix.NLMSG_DONE, make([]byte, 4))}
	})
	assert.NoError(t, call(faulttest.Fault{Call: poll, Errno: unix.EINTR, First: 1, Last: 1}))
	c = openTo(t, func([]byte) [][]byte { return nil })
	assert.EqualError(t, call(faulttest.Fault{Call: poll, Errno: unix.ENOMEM, First: 1}), "read: cannot allocate memory")

	lowest := func() int { // the descriptor that the next socket gets
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		unix.Close(fd)
		return fd
	}
	before := lowest()
	in.During(faulttest.Fault{Call: connect, Errno: unix.EPERM, First: 1}, func() {
		c, err := netlink.Open(unix.NETLINK_ROUTE)
		assert.EqualError(t, err, "connect: operation not permitted")
		assert.Nil(t, c)
	})
	assert.LessOrEqual(t, lowest(), before, "left open") // others may have been closed

	for errno, want := range map[unix.Errno]string{ // the first three are of kernels that have no such number
		unix.ENOPROTOOPT: "", unix.EOPNOTSUPP: "", unix.EINVAL: "",
		unix.EPERM: "getsockopt SO_NETNS_COOKIE: operation not permitted",
	} {
		in.During(faulttest.Fault{Call: cookie, Errno: errno, First: 1}, func() {
			n, err := c.Namespace()
			assert.Zero(t, n)
			if want == "" {
				assert.NoError(t, err)
			} else {
				assert.EqualError(t, err, want)
			}
		})
	}
}

// route returns the body of a route message: a struct rtmsg of a type, with
// attributes.
func route(typ byte, attributes ...byte) []byte {
	body := make([]byte, unix.SizeofRtMsg)
	body[7] = typ
	return append(body, attributes...)
}

// attribute returns one with a value of four bytes, the index of an interface.
func attribute(typ uint16, value uint32) []byte {
	b := binary.NativeEndian.AppendUint16(nil, 8)
	b = binary.NativeEndian.AppendUint16(b, typ)
	return binary.NativeEndian.AppendUint32(b, value)
}

// A question about routes is answered by a whole struct rtmsg, or by an error
// number of which some mean that nothing is delivered. All else is an error, and
// never a no.
func TestAnswersAboutRoutes(t *testing.T) {
	dst, src := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.1")
	message := func(typ uint16, body []byte) func(r []byte) []byte {
		return func(r []byte) []byte { return faulttest.Message(r, typ, body) }
	}
	errno := func(errno unix.Errno) func(r []byte) []byte {
		return func(r []byte) []byte { return faulttest.ErrorMessage(r, errno) }
	}
	iif := attribute(unix.RTA_IIF, 7)
	const failedDelivered, failedTo = "route of 127.0.0.1 from 192.0.2.1 on interface 7: ", "route to 127.0.0.1: "
	for name, tt := range map[string]struct {
		answer    func(r []byte) []byte
		delivered string // yes, no, or the reason of the error
		local     string
		outgoing  int
	}{
		"local":                          {message(unix.RTM_NEWROUTE, route(unix.RTN_LOCAL, iif...)), "yes", "yes", 0},
		"local by another interface":     {message(unix.RTM_NEWROUTE, route(unix.RTN_LOCAL, attribute(unix.RTA_IIF, 8)...)), "the kernel did not consider the interface", "yes", 0},
		"local by no interface":          {message(unix.RTM_NEWROUTE, route(unix.RTN_LOCAL)), "the kernel did not consider the interface", "yes", 0},
		"local by half an interface":     {message(unix.RTM_NEWROUTE, route(unix.RTN_LOCAL, iif[:6]...)), "the kernel did not consider the interface", "yes", 0},
		"anycast":                        {message(unix.RTM_NEWROUTE, route(unix.RTN_ANYCAST, iif...)), "no", "yes", 0},
		"unicast":                        {message(unix.RTM_NEWROUTE, append(route(unix.RTN_UNICAST, iif...), attribute(unix.RTA_OIF, 9)...)), "no", "no", 9},
		"a struct rtmsg that is cut off": {message(unix.RTM_NEWROUTE, route(unix.RTN_LOCAL)[:unix.SizeofRtMsg-1]), "malformed netlink answer", "malformed netlink answer", 0},
		"of another type":                {message(unix.RTM_NEWLINK, route(unix.RTN_LOCAL, iif...)), "malformed netlink answer", "malformed netlink answer", 0},
		"EINVAL":                         {errno(unix.EINVAL), "no", "no", 0},
		"EXDEV":                          {errno(unix.EXDEV), "no", "invalid cross-device link", 0},
		"ENETUNREACH":                    {errno(unix.ENETUNREACH), "no", "no", 0},
		"EHOSTUNREACH":                   {errno(unix.EHOSTUNREACH), "no", "no", 0},
		"EACCES":                         {errno(unix.EACCES), "no", "no", 0},
		"ENODEV":                         {errno(unix.ENODEV), "no such device", "no", 0},
		"EPERM":                          {errno(unix.EPERM), "operation not permitted", "operation not permitted", 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := openTo(t, func(r []byte) [][]byte { return [][]byte{tt.answer(r)} })
			want := func(want, failed string, got bool, err error) {
				t.Helper()
				if want == "yes" || want == "no" {
					assert.NoError(t, err)
				} else {
					assert.EqualError(t, err, failed+want)
				}
				assert.Equal(t, want == "yes", got)
			}
			got, err := c.Delivered(dst, src, 7)
			want(tt.delivered, failedDelivered, got, err)
			got, err = c.Local(dst, 0)
			want(tt.local, failedTo, got, err)
			got, err = c.LocalTo(netip.AddrPortFrom(dst, 80), 3, unix.IPPROTO_TCP)
			want(tt.local, failedTo, got, err)
			index, err := c.OutgoingInterface(dst, unix.IPPROTO_TCP)
			want(tt.local, failedTo, tt.local == "yes", err)
			assert.Equal(t, tt.outgoing, index)
		})
	}
}

// An interface that is not one is no reason to believe an answer.
func TestDeliveredByNoInterface(t *testing.T) {
	c := openTo(t, func(r []byte) [][]byte {
		return [][]byte{faulttest.Message(r, unix.RTM_NEWROUTE, route(unix.RTN_LOCAL))}
	})
	got, err := c.Delivered(netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.1"), 0)
	assert.EqualError(t, err, "route of 127.0.0.1 from 192.0.2.1 on interface 0: the kernel did not consider the interface")
	assert.False(t, got)
	for _, addrs := range [][2]string{{"::1", "192.0.2.1"}, {"127.0.0.1", "2001:db8::1"}} {
		got, err = c.Delivered(netip.MustParseAddr(addrs[0]), netip.MustParseAddr(addrs[1]), 7)
		assert.EqualError(t, err, "route of "+addrs[0]+" from "+addrs[1]+" on interface 7: not IPv4")
		assert.False(t, got)
	}
}

// PortOf fails unless it is told of the interface.
func TestAnswersAboutPorts(t *testing.T) {
	nested := func(typ uint16, value []byte) []byte {
		b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
		b = binary.NativeEndian.AppendUint16(b, typ)
		b = append(b, value...)
		return append(b, make([]byte, -len(b)&3)...)
	}
	link := make([]byte, unix.SizeofIfInfomsg)
	kind := nested(unix.IFLA_INFO_SLAVE_KIND, []byte("bridge\x00"))
	for name, tt := range map[string]struct {
		answer    func(r []byte) []byte
		want, err string
	}{
		"a port": {func(r []byte) []byte {
			return faulttest.Message(r, unix.RTM_NEWLINK, append(link[:16:16], nested(unix.IFLA_LINKINFO, kind)...))
		}, "bridge", ""},
		"behind an empty one": {func(r []byte) []byte {
			return faulttest.Message(r, unix.RTM_NEWLINK, append(append(link[:16:16], nested(unix.IFLA_IFNAME, nil)...), nested(unix.IFLA_LINKINFO, kind)...))
		}, "bridge", ""},
		"an attribute without a length": {func(r []byte) []byte { return faulttest.Message(r, unix.RTM_NEWLINK, append(link[:16:16], 0, 0, 0, 0)) }, "", ""},
		"an attribute too short": {func(r []byte) []byte {
			b := nested(unix.IFLA_LINKINFO, nil)
			binary.NativeEndian.PutUint16(b, 3)
			return faulttest.Message(r, unix.RTM_NEWLINK, append(link[:16:16], b...))
		}, "", ""},
		"none": {func(r []byte) []byte { return faulttest.Message(r, unix.RTM_NEWLINK, link) }, "", ""},
		"an attribute cut off": {func(r []byte) []byte {
			return faulttest.Message(r, unix.RTM_NEWLINK, append(link[:16:16], nested(unix.IFLA_LINKINFO, kind)[:12]...))
		}, "", ""},
		"cut off":         {func(r []byte) []byte { return faulttest.Message(r, unix.RTM_NEWLINK, link[:15]) }, "", "interface 7: malformed netlink answer"},
		"of another type": {func(r []byte) []byte { return faulttest.Message(r, unix.RTM_NEWROUTE, link) }, "", "interface 7: malformed netlink answer"},
		"an error":        {func(r []byte) []byte { return faulttest.ErrorMessage(r, unix.ENODEV) }, "", "interface 7: no such device"},
	} {
		c := openTo(t, func(r []byte) [][]byte {
			assert.EqualValues(t, 7, binary.NativeEndian.Uint32(r[netlink.HeaderLen+4:]))
			return [][]byte{tt.answer(r)}
		})
		got, err := c.PortOf(7)
		assert.Equal(t, tt.want, got, name)
		if tt.err == "" {
			assert.NoError(t, err, name)
		} else {
			assert.EqualError(t, err, tt.err, name)
		}
	}
}

// A Socket is read field by field, and nothing that is shorter or of another
// type is one.
func TestAnswersAboutSockets(t *testing.T) {
	order, network := binary.NativeEndian, binary.BigEndian
	diag := make([]byte, 72)
	diag[0], diag[1] = unix.AF_INET, 8
	network.PutUint16(diag[4:], 3000)
	network.PutUint16(diag[6:], 4000)
	copy(diag[8:], []byte{127, 0, 0, 1})
	copy(diag[24:], []byte{127, 0, 0, 2})
	for i, v := range []uint32{5, 0, 0, 0, 6, 7, 8, 9} { // interface, cookie, expires, queues, uid, inode
		order.PutUint32(diag[40+4*i:], v)
	}
	want := netlink.Socket{
		State: 8, Local: netip.MustParseAddrPort("127.0.0.1:3000"), Remote: netip.MustParseAddrPort("127.0.0.2:4000"),
		Device: 5, Queued: 6, Room: 7, UID: 8, Inode: 9,
	}
	diag6 := append([]byte{unix.AF_INET6}, diag[1:]...)
	copy(diag6[8:], netip.IPv6Loopback().AsSlice())
	copy(diag6[24:], netip.MustParseAddr("::ffff:127.0.0.2").AsSlice())
	want6 := want
	want6.Local = netip.MustParseAddrPort("[::1]:3000")
	only6 := func(b byte) []byte { return append(diag6[:72:72], 5, 0, 11, 0, b, 0, 0, 0) }
	if order.Uint16([]byte{1, 0}) != 1 {
		only6 = func(b byte) []byte { return append(diag6[:72:72], 0, 5, 0, 11, b, 0, 0, 0) }
	}
	wantOnly6 := want6
	wantOnly6.Only6 = true
	for name, tt := range map[string]struct {
		typ  uint16
		body []byte
		want netlink.Socket
		err  string
	}{
		"IPv4":                  {unix.SOCK_DIAG_BY_FAMILY, diag, want, ""},
		"IPv6":                  {unix.SOCK_DIAG_BY_FAMILY, diag6, want6, ""},
		"IPv6 of both families": {unix.SOCK_DIAG_BY_FAMILY, only6(0), want6, ""},
		"IPv6 alone":            {unix.SOCK_DIAG_BY_FAMILY, only6(1), wantOnly6, ""},
		"cut off":               {unix.SOCK_DIAG_BY_FAMILY, diag[:71], netlink.Socket{}, "malformed netlink answer"},
		"of another type":       {unix.RTM_NEWROUTE, diag, netlink.Socket{}, "malformed netlink answer"},
	} {
		c := openTo(t, func(r []byte) [][]byte { return [][]byte{faulttest.Message(r, tt.typ, tt.body)} })
		got, err := c.TCP(want.Local, want.Remote)
		assert.Equal(t, tt.want, got, name)
		if tt.err == "" {
			assert.NoError(t, err, name)
		} else {
			assert.EqualError(t, err, tt.err, name)
		}
	}

	// A list leaves out what is of another port, and what is cut off.
	elsewhere := append([]byte{}, diag...)
	network.PutUint16(elsewhere[4:], 3001)
	c := openTo(t, func(r []byte) [][]byte {
		return [][]byte{
			faulttest.Message(r, unix.SOCK_DIAG_BY_FAMILY, diag[:71]),
			faulttest.Message(r, unix.SOCK_DIAG_BY_FAMILY, elsewhere),
			faulttest.Message(r, unix.SOCK_DIAG_BY_FAMILY, diag),
			faulttest.Message(r, unix.NLMSG_DONE, make([]byte, 4)),
		}
	})
	var got []netlink.Socket
	require.NoError(t, c.OnPort(unix.AF_INET, unix.IPPROTO_TCP, 3000, func(s netlink.Socket) { got = append(got, s) }))
	assert.Equal(t, []netlink.Socket{want}, got)
	c = openTo(t, func(r []byte) [][]byte { return [][]byte{faulttest.ErrorMessage(r, unix.ENOENT)} })
	assert.Equal(t, unix.ENOENT, c.OnPort(unix.AF_INET, unix.IPPROTO_TCP, 3000, nil))
}

// Each question has the type, the structure and the attributes that the kernel
// reads: rtnetlink(7), sock_diag(7).
func TestQuestions(t *testing.T) {
	var request []byte
	c := openTo(t, func(r []byte) [][]byte {
		request = r
		return [][]byte{faulttest.ErrorMessage(r, unix.EPERM)}
	})
	native := func(words ...uint16) (b []byte) {
		for _, w := range words {
			b = binary.NativeEndian.AppendUint16(b, w)
		}
		return b
	}
	index := func(i uint32) []byte { return binary.NativeEndian.AppendUint32(nil, i) }
	rtmsg := func(family, dst, src byte) []byte { return []byte{family, dst, src, 0, 0, 0, 0, 0, 0, 0, 0, 0} }
	v4, v6, from := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.1")
	protocol := func(p byte) []byte { return append(native(5, unix.RTA_IP_PROTO), p, 0, 0, 0) }
	port := func(p ...byte) []byte { return append(append(native(6, unix.RTA_DPORT), p...), 0, 0) }
	to4 := append(native(8, unix.RTA_DST), v4.AsSlice()...)
	to6 := append(native(20, unix.RTA_DST), v6.AsSlice()...)
	inetDiag := func(family, protocol byte, states uint32, ports []byte, local, remote netip.Addr, index uint32) []byte {
		b := make([]byte, 56)
		b[0], b[1] = family, protocol
		binary.NativeEndian.PutUint32(b[4:], states)
		copy(b[8:], ports)
		copy(b[12:], local.AsSlice())
		copy(b[28:], remote.AsSlice())
		binary.NativeEndian.PutUint32(b[44:], index)
		copy(b[48:], bytes.Repeat([]byte{255}, 8)) // no cookie
		return b
	}
	const all = ^uint32(0)
	const listening, unconnected = 1 << 10, 1 << 7
	for name, tt := range map[string]struct {
		ask  func() error
		typ  uint16
		want [][]byte
	}{
		"Delivered": {func() error { _, err := c.Delivered(v4, from, 7); return err }, unix.RTM_GETROUTE, [][]byte{
			rtmsg(unix.AF_INET, 32, 32), to4, native(8, unix.RTA_SRC), from.AsSlice(), native(8, unix.RTA_IIF), index(7), protocol(unix.IPPROTO_TCP),
		}},
		"Local IPv4": {func() error { _, err := c.Local(v4, 0); return err }, unix.RTM_GETROUTE, [][]byte{
			rtmsg(unix.AF_INET, 32, 0), to4, protocol(unix.IPPROTO_ICMP),
		}},
		"Local IPv6": {func() error { _, err := c.Local(v6, 1); return err }, unix.RTM_GETROUTE, [][]byte{
			rtmsg(unix.AF_INET6, 128, 0), to6, protocol(unix.IPPROTO_ICMPV6), native(8, unix.RTA_OIF), index(1),
		}},
		"LocalTo": {func() error { _, err := c.LocalTo(netip.AddrPortFrom(v6, 0x1234), 7, unix.IPPROTO_UDP); return err }, unix.RTM_GETROUTE, [][]byte{
			rtmsg(unix.AF_INET6, 128, 0), to6, protocol(unix.IPPROTO_UDP), port(0x12, 0x34), native(8, unix.RTA_OIF), index(7),
		}},
		"OutgoingInterface": {func() error { _, err := c.OutgoingInterface(v4, unix.IPPROTO_TCP); return err }, unix.RTM_GETROUTE, [][]byte{
			rtmsg(unix.AF_INET, 32, 0), to4, protocol(unix.IPPROTO_TCP),
		}},
		"PortOf": {func() error { _, err := c.PortOf(7); return err }, unix.RTM_GETLINK, [][]byte{
			{0, 0, 0, 0}, index(7), make([]byte, 8),
		}},
		"TCP IPv4": {func() error {
			_, err := c.TCP(netip.AddrPortFrom(v4, 0x1234), netip.AddrPortFrom(from, 0x5678))
			return err
		}, unix.SOCK_DIAG_BY_FAMILY, [][]byte{
			inetDiag(unix.AF_INET, unix.IPPROTO_TCP, all, []byte{0x12, 0x34, 0x56, 0x78}, v4, from, 1),
		}},
		"TCP IPv6": {func() error { _, err := c.TCP(netip.AddrPortFrom(v6, 0x1234), netip.AddrPort{}); return err }, unix.SOCK_DIAG_BY_FAMILY, [][]byte{
			inetDiag(unix.AF_INET6, unix.IPPROTO_TCP, all, []byte{0x12, 0x34}, v6, netip.Addr{}, 1),
		}},
		"OnPort TCP": {func() error { return c.OnPort(unix.AF_INET6, unix.IPPROTO_TCP, 0x1234, nil) }, unix.SOCK_DIAG_BY_FAMILY, [][]byte{
			inetDiag(unix.AF_INET6, unix.IPPROTO_TCP, listening, []byte{0x12, 0x34}, netip.Addr{}, netip.Addr{}, 0),
		}},
		"OnPort UDP": {func() error { return c.OnPort(unix.AF_INET, unix.IPPROTO_UDP, 0x1234, nil) }, unix.SOCK_DIAG_BY_FAMILY, [][]byte{
			inetDiag(unix.AF_INET, unix.IPPROTO_UDP, unconnected, []byte{0x12, 0x34}, netip.Addr{}, netip.Addr{}, 0),
		}},
	} {
		assert.ErrorIs(t, tt.ask(), unix.EPERM, name)
		assert.Equal(t, tt.typ, binary.NativeEndian.Uint16(request[4:]), name)
		assert.Equal(t, bytes.Join(tt.want, nil), request[netlink.HeaderLen:], name)
	}

	// Both protocols are asked about before a packet is said not to be delivered.
	var protocols []byte
	c = openTo(t, func(r []byte) [][]byte {
		protocols = append(protocols, r[len(r)-4])
		return [][]byte{faulttest.ErrorMessage(r, unix.EINVAL)}
	})
	_, err := c.Delivered(v4, from, 7)
	require.NoError(t, err)
	assert.Equal(t, []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP}, protocols)
}
