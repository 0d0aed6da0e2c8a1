package loopback_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/loopback"
	"example.com/loopback/internal/netnstest"
)

func TestSameUserAdmitsNoOtherUser(t *testing.T) {
	if !netnstest.InWithUsers(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	const bob, alice = 1234, 1235
	for _, tt := range []struct {
		name   string
		config loopback.ListenConfig
		admits []uint32
	}{
		{"off", loopback.ListenConfig{}, []uint32{0, bob, alice}},
		{"SameUser", loopback.ListenConfig{SameUser: true}, []uint32{0}},
		{"AllowUIDs", loopback.ListenConfig{AllowUIDs: []uint32{bob}}, []uint32{bob}},
		{"both", loopback.ListenConfig{SameUser: true, AllowUIDs: []uint32{alice}}, []uint32{0, alice}},
		{"nobody", loopback.ListenConfig{AllowUIDs: []uint32{}}, nil},
		{"IngressAny", loopback.ListenConfig{SameUser: true, Ingress: loopback.IngressAny}, []uint32{0}},
		{"IngressCheck", loopback.ListenConfig{SameUser: true, Ingress: loopback.IngressCheck}, []uint32{0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var refused rejections
			tt.config.OnReject = refused.add
			ln, err := tt.config.Listen(t.Context(), "tcp", ":0")
			require.NoError(t, err)
			defer ln.Close()
			for _, at := range ln.AddrPorts() {
				admitted := map[uint32]bool{}
				for _, uid := range tt.admits {
					admitted[uid] = true
				}
				for _, uid := range []uint32{0, bob, alice} {
					before := len(refused.all())
					p := newPeer(t, asUser(uid))
					accepted := accepting(t, ln)
					answer := p.ask("dial " + at.String())
					if admitted[uid] {
						require.Equal(t, "done\n", answer)
						a := <-accepted
						require.NoError(t, a.err)
						assert.IsType(t, (*net.TCPConn)(nil), a.conn)
						a.conn.Close()
						continue
					}
					await(t, func() bool { return len(refused.all()) == before+1 })
					err := refused.all()[before]
					assert.ErrorIs(t, err, loopback.ErrRefused)
					var op *net.OpError
					require.ErrorAs(t, err, &op)
					assert.EqualError(t, op.Err, "loopback: connection refused by policy: user "+strconv.Itoa(int(uid))+" is not admitted")
					assert.Equal(t, at.String(), op.Source.String())
					select {
					case a := <-accepted:
						t.Fatalf("user %d was accepted: %v", uid, a)
					default: // it waits on
					}
					require.NoError(t, ln.SetDeadline(time.Unix(1, 0)))
					requireTimeout(t, (<-accepted).err)
					require.NoError(t, ln.SetDeadline(time.Time{}))
				}
			}
		})
	}
}

// A client that is gone when it is looked at is refused, and never taken for
// root.
func TestSameUserRefusesTheGone(t *testing.T) {
	if !netnstest.InWithUsers(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	var refused rejections
	lc := loopback.ListenConfig{SameUser: true, OnReject: refused.add}
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	p := newPeer(t, asUser(1234))
	p.do("dial " + ln.Addr().String())
	p.do("write")
	p.do("exit")
	require.NoError(t, p.cmd.Wait())
	await(t, func() bool { return acceptQueue(t, ln.AddrPorts()[0]) == 1 })
	accepted := accepting(t, ln)
	await(t, func() bool { return len(refused.all()) == 1 })
	assert.ErrorIs(t, refused.all()[0], loopback.ErrRefused)
	assert.ErrorIs(t, refused.all()[0], loopback.ErrPeerGone)
	assert.EqualError(t, refused.all()[0].(*net.OpError).Err, "loopback: connection refused by policy: loopback: the peer is gone: the connection is closed at the other end")
	c, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	a := <-accepted
	require.NoError(t, a.err, "who is there is let in")
	a.conn.Close()
}

// Listen takes AllowUIDs as they are then, and does not write to them.
func TestAllowUIDsAreCopied(t *testing.T) {
	const next = 4711
	uids := []uint32{uint32(os.Geteuid()), next}[:1]
	lc := loopback.ListenConfig{SameUser: true, AllowUIDs: uids}
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if errors.Is(err, loopback.ErrPeerUnknown) {
		t.Skipf("needs a kernel that tells the users of connections: %v", err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { ln.Close() })
	assert.EqualValues(t, next, uids[:2][1], "what follows AllowUIDs in memory")
	only := loopback.ListenConfig{AllowUIDs: uids}
	ln, err = only.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { ln.Close() })
	uids[0] = 1234
	accepted := accepting(t, ln)
	dial(t, ln.AddrPorts()[0])
	require.NoError(t, wait(t, accepted).err)
}

func TestSameUserFailsWhereUsersAreNotTold(t *testing.T) {
	t.Run("datagrams", func(t *testing.T) {
		for _, lc := range []loopback.ListenConfig{{SameUser: true}, {AllowUIDs: []uint32{0}}, {AllowUIDs: []uint32{}}} {
			_, err := lc.ListenPacket(t.Context(), "udp", ":0")
			assert.ErrorIs(t, err, errors.ErrUnsupported)
			pc, err := net.ListenPacket("udp", "127.0.0.1:0")
			require.NoError(t, err)
			_, err = lc.AdoptPacket(pc)
			assert.ErrorIs(t, err, errors.ErrUnsupported)
			assert.NoError(t, pc.Close(), "it stayed open")
		}
	})
	t.Run("an adopted listener", func(t *testing.T) {
		inner, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		require.NoError(t, err)
		ln, err := (&loopback.ListenConfig{SameUser: true}).Adopt(inner)
		require.NoError(t, err)
		defer ln.Close()
		c := dial(t, ln.AddrPorts()[0])
		defer c.Close()
		got, err := ln.Accept()
		require.NoError(t, err)
		got.Close()
	})
}

func TestSameUserEndsWithItsContext(t *testing.T) {
	if os.Getenv("LOOPBACK_TEST_EMULATED") != "" {
		t.Skip("the emulator does not have NETLINK_SOCK_DIAG")
	}
	_, err := (&loopback.ListenConfig{SameUser: true, Ingress: loopback.IngressAny}).Listen(overdue{t.Context()}, "tcp", "127.0.0.1:0")
	assert.EqualError(t, err, "listen tcp: context deadline exceeded")
	assert.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestSameUserFailsWithLoopbackDown(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	before := descriptors(t)
	ln, err := (&loopback.ListenConfig{SameUser: true}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	assert.Nil(t, ln)
	assert.Regexp(t, `^listen tcp: loopback: SameUser or AllowUIDs is set, and the users of connections are not told: dial tcp 127\.0\.0\.1:\d+: connect: network is unreachable$`, err.Error())
	assert.Equal(t, before, descriptors(t), "nothing is left open")
}

func TestSameUserFailsWithoutNetlink(t *testing.T) {
	if runtime.GOARCH == "386" {
		t.Skip("on 386 sockets are made by socketcall(2), which no filter can look into")
	}
	if !inChild(t) {
		return
	}
	refuseSocket(t, unix.AF_NETLINK)
	given, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer given.Close()
	before := descriptors(t)
	for _, lc := range []loopback.ListenConfig{{SameUser: true}, {AllowUIDs: []uint32{uint32(os.Geteuid())}}} {
		ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
		assert.Nil(t, ln)
		assert.ErrorIs(t, err, loopback.ErrPeerUnknown)
		assert.EqualError(t, err, "listen tcp: loopback: the user of the peer is not known: the kernel does not tell: socket: address family not supported by protocol")
		ln, err = lc.Adopt(given)
		assert.Nil(t, ln)
		assert.ErrorIs(t, err, loopback.ErrPeerUnknown)
		assert.NoError(t, loopback.Verify(given.(*net.TCPListener)), "it is what it was")
	}
	assert.Equal(t, before, descriptors(t), "nothing is left open")
}

// A process whose own user has no id here cannot tell it from others.
func TestSameUserFailsWithoutAnID(t *testing.T) {
	if os.Getenv(peerChild) == "no id" {
		_, err := (&loopback.ListenConfig{SameUser: true}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		assert.ErrorIs(t, err, loopback.ErrPeerUnknown)
		return
	}
	if os.Getuid() != 0 {
		t.Skip("needs root, to start a process without an id")
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1")
	cmd.Env = append(os.Environ(), peerChild+"=no id")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER, // and no map: every id is the overflow id
	}
	out, err := cmd.CombinedOutput()
	if err != nil && strings.Contains(err.Error(), "fork/exec") {
		t.Skipf("needs user namespaces: %v", err)
	}
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: TestSameUserFailsWithoutAnID")
}

// A packet filter that gives clients another address hides who they are. The
// proof says so, and does not wait for a client with the address it had.
func TestSameUserFailsBehindAMasquerade(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	netnstest.NeedNFT(t)
	netnstest.NewNeighbour(t).Veth(t, "eth0", "192.0.2.10/24", "theirs", "192.0.2.1/24")
	netnstest.Run(t, "nft", "table ip n { chain out { type nat hook postrouting priority 100; oif lo snat to 192.0.2.10; }; }")
	ln, err := new(loopback.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err, "without the check it can")
	ln.Close()
	_, err = (&loopback.ListenConfig{SameUser: true}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	assert.ErrorIs(t, err, loopback.ErrPeerUnknown)
	assert.EqualError(t, err, "listen tcp: loopback: SameUser or AllowUIDs is set, and the users of connections are not told: "+
		"loopback: the user of the peer is not known: the kernel does not tell: this machine has no socket at the other end")
}

func TestSameUserOfAnotherNamespaceCannotBeAdopted(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	n := netnstest.NewNeighbour(t)
	var theirs net.Listener
	var err error
	n.Do(func() { theirs, err = net.Listen("tcp", "127.0.0.1:0") })
	require.NoError(t, err)
	defer theirs.Close()
	_, err = (&loopback.ListenConfig{SameUser: true}).Adopt(theirs)
	assert.EqualError(t, err, "adopt tcp "+theirs.Addr().String()+": loopback: SameUser or AllowUIDs is set, and the users of connections are not told: the socket is of another network namespace")
	ln, err := new(loopback.ListenConfig).Adopt(theirs)
	require.NoError(t, err, "without the check it can")
	ln.Close()
}

// BenchmarkAcceptSameUser accepts with and without the check of the user.
func BenchmarkAcceptSameUser(b *testing.B) {
	for name, lc := range map[string]loopback.ListenConfig{"all users": {}, "same user": {SameUser: true}} {
		b.Run(name, func(b *testing.B) {
			ln, err := lc.Listen(b.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer ln.Close()
			for b.Loop() {
				c, err := net.Dial("tcp", ln.Addr().String())
				if err != nil {
					b.Fatal(err)
				}
				s, err := ln.Accept()
				if err != nil {
					b.Fatal(err)
				}
				c.(*net.TCPConn).SetLinger(0)
				c.Close()
				io.Copy(io.Discard, s)
				s.Close()
			}
		})
	}
}
