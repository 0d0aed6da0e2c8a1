package loopback_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
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
	"example.com/loopback/internal/netlink"
	"example.com/loopback/internal/netnstest"
)

// TestPeerChild is the process of a peer.
func TestPeerChild(t *testing.T) {
	if os.Getenv(peerChild) == "" {
		t.Skip("only of use to the tests of PeerUID")
	}
	var c *net.TCPConn
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		command, arg, _ := strings.Cut(lines.Text(), " ")
		var err error
		switch command {
		case "dial", "dial-multipath":
			local, to, bound := strings.Cut(arg, ">")
			var d net.Dialer
			d.SetMultipathTCP(command == "dial-multipath")
			if !bound {
				to = arg
			} else {
				d.LocalAddr = net.TCPAddrFromAddrPort(netip.MustParseAddrPort(local))
				d.Control = func(_, _ string, c syscall.RawConn) error {
					return c.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
				}
			}
			var conn net.Conn
			if conn, err = d.Dial("tcp", to); err == nil {
				c = conn.(*net.TCPConn)
			}
		case "write":
			_, err = c.Write([]byte("hello"))
		case "closewrite":
			err = c.CloseWrite()
		case "close":
			err = c.Close()
		case "reset":
			c.SetLinger(0)
			err = c.Close()
		case "setuid":
			uid, _ := strconv.Atoi(arg)
			err = syscall.Setuid(uid)
		case "exit":
			fmt.Println("done")
			os.Exit(0)
		}
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println("done")
	}
}

// wantPeer expects a user, or with an error, none.
func wantPeer(t *testing.T, c net.Conn, uid uint32, wantErr error, what string) {
	t.Helper()
	got, err := loopback.PeerUID(c)
	if wantErr != nil {
		assert.ErrorIs(t, err, wantErr, what)
		assert.Zero(t, got, what)
		return
	}
	require.NoError(t, err, what)
	assert.Equal(t, uid, got, what)
}

func TestPeerUIDOfAnotherUser(t *testing.T) {
	if !netnstest.InWithUsers(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	const bob, alice = 1234, 1235
	for _, addr := range []string{"127.0.0.1:0", "127.9.9.9:0", "[::1]:0", "[::]:0"} { // with the last, a mapped client
		t.Run(addr, func(t *testing.T) {
			p, c := connected(t, bob, addr)
			wantPeer(t, c, bob, nil, "connected")
			wantPeer(t, wrapped{c}, bob, nil, "wrapped")
			wantPeer(t, tls.Server(c, &tls.Config{}), bob, nil, "TLS")
			p.do("write")
			wantPeer(t, c, bob, nil, "with data")
			p.do("closewrite")
			io.ReadAll(c)
			wantPeer(t, c, bob, nil, "half closed by the client")
			require.NoError(t, c.CloseWrite())
			wantPeer(t, c, 0, loopback.ErrPeerGone, "closed in both directions")
		})
		for how, command := range map[string]string{"closed": "close", "exited": "exit", "reset": "reset"} {
			t.Run(addr+" "+how, func(t *testing.T) {
				p, c := connected(t, bob, addr)
				p.do("write")
				p.do(command)
				if command == "exit" {
					p.cmd.Wait()
				}
				await(t, func() bool { _, err := loopback.PeerUID(c); return err != nil })
				wantPeer(t, c, 0, loopback.ErrPeerGone, how)
				b := make([]byte, 5)
				if command != "reset" {
					_, err := io.ReadFull(c, b)
					require.NoError(t, err)
					assert.Equal(t, "hello", string(b), "what it wrote can be read")
				}
				wantPeer(t, c, 0, loopback.ErrPeerGone, how+", later")
			})
		}
	}
	t.Run("half closed by the server", func(t *testing.T) {
		_, c := connected(t, bob, "127.0.0.1:0")
		require.NoError(t, c.CloseWrite())
		wantPeer(t, c, bob, nil, "")
	})
	t.Run("setuid after the connect", func(t *testing.T) {
		p, c := connected(t, 0, "127.0.0.1:0")
		p.do("setuid " + strconv.Itoa(alice))
		wantPeer(t, c, 0, nil, "who made the socket")
	})
	t.Run("closed by this end", func(t *testing.T) {
		_, c := connected(t, bob, "127.0.0.1:0")
		c.Close()
		wantPeer(t, c, 0, net.ErrClosed, "")
	})
	t.Run("multipath TCP", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer ln.Close()
		p := newPeer(t, asUser(bob))
		p.do("dial-multipath " + ln.Addr().String())
		conn, err := ln.Accept()
		require.NoError(t, err)
		defer conn.Close()
		c := conn.(*net.TCPConn)
		wantPeer(t, c, bob, nil, "connected")
		p.do("exit")
		p.cmd.Wait()
		if uid, err := loopback.PeerUID(c); err == nil { // as the kernel likes
			assert.EqualValues(t, bob, uid, "exited")
		}
		require.NoError(t, c.CloseWrite())
		await(t, func() bool { _, err := loopback.PeerUID(c); return err != nil })
		wantPeer(t, c, 0, loopback.ErrPeerGone, "closed in both directions")
	})
	// Bob's data is still there when alice connects from his port.
	t.Run("a successor at the same port", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:4444")
		require.NoError(t, err)
		defer ln.Close()
		first := newPeer(t, asUser(bob))
		first.do("dial 127.0.0.1:5555>127.0.0.1:4444")
		first.do("write")
		c, err := ln.Accept()
		require.NoError(t, err)
		defer c.Close()
		wantPeer(t, c, bob, nil, "bob")
		first.do("reset")
		second := newPeer(t, asUser(alice))
		second.do("dial 127.0.0.1:5555>127.0.0.1:4444")
		c2, err := ln.Accept()
		require.NoError(t, err)
		defer c2.Close()
		wantPeer(t, c2, alice, nil, "alice")
		wantPeer(t, c, 0, loopback.ErrPeerGone, "bob's connection is not alice's")
	})
	t.Run("an inherited descriptor", func(t *testing.T) {
		client, server := tcpPair(t, "127.0.0.1")
		f, err := client.File()
		require.NoError(t, err)
		cmd := exec.Command("sleep", "60")
		cmd.ExtraFiles, cmd.SysProcAttr = []*os.File{f}, asUser(bob)
		require.NoError(t, cmd.Start())
		defer func() { cmd.Process.Kill(); cmd.Wait() }()
		f.Close()
		client.Close()
		wantPeer(t, server, 0, nil, "who made the socket: root")
	})
	t.Run("through a forwarder", func(t *testing.T) {
		server, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer server.Close()
		forward, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer forward.Close()
		go func() {
			in, err := forward.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", server.Addr().String())
			if err == nil {
				io.Copy(out, in)
				out.Close()
			}
			in.Close()
		}()
		p := newPeer(t, asUser(bob))
		p.do("dial " + forward.Addr().String())
		c, err := server.Accept()
		require.NoError(t, err)
		defer c.Close()
		wantPeer(t, c, 0, nil, "the forwarder's")
	})
	t.Run("a unix socket", func(t *testing.T) {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		unix.Close(fds[1])
		f := os.NewFile(uintptr(fds[0]), "")
		c, err := net.FileConn(f)
		require.NoError(t, err)
		f.Close()
		defer c.Close()
		wantPeer(t, c, 0, nil, "socketpair")
	})
}

// A user without an id in this user namespace, and a neighbour, are nobody.
func TestPeerUIDIsUnknownOfStrangers(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	n := netnstest.NewNeighbour(t)
	n.Veth(t, "eth0", "192.0.2.10/24", "theirs", "192.0.2.1/24")
	ln, err := net.Listen("tcp", "192.0.2.10:0")
	require.NoError(t, err)
	defer ln.Close()
	var theirs net.Conn
	n.Do(func() { theirs, err = net.Dial("tcp", ln.Addr().String()) })
	require.NoError(t, err)
	defer theirs.Close()
	c, err := ln.Accept()
	require.NoError(t, err)
	defer c.Close()
	wantPeer(t, c, 0, loopback.ErrPeerUnknown, "a neighbour")
	wantPeer(t, theirs, 0, loopback.ErrPeerUnknown, "a connection of another namespace")

	// A process of a child user namespace that this one has no id for.
	p := newPeer(t, &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 7, HostID: 0, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 7, HostID: 0, Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	})
	local, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer local.Close()
	p.do("dial " + local.Addr().String())
	c, err = local.Accept()
	require.NoError(t, err)
	defer c.Close()
	wantPeer(t, c, 0, nil, "the user that it is here")
}

// Nobody's id is everybody's who has none: this process runs where only the
// user 0 has one, and the client outside of that.
func TestPeerUIDIsUnknownOfUsersWithoutID(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to start processes of several users")
	}
	if !netnstest.InWithUsers(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	p := newPeer(t, asUser(1234))
	p.do("dial " + ln.Addr().String())
	c, err := ln.Accept()
	require.NoError(t, err)
	defer c.Close()
	f, err := c.(*net.TCPConn).File()
	require.NoError(t, err)
	defer f.Close()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestPeerOfInheritedConn$", "-test.v", "-test.count=1")
	cmd.Env, cmd.ExtraFiles = append(os.Environ(), peerChild+"=inherited"), []*os.File{f}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: TestPeerOfInheritedConn")
}

func TestPeerOfInheritedConn(t *testing.T) {
	if os.Getenv(peerChild) != "inherited" {
		t.Skip("only of use to TestPeerUIDIsUnknownOfUsersWithoutID")
	}
	c, err := net.FileConn(os.NewFile(3, ""))
	require.NoError(t, err)
	wantPeer(t, c, 0, loopback.ErrPeerUnknown, "a user without an id here")
}

// A client that writes and closes at once is never taken for root.
func TestPeerUIDNeverTakesTheDeadForRoot(t *testing.T) {
	if !netnstest.InWithUsers(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	rounds := 300
	if testing.Short() {
		rounds = 30
	}
	const bob = 1234
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		ln, err := net.Listen("tcp", addr)
		require.NoError(t, err)
		p := newPeer(t, asUser(bob))
		gone := 0
		for i := range rounds {
			p.do("dial " + ln.Addr().String())
			p.do("write")
			if i%3 == 0 {
				p.do("closewrite")
			}
			fmt.Fprintln(p.in, []string{"close", "reset"}[i%2]) // while the server asks
			c, err := ln.Accept()
			require.NoError(t, err)
			uid, err := loopback.PeerUID(c)
			if err != nil {
				gone++
				assert.ErrorIs(t, err, loopback.ErrPeerGone)
			} else {
				assert.EqualValues(t, bob, uid)
			}
			c.Close()
			p.out.ReadString('\n')
		}
		t.Logf("%s: gone %d times of %d", addr, gone, rounds)
		ln.Close()
	}
}

func TestPeerUIDWithoutNetlink(t *testing.T) {
	if runtime.GOARCH == "386" {
		t.Skip("on 386 sockets are made by socketcall(2), which no filter can look into")
	}
	if !inChild(t) {
		return
	}
	_, server := tcpPair(t, "127.0.0.1")
	refuseSocket(t, unix.AF_NETLINK)
	wantPeer(t, server, 0, loopback.ErrPeerUnknown, "a sandbox")
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	f := os.NewFile(uintptr(fds[0]), "")
	c, err := net.FileConn(f)
	require.NoError(t, err)
	wantPeer(t, c, uint32(os.Geteuid()), nil, "a unix socket needs none")
}

// BenchmarkPeerUID asks for one client among others: with a socket for each
// question as PeerUID does, beside the bare lookup, and beside the scan of
// /proc/net/tcp that others make.
func BenchmarkPeerUID(b *testing.B) {
	for _, others := range []int{10, 1_000, 20_000} {
		b.Run(fmt.Sprintf("%d sockets", others), func(b *testing.B) {
			client, server := benchPair(b, others)
			local, remote := server.LocalAddr().(*net.TCPAddr).AddrPort(), server.RemoteAddr().(*net.TCPAddr).AddrPort()
			b.Run("PeerUID", func(b *testing.B) {
				for b.Loop() {
					if _, err := loopback.PeerUID(server); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("bare lookup", func(b *testing.B) {
				for b.Loop() {
					c, err := netlink.Open(unix.NETLINK_SOCK_DIAG)
					if err != nil {
						b.Fatal(err)
					}
					if _, err := c.TCP(remote, local); err != nil {
						b.Fatal(err)
					}
					c.Close()
				}
			})
			b.Run("proc", func(b *testing.B) {
				for b.Loop() {
					if _, ok := scanProc(b, remote, local); !ok {
						b.Fatal("not found")
					}
				}
			})
			client.Close()
		})
	}
}

// benchPair returns the two ends of a connection, beside which there are others.
func benchPair(b *testing.B, others int) (client, server *net.TCPConn) {
	b.Helper()
	const each = 2_000 // connections to one address, in TIME_WAIT: they need no descriptor
	for i := range others {
		if i%each == 0 {
			ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 77, 0, byte(1+i/each))})
			if err != nil {
				b.Fatal(err)
			}
			defer ln.Close()
			for range min(each, others-i) {
				c, err := net.DialTCP("tcp", nil, ln.Addr().(*net.TCPAddr))
				if err != nil {
					b.Fatal(err)
				}
				s, err := ln.Accept()
				if err != nil {
					b.Fatal(err)
				}
				c.Close()
				s.Close()
			}
		}
	}
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	s, err := ln.AcceptTCP()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close(); s.Close() })
	return c.(*net.TCPConn), s
}

// scanProc looks for the socket in /proc/net/tcp line by line, and parses no
// more of each than it needs.
func scanProc(b *testing.B, local, remote netip.AddrPort) (uid uint64, ok bool) {
	b.Helper()
	f, err := os.Open("/proc/thread-self/net/tcp") // the main thread may be in another namespace
	if err != nil {
		b.Skipf("needs /proc: %v", err)
	}
	defer f.Close()
	hex := func(ap netip.AddrPort) string {
		a := ap.Addr().As4()
		return fmt.Sprintf("%02X%02X%02X%02X:%04X", a[3], a[2], a[1], a[0], ap.Port())
	}
	want := " " + hex(local) + " " + hex(remote) + " "
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if line := lines.Text(); strings.Contains(line, want) {
			uid, err := strconv.ParseUint(strings.Fields(line)[7], 10, 32)
			return uid, err == nil
		}
	}
	return 0, false
}

// A connection that waits to be accepted is established at the other end, where
// no process has it. The kernel gives no user then, or user 0.
func TestPeerUIDOfAServerThatHasNotAccepted(t *testing.T) {
	if os.Getenv("LOOPBACK_TEST_EMULATED") != "" {
		t.Skip("needs NETLINK_SOCK_DIAG, which emulators do not have")
	}
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			t.Logf("not here: %v", err)
			continue
		}
		defer ln.Close()
		c, err := net.Dial("tcp", ln.Addr().String())
		require.NoError(t, err)
		defer c.Close()
		wantPeer(t, c, 0, loopback.ErrPeerUnknown, addr)
		server, err := ln.Accept()
		require.NoError(t, err)
		defer server.Close()
		wantPeer(t, c, uint32(os.Geteuid()), nil, addr)
	}
}

// After a while the kernel forgets a client that has closed, although the server
// still has its end of the connection.
func TestPeerUIDOfAForgottenPeer(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	netnstest.Sysctl(t, "net/ipv4/tcp_fin_timeout", "1")
	client, server := tcpPair(t, "127.0.0.1")
	here, there := server.LocalAddr().(*net.TCPAddr).AddrPort(), server.RemoteAddr().(*net.TCPAddr).AddrPort()
	client.Close()
	server.SetReadDeadline(time.Now().Add(patience))
	_, err := server.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	c, err := netlink.Open(unix.NETLINK_SOCK_DIAG)
	require.NoError(t, err)
	defer c.Close()
	require.Eventually(t, func() bool {
		_, err := c.TCP(there, here)
		wantPeer(t, server, 0, loopback.ErrPeerGone, "closed")
		return err == unix.ENOENT
	}, patience, 20*time.Millisecond)
	wantPeer(t, server, 0, loopback.ErrPeerGone, "forgotten")
}
