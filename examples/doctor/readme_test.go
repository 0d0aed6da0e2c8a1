//go:build linux

package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/loopback/internal/netnstest"
)

// machine makes the namespace the machine of the README: IPv4 and IPv6 work,
// the hosts file has localhost for IPv4 only, and eth0 leads to a neighbour.
func machine(t *testing.T) *netnstest.Neighbour {
	t.Helper()
	require.NoError(t, unix.Mount("etc", "/etc", "tmpfs", 0, ""))
	for name, text := range map[string]string{
		"hosts":         "127.0.0.1 localhost\n",
		"nsswitch.conf": "hosts: files dns\n",
		"resolv.conf":   "nameserver 127.0.0.1\n",
	} {
		require.NoError(t, os.WriteFile("/etc/"+name, []byte(text), 0o644))
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	n := netnstest.NewNeighbour(t)
	n.Veth(t, "eth0", "192.0.2.10/24", "theirs", "192.0.2.1/24")
	return n
}

var listenPort = regexp.MustCompile(`:\d{4,5}\b`)

// The block of the README that begins with this command line is what the
// program prints on the machine of this test, but for the port.
func TestReadme(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	const command = "$ go run ./examples/doctor\n"
	machine(t)
	code, page, stderr := doctor(t, "")
	require.Equal(t, 0, code, stderr)

	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, block, ok := strings.Cut(string(readme), command)
	require.True(t, ok, "the README has no block that begins with %q; this belongs into it:\n%s", command, page)
	block, _, ok = strings.Cut(block, "```")
	require.True(t, ok, "the block has no end")
	fixed := func(s string) string { return listenPort.ReplaceAllString(s, ":PORT") }
	assert.Equal(t, fixed(page), fixed(block))
}

func TestStrict(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	machine(t)
	code, page, _ := doctor(t, "", "-strict")
	assert.Equal(t, 0, code, "a warning is not an error:\n%s", page)

	netnstest.Sysctl(t, "net/ipv4/conf/eth0/route_localnet", "1")
	code, page, _ = doctor(t, "")
	assert.Equal(t, 0, code)
	assert.True(t, strings.HasPrefix(page, "loopback: WIRE  "), page)
	code, strict, _ := doctor(t, "", "-strict")
	assert.Equal(t, 1, code)
	assert.Equal(t, listenPort.ReplaceAllString(page, ""), listenPort.ReplaceAllString(strict, ""), "the page is the same")
	code, _, _ = doctor(t, "", "-strict", "-json")
	assert.Equal(t, 1, code)
	code, _, _ = doctor(t, "", "-strict", "-explain", "0.0.0.0")
	assert.Equal(t, 0, code, "nobody asked about the machine")
}

// What is said about Listen where its addresses are taken away.
func TestListen(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	machine(t)
	_, page, _ := doctor(t, "")
	assert.Regexp(t, `\n  127\.0\.0\.1:\d+  held to the loopback interface by the kernel \(device\)\n`, page)
	assert.Regexp(t, `\n  \[::1\]:\d+  +held to the loopback interface by the kernel \(device\)\n`, page)

	netnstest.Sysctl(t, "net/ipv6/conf/all/disable_ipv6", "1")
	_, page, _ = doctor(t, "")
	assert.Regexp(t, `\n  \[::1\]:\d+ +not bound\n.*cannot assign requested address`, page)

	netnstest.Run(t, "ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
	_, page, _ = doctor(t, "")
	assert.Contains(t, page, "\n  fails: ")
	_, data, _ := doctor(t, "", "-json")
	assert.Contains(t, data, `"bindings": []`)
}

// On a machine where nothing answers, what has to be waited for is waited for
// at once.
func TestBroken(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	machine(t)
	require.NoError(t, unix.Mount("/dev/null", "/etc/hosts", "", unix.MS_BIND, ""))
	netnstest.NeedNFT(t)
	netnstest.Run(t, "nft", "add table inet t; add chain inet t in { type filter hook input priority 0; }; add rule inet t in iif lo drop")
	const inSequence = 2500 * time.Millisecond // 1.5 and 1 seconds, or more
	var page string
	soonest := inSequence
	for range 3 { // or less: a busy machine may stand still meanwhile
		begin := time.Now()
		_, page, _ = doctor(t, "")
		if soonest = min(soonest, time.Since(begin)); soonest < inSequence {
			break
		}
	}
	assert.Less(t, soonest, inSequence)
	assert.Contains(t, page, "LOOKUP-FAILED")
	assert.Contains(t, page, "not proved")
}
