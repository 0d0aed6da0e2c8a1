package loopback_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
)

// requireReadBack reads v back from its JSON, and expects the same JSON and the
// same text of what it reads.
func requireReadBack[T interface{ String() string }](t *testing.T, v T) {
	t.Helper()
	data, err := json.Marshal(v)
	require.NoError(t, err)
	back := new(T)
	require.NoError(t, json.Unmarshal(data, back))
	again, err := json.Marshal(back)
	require.NoError(t, err)
	require.JSONEq(t, string(data), string(again))
	require.Equal(t, string(data), string(again))
	assert.Equal(t, v.String(), (*back).String())
}

var update = flag.Bool("update", false, "write the golden files under testdata")

// requireGolden compares text with a file under testdata. The texts there are
// those of Linux, whose commands and errors they have.
func requireGolden(t *testing.T, name, text string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the texts are those of Linux")
	}
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), text, "go test -update writes it anew")
}

// whole returns all that a report has to say.
func whole(title string, verdict loopback.Verdict, findings []loopback.Finding, text string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "== %s\n%s\n", title, verdict)
	for _, f := range findings {
		fmt.Fprintf(&b, "%v\n\t%s\n", f, f.Fix)
	}
	fmt.Fprintf(&b, "--\n%s\n", text)
	return b.String()
}

// patience bounds the wait for what happens at once if the code is right.
const patience = 10 * time.Second

// listening listens until the end of the test. It skips the test where ":0" does
// not give two addresses.
func listening(t *testing.T, address string) *loopback.Listener {
	t.Helper()
	ln, err := loopback.Listen("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { ln.Close() })
	if address == ":0" && len(ln.AddrPorts()) < 2 {
		t.Skipf("needs both families: %v", ln.Bindings())
	}
	return ln
}

// dial connects until the end of the test.
func dial(t *testing.T, to netip.AddrPort) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp", to.String(), patience)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// An accepted is what a call of Accept returned.
type accepted struct {
	conn net.Conn
	err  error
}

// accepting calls Accept in a goroutine, and returns when it is in there.
func accepting(t *testing.T, ln *loopback.Listener) <-chan accepted {
	t.Helper()
	result := make(chan accepted, 1)
	id := make(chan string)
	go func() {
		id <- goroutineID()
		c, err := ln.Accept()
		result <- accepted{c, err}
	}()
	awaitCall(t, <-id, "(*Listener).AcceptTCP(", func() bool { return len(result) > 0 })
	return result
}

// await waits until something holds.
func await(t *testing.T, holds func() bool) {
	t.Helper()
	for start := time.Now(); !holds(); time.Sleep(100 * time.Microsecond) {
		require.Less(t, time.Since(start), patience, "it never came")
	}
}

// goroutineID returns what the stack of the calling goroutine begins with:
// "goroutine 7 ".
func goroutineID() string {
	buf := make([]byte, 64)
	first, _, _ := strings.Cut(string(buf[:runtime.Stack(buf, false)]), "[")
	return first
}

// awaitCall waits until a goroutine is in a function, or done.
func awaitCall(t *testing.T, id, function string, done func() bool) {
	t.Helper()
	buf := make([]byte, 1<<20)
	await(t, func() bool {
		for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.HasPrefix(stack, id) && strings.Contains(stack, function) {
				return true
			}
		}
		return done()
	})
}

// wait returns what comes out of a channel.
func wait[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		require.FailNow(t, "nothing came")
		panic("unreachable")
	}
}

func requireTimeout(t *testing.T, err error) {
	t.Helper()
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	op, ok := err.(*net.OpError)
	require.True(t, ok, "%T", err)
	assert.True(t, op.Timeout())
	assert.NotContains(t, err.Error(), "<nil>")
}

func requireClosed(t *testing.T, err error) {
	t.Helper()
	require.ErrorIs(t, err, net.ErrClosed)
	op, ok := err.(*net.OpError)
	require.True(t, ok, "%T", err)
	assert.False(t, op.Timeout())
	assert.Contains(t, err.Error(), "use of closed network connection")
}

// get returns the body of a URL.
func get(t *testing.T, client *http.Client, url string) string {
	t.Helper()
	resp, err := client.Get(url)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(body)
}

func echo(t *testing.T, c net.Conn) {
	t.Helper()
	_, err := io.WriteString(c, "ping")
	require.NoError(t, err)
	got := make([]byte, 4)
	_, err = io.ReadFull(c, got)
	require.NoError(t, err)
	assert.Equal(t, "ping", string(got))
}

// noMoreGoroutines waits until there are as few as before.
func noMoreGoroutines(t *testing.T, before int) {
	t.Helper()
	await(t, func() bool { return runtime.NumGoroutine() <= before })
}

// skipWithoutSockets skips where there is no network stack to bind to.
func skipWithoutSockets(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "js" || runtime.GOOS == "wasip1" {
		t.Skipf("%s has no sockets", runtime.GOOS)
	}
}

// hasIPv6 reports whether ::1 can be bound here.
func hasIPv6() bool {
	ln, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		return false
	}
	ln.Close()
	return true
}

// addrs returns the addresses without their ports.
func addrs(aps []netip.AddrPort) []string {
	var s []string
	for _, ap := range aps {
		s = append(s, ap.Addr().String())
	}
	return s
}

// diagnoseInTime calls Diagnose, which takes less than two seconds however
// broken the machine is. A busy one may stand still meanwhile: of three calls
// one is enough.
func diagnoseInTime(t *testing.T) *loopback.Report {
	t.Helper()
	for calls := 1; ; calls++ {
		begin := time.Now()
		r, err := loopback.Diagnose(t.Context())
		took := time.Since(begin)
		require.NoError(t, err)
		if took < 2*time.Second {
			return r
		}
		require.Less(t, calls, 3, "it took %v", took)
	}
}

// greeter listens on addr, on a port of the kernel's choice if that is 0, and
// greets who connects with its own address.
func greeter(t *testing.T, addr string) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, c.LocalAddr().String())
			c.Close()
		}
	}()
	return netip.MustParseAddrPort(ln.Addr().String())
}

// dialed connects with DialContext, and returns what the server says.
func dialed(t *testing.T, network, address string) string {
	t.Helper()
	c, err := loopback.DialContext(t.Context(), network, address)
	require.NoError(t, err, address)
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	b, err := io.ReadAll(c)
	require.NoError(t, err)
	return string(b)
}

func needIPv6(t *testing.T) {
	t.Helper()
	if !hasIPv6() {
		t.Skip("this machine has no ::1")
	}
}

// freePort returns a port that nothing listens on, in either family.
func freePort(t *testing.T) uint16 {
	t.Helper()
	ln, err := loopback.Listen("tcp", ":0")
	require.NoError(t, err)
	require.NoError(t, ln.Close())
	return ln.Port()
}

// A hostText is a row of testdata/host_texts.tsv.
type hostText struct {
	input  string
	kind   string // addr, host, hostport, url
	strict string // yes, no, invalid
	reach  string // yes, no, depends, invalid
	reason string
}

func readHostTexts(t testing.TB) []hostText {
	t.Helper()
	data, err := os.ReadFile("testdata/host_texts.tsv")
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	var rows []hostText
	for _, line := range lines[1:] {
		f := strings.Split(line, "\t")
		require.GreaterOrEqual(t, len(f), 5, line)
		input, err := strconv.Unquote(f[0])
		require.NoError(t, err, line)
		rows = append(rows, hostText{input, f[1], f[2], f[3], f[4]})
	}
	require.Greater(t, len(rows), 150)
	return rows
}

// lease leases n addresses until the test ends.
func lease(t *testing.T, n int) *loopback.Lease {
	t.Helper()
	l, err := loopback.Acquire(t.Context(), n)
	if errors.Is(err, loopback.ErrFewAddrs) && runtime.GOOS != "linux" {
		t.Skipf("this machine has no more addresses: %v", err)
	}
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skipf("no sockets here: %v", err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// allocs is testing.AllocsPerRun, but for what other goroutines allocate
// meanwhile: the least of three counts.
func allocs(runs int, f func()) float64 {
	least := math.Inf(1)
	for range 3 {
		if least = min(least, testing.AllocsPerRun(runs, f)); least == 0 {
			break
		}
	}
	return least
}

// packetConn binds until the end of the test. It skips the test where ":0"
// does not give two addresses.
func packetConn(t *testing.T, lc *loopback.ListenConfig, address string) *loopback.PacketConn {
	t.Helper()
	needUDP(t)
	if strings.HasPrefix(address, "[") && !hasIPv6() {
		t.Skip("this machine has no ::1")
	}
	c, err := lc.ListenPacket(t.Context(), "udp", address)
	if lc.Ingress == loopback.IngressCheck && errors.Is(err, errors.ErrUnsupported) {
		t.Skipf("needs a kernel that tells the interface: %v", err) // qemu-user does not
	}
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	if address == ":0" && len(c.AddrPorts()) < 2 {
		t.Skipf("needs both families: %v", c.Bindings())
	}
	require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
	return c
}

// dialUDP connects until the end of the test; reading fails after a while.
func dialUDP(t *testing.T, to netip.AddrPort) *net.UDPConn {
	t.Helper()
	c, err := net.Dial("udp", to.String())
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
	return c.(*net.UDPConn)
}

// needUDP skips the test where package net cannot open UDP sockets at all, as
// under some versions of Wine.
func needUDP(t testing.TB) {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Skipf("needs UDP: %v", err)
	}
	c.Close()
}

func addrPortOf(a net.Addr) netip.AddrPort {
	ap := a.(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// An overdue context has not noticed yet that its deadline is past: package net
// has timers of its own.
type overdue struct{ context.Context }

func (overdue) Deadline() (time.Time, bool) { return time.Unix(1, 0), true }

// wrapped is a connection around another, as tls.Conn is.
type wrapped struct{ net.Conn }

func (w wrapped) NetConn() net.Conn { return w.Conn }

// tcpPair returns the two ends of a connection to addr.
func tcpPair(t *testing.T, addr string) (client, server *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
	if err != nil {
		t.Skipf("needs %s: %v", addr, err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	s, err := ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

func parseAddrs(text string) []netip.Addr {
	var list []netip.Addr
	for field := range strings.FieldsSeq(text) {
		list = append(list, netip.MustParseAddr(field))
	}
	return list
}
