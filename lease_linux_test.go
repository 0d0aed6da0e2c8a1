package loopback_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
	"example.com/loopback/internal/netnstest"
	"example.com/loopback/internal/sockctl"
)

const leaseChild = "LOOPBACK_TEST_LEASE"

// A holder is another process that holds a lease until its standard input ends.
type holder struct {
	cmd   *exec.Cmd
	stdin io.Closer
	addrs []string
}

// hold starts a process that leases n addresses.
func hold(t *testing.T, n int, attr *syscall.SysProcAttr) *holder {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestLeaseChild$", "-test.count=1")
	cmd.Dir, cmd.Env, cmd.SysProcAttr = "/", append(os.Environ(), leaseChild+"="+strconv.Itoa(n)), attr
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { stdin.Close(); cmd.Process.Kill(); cmd.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err, "it leased nothing: %s", line)
	return &holder{cmd: cmd, stdin: stdin, addrs: strings.Fields(line)}
}

func TestLeaseChild(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv(leaseChild))
	if err != nil {
		t.Skip("only of use to the tests of leases")
	}
	l, err := loopback.Acquire(t.Context(), n)
	require.NoError(t, err)
	for _, addr := range l.Addrs() {
		fmt.Print(addr, " ")
	}
	fmt.Println()
	io.Copy(io.Discard, os.Stdin)
}

func TestAcquireByFiftyProcessesAtOnce(t *testing.T) {
	processes, each := 50, 20
	if testing.Short() {
		processes = 8
	}
	var wg sync.WaitGroup
	holders := make([]*holder, processes)
	for i := range holders {
		wg.Go(func() { holders[i] = hold(t, each, nil) })
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, h := range holders {
		require.NotNil(t, h)
		for _, addr := range h.addrs {
			assert.False(t, seen[addr], "%s twice", addr)
			seen[addr] = true
		}
	}
	assert.Len(t, seen, processes*each)
}

// guarded reports whether the address is leased.
func guarded(t *testing.T, addr string) bool {
	t.Helper()
	c, err := sockctl.Hold(netip.AddrPortFrom(netip.MustParseAddr(addr), loopback.GuardPort))
	if err == nil {
		c.Close()
	} else {
		require.ErrorIs(t, err, syscall.EADDRINUSE)
	}
	return err != nil
}

func TestLeaseEndsWithItsProcess(t *testing.T) {
	h := hold(t, 2, nil)
	for _, addr := range h.addrs {
		assert.True(t, guarded(t, addr))
	}
	require.NoError(t, h.cmd.Process.Signal(syscall.SIGKILL))
	h.cmd.Wait()
	for _, addr := range h.addrs {
		assert.False(t, guarded(t, addr), "after kill -9")
	}
}

func TestLeaseIsNotInherited(t *testing.T) {
	l := lease(t, 1)
	addr := l.Addrs()[0].String()
	cat := exec.CommandContext(t.Context(), "cat")
	in, err := cat.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cat.Start())
	defer func() { in.Close(); cat.Wait() }()
	require.True(t, guarded(t, addr))
	require.NoError(t, l.Close())
	assert.False(t, guarded(t, addr), "a child that was started meanwhile lives on")
}

func TestAcquireNeedsNoPrivilege(t *testing.T) {
	if os.Getuid() != 0 {
		return // then every other test shows it
	}
	h := hold(t, 3, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}})
	assert.Len(t, h.addrs, 3)
	for _, addr := range h.addrs {
		assert.True(t, guarded(t, addr), "another user's lease counts")
	}
}

func TestAcquireWithoutDescriptorsLeavesNothingOpen(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	withSpare(t, 10, func() {
		before := descriptors(t)
		l, err := loopback.Acquire(t.Context(), 20)
		assert.Nil(t, l)
		assert.ErrorIs(t, err, syscall.EMFILE)
		assert.Regexp(t, `acquire 20 addresses: [1-9] available: .*too many open files`, err.Error())
		assert.Equal(t, before, descriptors(t))
	})
}

// wantFew asks for n addresses, where there are fewer. The text is a pattern of
// what the error says of them.
func wantFew(t *testing.T, n int, text string) {
	t.Helper()
	before, start := descriptors(t), time.Now()
	l, err := loopback.Acquire(t.Context(), n)
	assert.Nil(t, l)
	assert.ErrorIs(t, err, loopback.ErrFewAddrs)
	assert.Regexp(t, fmt.Sprintf("^loopback: acquire %d addresses: loopback: not enough addresses: %s$", n, text), err.Error())
	assert.Less(t, time.Since(start), patience)
	assert.Equal(t, before, descriptors(t))
}

func TestAcquireSaysWhyThereAreFew(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	wantFew(t, 1, `0 available; of those tried, 4 carry no connection \(dial tcp 127\.\S+: connect: network is unreachable\)`) // lo is down
	netnstest.Run(t, "ip", "link", "set", "lo", "up")

	foreign, err := net.Listen("tcp", "127.9.9.9:"+strconv.Itoa(loopback.GuardPort))
	require.NoError(t, err)
	l, err := loopback.Acquire(t.Context(), 50)
	require.NoError(t, err, "a foreign program on one address")
	assert.NotContains(t, l.Addrs(), netip.MustParseAddr("127.9.9.9"))
	l.Close()
	foreign.Close()
	for _, network := range []string{"tcp", "tcp4"} {
		ln, err := net.Listen(network, ":"+strconv.Itoa(loopback.GuardPort))
		require.NoError(t, err)
		wantFew(t, 1, "0 available; of those tried, 256 have their guard port 9127 in use, by a lease or another program")
		ln.Close()
	}

	t.Run("no port is left to connect with", func(t *testing.T) {
		fillPorts(t, "tcp")
		wantFew(t, 1, `0 available; of those tried, 4 carry no connection \(listen tcp 127\.\S+:0: bind: address already in use\)`)
	})

	netnstest.Run(t, "ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
	netnstest.Run(t, "ip", "addr", "add", "127.0.0.1/32", "dev", "lo") // as on macOS
	const absent = ` are not configured on this machine \(bind: cannot assign requested address\)`
	wantFew(t, 1, "0 available; of those tried, 256"+absent)
	netnstest.Run(t, "ip", "addr", "add", "127.1.2.3/32", "dev", "lo")
	netnstest.Run(t, "ip", "addr", "add", "127.200.2.3/32", "dev", "lo")
	netnstest.Run(t, "ip", "addr", "add", "127.3.0.255/32", "dev", "lo")
	l, err = loopback.Acquire(t.Context(), 2)
	require.NoError(t, err)
	assert.ElementsMatch(t, []netip.Addr{netip.MustParseAddr("127.1.2.3"), netip.MustParseAddr("127.200.2.3")}, l.Addrs())
	wantFew(t, 1, "0 available; of those tried, 2 have their guard port 9127 in use, by a lease or another program, 254"+absent)
	l.Close()
	wantFew(t, 3, "2 available; of those tried, 272"+absent) // the first 16, and after the two a row of 256

	netnstest.Run(t, "ip", "addr", "add", "127.7.7.1/28", "dev", "lo") // 13 more, and one that ends in 0
	l, err = loopback.Acquire(t.Context(), 2+14)
	require.NoError(t, err)
	l.Close()
	wantFew(t, 2+15, "16 available; of those tried, 271"+absent+`, 1 carry no connection \(dial tcp 127\.7\.7\.15:\d+: connect: network is unreachable\)`)
	netnstest.Run(t, "ip", "addr", "del", "127.7.7.1/28", "dev", "lo")

	netnstest.NeedNFT(t)
	netnstest.Run(t, "nft", "table inet block { chain in { type filter hook input priority 0; ip daddr 127.1.2.3 drop; }; }")
	l, err = loopback.Acquire(t.Context(), 1)
	require.NoError(t, err)
	assert.Equal(t, []netip.Addr{netip.MustParseAddr("127.200.2.3")}, l.Addrs(), "not the one that does not work")
	l.Close()
}
