package loopback_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
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

// hang listens on addr with a backlog that is full, so that connecting hangs.
func hang(t *testing.T, addr string) {
	t.Helper()
	ap := netip.AddrPortFrom(netip.MustParseAddr(addr), probePort)
	var sa unix.Sockaddr = &unix.SockaddrInet6{Port: probePort, Addr: ap.Addr().As16()}
	fam := unix.AF_INET6
	if ap.Addr().Is4() {
		fam, sa = unix.AF_INET, &unix.SockaddrInet4{Port: probePort, Addr: ap.Addr().As4()}
	}
	fd, err := unix.Socket(fam, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	require.NoError(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	require.NoError(t, unix.Bind(fd, sa))
	require.NoError(t, unix.Listen(fd, 0))
	dial(t, ap)
	await(t, func() bool { return acceptQueue(t, ap) > 0 }) // full: more than the backlog
}

// withoutProcesses returns the text of a report without " name (pid)".
func withoutProcesses(r *loopback.PortReport) string {
	text := r.String()
	for _, a := range r.Attempts {
		if a.Process != "" {
			text = strings.ReplaceAll(text, ", "+a.Process, "")
		}
	}
	return text
}

func TestProbeNamespace(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	startEtc(t, hostsBoth)
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	const (
		ok6, ok4           = "::1 hosts:2 ok", "127.0.0.1 hosts:1 ok"
		refused6, refused4 = "::1 hosts:2 connection refused", "127.0.0.1 hosts:1 connection refused"
		hung6, hung4       = "::1 hosts:2 no answer", "127.0.0.1 hosts:1 no answer"
	)
	for _, tt := range []struct {
		name     string
		hosts    string // default both
		setup    func(t *testing.T)
		verdict  loopback.Verdict
		attempts []string
		findings []string
		text     string
	}{
		{name: "nothing", setup: func(*testing.T) {},
			verdict: "CLOSED", attempts: []string{refused6, refused4}, findings: []string{"info CLOSED"},
			text: "localhost: CLOSED  nothing listens on port 3000\n"},
		{name: "dual-stack", setup: func(t *testing.T) { listen(t, "tcp", "") },
			verdict: "OPEN", attempts: []string{ok6, ok4}, findings: []string{},
			text: "localhost: OPEN  port 3000 answers on both families\n  ::1        hosts:2  open (user 0)\n  127.0.0.1  hosts:1  open (user 0)\n"},
		{name: "two sockets", setup: func(t *testing.T) { listen(t, "tcp4", "127.0.0.1"); listen(t, "tcp6", "::1") },
			verdict: "OPEN", attempts: []string{ok6, ok4}, findings: []string{}},
		{name: "dual-stack, a name without IPv6", hosts: "127.0.0.1 localhost\n", setup: func(t *testing.T) { listen(t, "tcp", "") },
			verdict: "OPEN", attempts: []string{"::1  ok", ok4}, findings: []string{}},
		{name: "IPv4 wildcard", setup: func(t *testing.T) { listen(t, "tcp4", "") },
			verdict: "SPLIT", attempts: []string{refused6, ok4}, findings: []string{"warn SPLIT"}},
		{name: "IPv4 only", setup: func(t *testing.T) { listen(t, "tcp4", "127.0.0.1") },
			verdict: "SPLIT", attempts: []string{refused6, ok4}, findings: []string{"warn SPLIT"},
			text: `localhost: SPLIT  something answers on 127.0.0.1:3000 only
  ::1        hosts:2  connection refused   <- Go's Dial and Node 17+ try this first
  127.0.0.1  hosts:1  open (user 0)
  fails: Node 17 to 19, and others that try ::1 only
  works: Go's Dial, Node 20 and later, curl and browsers, which try both; the JVM, which takes 127.0.0.1
  fix: listen on both families, or connect to 127.0.0.1
`},
		{name: "IPv6 only", setup: func(t *testing.T) { listen(t, "tcp6", "::1") },
			verdict: "SPLIT", attempts: []string{ok6, refused4}, findings: []string{"warn SPLIT"},
			text: "fails: the JVM,"},
		{name: "IPv6 only, a name without IPv6", hosts: "\n127.0.0.1 localhost\n", setup: func(t *testing.T) { listen(t, "tcp6", "::1") },
			verdict: "SPLIT", attempts: []string{"::1  ok", "127.0.0.1 hosts:2 connection refused"}, findings: []string{"warn SPLIT"},
			text: "fails: Go's Dial, Node, the JVM"},
		{name: "IPv4 only, a name without IPv6", hosts: "127.0.0.1 localhost\n", setup: func(t *testing.T) { listen(t, "tcp4", "127.0.0.1") },
			verdict: "SPLIT", attempts: []string{"::1  connection refused", ok4}, findings: []string{"warn SPLIT"},
			text: "open (user 0)   <- Go's Dial"},
		{name: "IPv4 only, a name without IPv4", hosts: "\n::1 localhost\n", setup: func(t *testing.T) { listen(t, "tcp4", "127.0.0.1") },
			verdict: "SPLIT", attempts: []string{refused6, "127.0.0.1  ok"}, findings: []string{"warn SPLIT"},
			text: "works: curl and browsers\n"},
		{name: "IPv4 only, a name of another address", hosts: "127.0.0.2 localhost\n", setup: func(t *testing.T) { listen(t, "tcp4", "127.0.0.1") },
			verdict: "SPLIT", attempts: []string{"::1  connection refused", "127.0.0.1  ok"}, findings: []string{"warn SPLIT", "warn HOSTS-FILE"},
			text: "  fails: Go's Dial, Node, the JVM and all that ask the resolver, for localhost is another address there\n" +
				"  works: curl and browsers\n"},
		{name: "dual-stack, a name of another address", hosts: "192.0.2.2 localhost\n", setup: func(t *testing.T) { listen(t, "tcp", "") },
			verdict: "OPEN", attempts: []string{"::1  ok", "127.0.0.1  ok"}, findings: []string{"warn HOSTS-FILE"},
			text: "  warn: HOSTS-FILE: /etc/hosts makes localhost 192.0.2.2, and clients that ask the resolver go there (hosts:1)\n" +
				"  fix: put `127.0.0.1 localhost` and `::1 localhost` there instead\n"},
		{name: "on another address of 127.0.0.0/8", setup: func(t *testing.T) { listen(t, "tcp4", "127.0.1.1") },
			verdict: "ELSEWHERE", attempts: []string{refused6, refused4}, findings: []string{"warn ELSEWHERE"},
			text: "localhost: ELSEWHERE  nothing listens on port 3000 of 127.0.0.1 and ::1, but on 127.0.1.1:3000\n"},
		{name: "on the address of a network", setup: func(t *testing.T) {
			netnstest.Run(t, "ip", "addr", "add", "192.0.2.7/32", "dev", "lo")
			t.Cleanup(func() { exec.Command("ip", "addr", "del", "192.0.2.7/32", "dev", "lo").Run() })
			listen(t, "tcp4", "192.0.2.7")
			listen(t, "udp4", "127.0.0.1")
		}, verdict: "ELSEWHERE", findings: []string{"warn ELSEWHERE"},
			text: "fix: have the server listen on 127.0.0.1 and ::1, or connect to 192.0.2.7:3000\n"},
		{name: "elsewhere, and ::1 hangs", setup: func(t *testing.T) { listen(t, "tcp4", "127.0.1.1"); hang(t, "::1") },
			verdict: "NO-ANSWER", attempts: []string{hung6, refused4}, findings: []string{"warn NO-ANSWER"},
			text: "its backlog is full"},
		{name: "UDP alone", setup: func(t *testing.T) { listen(t, "udp4", "127.0.0.1"); listen(t, "udp6", "") },
			verdict: "CLOSED", attempts: []string{refused6, refused4}, findings: []string{"info CLOSED"},
			text: "localhost: CLOSED  nothing listens on port 3000\n"},
		{name: "UDP beside TCP", setup: func(t *testing.T) { listen(t, "udp4", "127.0.0.1"); listen(t, "tcp", "") },
			verdict: "OPEN", attempts: []string{ok6, ok4}, findings: []string{}},
		{name: "a firewall drops one family", setup: func(t *testing.T) { listen(t, "tcp", ""); filter(t, "ip6 daddr ::1 tcp dport 3000 drop") },
			verdict: "SPLIT", attempts: []string{hung6, ok4}, findings: []string{"warn SPLIT"},
			text: "fix: a socket listens on [::1]:3000: look for a packet filter that keeps connections from it\n"},
		{name: "a firewall rejects one family", setup: func(t *testing.T) {
			listen(t, "tcp4", "127.0.0.1")
			listen(t, "tcp6", "::1")
			filter(t, "ip daddr 127.0.0.1 tcp dport 3000 reject with tcp reset")
		}, verdict: "SPLIT", attempts: []string{ok6, refused4}, findings: []string{"warn SPLIT"},
			text: "fix: a socket listens on 127.0.0.1:3000: look for a packet filter"},
		{name: "a firewall rejects both", setup: func(t *testing.T) { listen(t, "tcp", ""); filter(t, "tcp dport 3000 reject with tcp reset") },
			verdict: "CLOSED", attempts: []string{refused6, refused4}, findings: []string{"info CLOSED"},
			text: "localhost: CLOSED  port 3000 refuses connections, although something listens\n"},
		{name: "an address that can be bound alone", setup: func(t *testing.T) {
			netnstest.Run(t, "ip", "addr", "del", "::1/128", "dev", "lo")
			netnstest.Sysctl(t, "net/ipv6/ip_nonlocal_bind", "1")
			t.Cleanup(func() {
				os.WriteFile("/proc/sys/net/ipv6/ip_nonlocal_bind", []byte("0"), 0)
				exec.Command("ip", "addr", "add", "::1/128", "dev", "lo", "nodad").Run()
			})
			listen(t, "tcp4", "127.0.0.1")
		}, verdict: "OPEN", findings: []string{}, text: "127.0.0.1:3000 answers, and this machine has no other family\n"},
		{name: "IPv4 open, IPv6 hangs", setup: func(t *testing.T) { listen(t, "tcp4", "127.0.0.1"); hang(t, "::1") },
			verdict: "SPLIT", attempts: []string{hung6, ok4}, findings: []string{"warn SPLIT"}},
		{name: "IPv6 open, IPv4 hangs", setup: func(t *testing.T) { listen(t, "tcp6", "::1"); hang(t, "127.0.0.1") },
			verdict: "SPLIT", attempts: []string{ok6, hung4}, findings: []string{"warn SPLIT"}},
		{name: "both hang", setup: func(t *testing.T) { hang(t, "127.0.0.1"); hang(t, "::1") },
			verdict: "NO-ANSWER", attempts: []string{hung6, hung4}, findings: []string{"warn NO-ANSWER"},
			text: "localhost: NO-ANSWER  port 3000 does not answer\n"},
		{name: "IPv4 refuses, IPv6 hangs", setup: func(t *testing.T) { hang(t, "::1") },
			verdict: "NO-ANSWER", attempts: []string{hung6, refused4}, findings: []string{"warn NO-ANSWER"}},
		{name: "a firewall drops", setup: func(t *testing.T) {
			listen(t, "tcp", "")
			netnstest.NeedNFT(t)
			netnstest.Run(t, "nft", "add table inet t; add chain inet t in { type filter hook input priority 0; }; add rule inet t in tcp dport 3000 drop")
			t.Cleanup(func() { exec.Command("nft", "delete table inet t").Run() })
		}, verdict: "NO-ANSWER", attempts: []string{hung6, hung4}, findings: []string{"warn NO-ANSWER"}},
		{name: "a machine without IPv6", setup: func(t *testing.T) {
			netnstest.Sysctl(t, "net/ipv6/conf/all/disable_ipv6", "1")
			t.Cleanup(func() { os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("0"), 0) })
			listen(t, "tcp4", "127.0.0.1")
		}, verdict: "OPEN", attempts: []string{"::1 hosts:2 cannot assign requested address", ok4}, findings: []string{},
			text: "localhost: OPEN  127.0.0.1:3000 answers, and this machine has no other family\n"},
		{name: "a machine without 127.0.0.1", setup: func(t *testing.T) {
			netnstest.Run(t, "ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
			t.Cleanup(func() { exec.Command("ip", "addr", "add", "127.0.0.1/8", "dev", "lo").Run() })
			listen(t, "tcp6", "::1")
		}, verdict: "OPEN", attempts: []string{ok6, "127.0.0.1 hosts:1 network is unreachable"}, findings: []string{},
			text: "[::1]:3000 answers, and this machine has no other family\n"},
		{name: "a machine without a route to ::1", setup: func(t *testing.T) {
			netnstest.Run(t, "ip", "-6", "route", "del", "local", "::1", "dev", "lo", "table", "local")
			t.Cleanup(func() { exec.Command("ip", "-6", "route", "add", "local", "::1", "dev", "lo", "table", "local").Run() })
			listen(t, "tcp4", "127.0.0.1")
		}, verdict: "OPEN", attempts: []string{"::1 hosts:2 network is unreachable", ok4}, findings: []string{},
			text: "127.0.0.1:3000 answers, and this machine has no other family\n"},
		{name: "a machine whose rules let no TCP go to ::1", setup: func(t *testing.T) {
			for _, rule := range []string{"add pref 2 table local", "add pref 1 ipproto 6 unreachable", "del pref 0"} {
				netnstest.Run(t, "ip", strings.Fields("-6 rule "+rule)...)
			}
			t.Cleanup(func() {
				for _, rule := range []string{"add pref 0 table local", "del pref 1", "del pref 2"} {
					exec.Command("ip", strings.Fields("-6 rule "+rule)...).Run()
				}
			})
			listen(t, "tcp4", "127.0.0.1")
		}, verdict: "SPLIT", attempts: []string{"::1 hosts:2 network is unreachable", ok4}, findings: []string{"warn SPLIT"},
			text: "  fails: those that try ::1 only\n  works: Go's Dial, Node, the JVM, curl and browsers\n"},
		{name: "a machine without IPv6, a name without IPv4", hosts: "::1 localhost\n", setup: func(t *testing.T) {
			netnstest.Sysctl(t, "net/ipv6/conf/all/disable_ipv6", "1")
			t.Cleanup(func() { os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("0"), 0) })
			listen(t, "tcp4", "127.0.0.1")
		}, verdict: "OPEN", attempts: []string{"::1 hosts:1 cannot assign requested address", "127.0.0.1  ok"}, findings: []string{"warn HOSTS-FILE"},
			text: "/etc/hosts makes localhost ::1, and clients that ask the resolver go there (hosts:1)\n  fix: put `127.0.0.1 localhost` there instead\n"},
		{name: "a machine without IPv6, and IPv4 hangs", setup: func(t *testing.T) {
			netnstest.Sysctl(t, "net/ipv6/conf/all/disable_ipv6", "1")
			t.Cleanup(func() { os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("0"), 0) })
			hang(t, "127.0.0.1")
		}, verdict: "NO-ANSWER", findings: []string{"warn NO-ANSWER"},
			text: "127.0.0.1  hosts:1  no answer   <- Go's Dial and Node 17+ try this first\n"},
		{name: "a machine without addresses", setup: func(t *testing.T) {
			netnstest.Run(t, "ip", "addr", "flush", "dev", "lo")
			t.Cleanup(func() {
				exec.Command("ip", "addr", "add", "127.0.0.1/8", "dev", "lo").Run()
				exec.Command("ip", "addr", "add", "::1/128", "dev", "lo", "nodad").Run()
			})
		}, verdict: "CLOSED", findings: []string{"info CLOSED"},
			text: "fix: see what is wrong with loopback itself"},
		{name: "loopback down", setup: func(t *testing.T) {
			netnstest.Run(t, "ip", "link", "set", "lo", "down")
			t.Cleanup(func() { exec.Command("ip", "link", "set", "lo", "up").Run() })
		}, verdict: "NO-ANSWER", findings: []string{"warn NO-ANSWER", "error UNREACHABLE"}, text: "fix: ip link set dev lo up"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			writeEtc(t, "hosts", hostsBoth)
			if tt.hosts != "" {
				writeEtc(t, "hosts", tt.hosts)
			}
			settle(t) // ::1 may have come back a moment ago
			tt.setup(t)
			ctx := t.Context()
			if strings.Contains(strings.Join(tt.attempts, ""), "no answer") || tt.verdict == "NO-ANSWER" {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, time.Second)
				defer cancel()
			}
			r, err := loopback.Probe(ctx, probePort)
			require.NoError(t, err)
			t.Logf("\n%v", r)
			assert.Equal(t, tt.verdict, r.Verdict)
			if tt.attempts != nil {
				assert.Equal(t, tt.attempts, attempts(r))
			}
			assert.Equal(t, tt.findings, findings(r))
			assert.Contains(t, withoutProcesses(r), tt.text)
			if r.Verdict == "SPLIT" {
				assert.NotContains(t, r.Findings[0].Message, "MySQL")
				for _, client := range []string{"Go's Dial", "Node", "curl", "browsers", "JVM"} {
					assert.Contains(t, r.Findings[0].Message, client)
				}
			}
			requireReadBack(t, r)
			for _, a := range r.Attempts {
				if assert.Equal(t, a.Connect.OK(), a.UID != nil) && a.UID != nil {
					assert.Zero(t, *a.UID)
				}
			}
		})
	}

	t.Run("bounds", func(t *testing.T) {
		hang(t, "127.0.0.1")
		start := time.Now()
		r, err := loopback.Probe(t.Context(), probePort)
		require.NoError(t, err)
		assert.Equal(t, loopback.VerdictNoAnswer, r.Verdict, "by a bound of its own")
		assert.Less(t, time.Since(start), patience)

		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		r, err = loopback.Probe(ctx, probePort)
		require.NoError(t, err)
		assert.Equal(t, loopback.VerdictNoAnswer, r.Verdict, "by a context that was cancelled")
		assert.ErrorIs(t, r.Attempts[1].Connect.Err, context.Canceled, "and not by that bound")
	})

	// The kernel has no socket on this port: a filter sends its connections elsewhere.
	t.Run("a redirected port", func(t *testing.T) {
		netnstest.NeedNFT(t)
		ln, err := net.Listen("tcp4", "127.0.0.1:5000")
		require.NoError(t, err)
		defer ln.Close()
		netnstest.Run(t, "nft", "table ip n { chain out { type nat hook output priority -100; tcp dport 4000 redirect to :5000; }; }")
		defer exec.Command("nft", "delete table ip n").Run()
		r, err := loopback.Probe(t.Context(), 4000)
		require.NoError(t, err)
		require.True(t, r.Attempts[1].Connect.OK())
		assert.Nil(t, r.Attempts[1].UID)
		assert.Empty(t, r.Attempts[1].Process)
		assert.Empty(t, r.Sockets)
	})

	t.Run("JSON", func(t *testing.T) {
		listen(t, "tcp4", "127.0.0.1")
		r, err := loopback.Probe(t.Context(), probePort)
		require.NoError(t, err)
		r.Findings[0].Message = "..."
		data, err := json.Marshal(r)
		require.NoError(t, err)
		name, err := os.ReadFile("/proc/self/comm")
		require.NoError(t, err)
		data = bytes.ReplaceAll(data, fmt.Appendf(nil, "%s (%d)", bytes.TrimSpace(name), os.Getpid()), []byte("server (1)"))
		assert.JSONEq(t, `{"port":3000,"verdict":"SPLIT","attempts":[
			{"addr":"[::1]:3000","source":"hosts:2","connect":{"ok":false,"error":"dial tcp [::1]:3000: connect: connection refused","errno":"ECONNREFUSED"},"uid":null,"process":""},
			{"addr":"127.0.0.1:3000","source":"hosts:1","connect":{"ok":true},"uid":0,"process":"server (1)"}],
			"sockets":[{"network":"tcp4","addr":"127.0.0.1:3000","uid":0,"process":"server (1)"}],
			"findings":[{"verdict":"SPLIT","level":"warn","message":"...","evidence":"[::1]:3000: connection refused",
				"fix":"listen on both families, or connect to 127.0.0.1"}]}`, string(data))
	})

	t.Run("MySQL", func(t *testing.T) {
		r, err := loopback.Probe(t.Context(), 3306)
		require.NoError(t, err)
		assert.Equal(t, loopback.VerdictClosed, r.Verdict)
		assert.Equal(t, []string{"info CLOSED", "info UNIX-SOCKET"}, findings(r))

		ln, err := net.Listen("tcp", "127.0.0.1:3306")
		require.NoError(t, err)
		defer ln.Close()
		r, err = loopback.Probe(t.Context(), 3306)
		require.NoError(t, err)
		assert.Equal(t, []string{"warn SPLIT", "info UNIX-SOCKET"}, findings(r))
		assert.Contains(t, r.String(), "MySQL-style clients")
	})
}

// The kernel may connect a client to itself, which is no server. Package net tries
// three times.
func TestProbeIsNoServer(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	settle(t)
	netnstest.Sysctl(t, "net/ipv4/ip_local_port_range", "4100 4100") // to connect from
	netnstest.Sysctl(t, "net/ipv4/tcp_max_tw_buckets", "0")          // it is free again at once
	for _, addr := range []string{"127.0.0.1:4100", "[::1]:4100"} {
		assert.EqualError(t, loopback.Connect(t.Context(), netip.MustParseAddrPort(addr)), "dial tcp "+addr+": connection refused")
	}
	netnstest.Sysctl(t, "net/ipv4/ip_local_port_range", "4101 4101")
	ln, err := loopback.Listen("tcp", "127.0.0.1:4100")
	require.NoError(t, err)
	defer ln.Close()
	assert.NoError(t, loopback.Connect(t.Context(), ln.AddrPorts()[0]))
}

// listenChild is what TestListenChild listens on.
const listenChild = "LOOPBACK_TEST_LISTEN"

// TestListenChild listens until its standard input ends.
func TestListenChild(t *testing.T) {
	addr, ok := os.LookupEnv(listenChild)
	if !ok {
		t.Skip("only of use to listenAs")
	}
	network := "tcp"
	if strings.HasPrefix(addr, "0.0.0.0:") {
		network = "tcp4" // which "tcp" would not mean
	}
	ln, err := net.Listen(network, addr)
	require.NoError(t, err)
	defer ln.Close()
	fmt.Println("\nLISTENING")
	bufio.NewReader(os.Stdin).ReadByte()
}

// listenAs listens on addr in a process of the user uid.
func listenAs(t *testing.T, uid uint32, addr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestListenChild$", "-test.count=1")
	cmd.Env = append(os.Environ(), listenChild+"="+addr)
	cmd.Dir = "/"
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}, Pdeathsig: syscall.SIGKILL}
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { stdin.Close(); cmd.Wait() })
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if lines.Text() == "LISTENING" {
			return
		}
	}
	t.Fatal("the child does not listen")
}

func TestProbeTwoOwners(t *testing.T) {
	if !netnstest.InWithUsers(t) {
		return
	}
	startEtc(t, hostsBoth)
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	for _, tt := range []struct {
		name     string
		uid6     uint32
		uid4     uint32
		verdict  loopback.Verdict
		headline string
	}{
		{"root and nobody", 65534, 0, "TWO-OWNERS", "localhost: TWO-OWNERS  port 3000 is open for user 65534 on ::1 and for user 0 on 127.0.0.1\n"},
		{"nobody and root", 0, 65534, "TWO-OWNERS", "user 0 on ::1 and for user 65534 on 127.0.0.1\n"},
		{"two others", 1234, 1235, "TWO-OWNERS", "user 1234 on ::1 and for user 1235 on 127.0.0.1\n"},
		{"two programs of one user", 1234, 1234, "TWO-OWNERS", "localhost: TWO-OWNERS  port 3000 is open for exe ("},
	} {
		t.Run(tt.name, func(t *testing.T) {
			listenAs(t, tt.uid6, "[::1]:3000")
			listenAs(t, tt.uid4, "127.0.0.1:3000")
			r, err := loopback.Probe(t.Context(), probePort)
			require.NoError(t, err)
			t.Logf("\n%v", r)
			assert.Equal(t, tt.verdict, r.Verdict)
			assert.Contains(t, r.String(), tt.headline)
			require.NotNil(t, r.Attempts[0].UID)
			require.NotNil(t, r.Attempts[1].UID)
			assert.Equal(t, tt.uid6, *r.Attempts[0].UID)
			assert.Equal(t, tt.uid4, *r.Attempts[1].UID)
			if tt.verdict == "TWO-OWNERS" {
				level := map[bool]string{true: "warn", false: "error"}[tt.uid6 == tt.uid4]
				assert.Equal(t, []string{level + " TWO-OWNERS"}, findings(r))
			}
		})
	}
	t.Run("one wildcard socket", func(t *testing.T) {
		listenAs(t, 65534, ":3000")
		r, err := loopback.Probe(t.Context(), probePort)
		require.NoError(t, err)
		assert.Equal(t, loopback.VerdictOpen, r.Verdict)
		require.NotNil(t, r.Attempts[1].UID)
		assert.EqualValues(t, 65534, *r.Attempts[1].UID)
	})
	t.Run("a wildcard and another's exact socket", func(t *testing.T) {
		listenAs(t, 1234, "0.0.0.0:3000")
		listenAs(t, 65534, "[::1]:3000")
		r, err := loopback.Probe(t.Context(), probePort)
		require.NoError(t, err)
		assert.Equal(t, loopback.VerdictTwoOwners, r.Verdict)
	})
}

// Who has the sockets decides, and not how many processes there are.
func TestProbeCountsPrograms(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	startEtc(t, hostsBoth)
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skipf("needs python3, to fork: %v", err)
	}
	for _, tt := range []struct {
		name, script string
		verdict      loopback.Verdict
	}{
		{"one program, two sockets", "a = bind(4); b = bind(6); ready()", "OPEN"},
		{"a fork that shares both", "a = bind(4); b = bind(6); os.fork() or wait(); ready()", "OPEN"},
		{"a fork that divides them", "a = bind(4); b = bind(6)\nif os.fork() == 0: a.close(); wait()\nb.close(); ready()", "OPEN"},
		{"forks that bind one each", "os.fork() or (bind(4), wait())\nos.fork() or (bind(6), wait())\nready()", "OPEN"},
		{"an executed child that binds the other", "a = bind(4); child = subprocess.Popen([sys.executable, '-c', script.replace(main, 'b = bind(6); ready()')], stdin=sys.stdin)\nready()", "TWO-OWNERS"},
		{"an executed child that shares one of them", "a = bind(4); b = bind(6); a.set_inheritable(True); subprocess.Popen(['sleep', '60'], close_fds=False); ready()", "OPEN"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			script := strings.Replace(forking, "MAIN", tt.script, 1)
			cmd := exec.CommandContext(t.Context(), python, "-c", script, tt.script)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
			cmd.Stderr = os.Stderr
			ready := filepath.Join(t.TempDir(), "ready")
			cmd.Env = append(os.Environ(), "READY="+ready)
			require.NoError(t, cmd.Start())
			t.Cleanup(func() {
				syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
				cmd.Wait()
				await(t, func() bool { return len(listeners(t)) == 0 })
			})
			await(t, func() bool { return len(listeners(t)) == 2 })
			await(t, func() bool { _, err := os.Stat(ready); return err == nil })
			r, err := loopback.Probe(t.Context(), probePort)
			require.NoError(t, err)
			t.Logf("\n%v", r)
			assert.Equal(t, tt.verdict, r.Verdict)
			assert.Contains(t, r.Attempts[0].Process, "python3")
			if tt.verdict == "TWO-OWNERS" {
				assert.Equal(t, []string{"warn TWO-OWNERS"}, findings(r))
			}
		})
	}
}

// listeners returns the sockets that listen on the port of the tests.
func listeners(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("ss", "-Hltn", "sport = :3000").Output()
	require.NoError(t, err)
	return strings.FieldsFunc(string(out), func(c rune) bool { return c == '\n' })
}

const forking = `
import os, socket, subprocess, sys, time
main = sys.argv[1] if len(sys.argv) > 1 else ""
script = open("/proc/self/cmdline").read().split("\0")[2]
def bind(family):
    s = socket.socket({4: socket.AF_INET, 6: socket.AF_INET6}[family])
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(({4: "127.0.0.1", 6: "::1"}[family], 3000))
    s.listen()
    return s
def wait():
    time.sleep(60)
def ready():
    open(os.environ["READY"], "w").close()
    wait()
MAIN
`

// serve starts a server as user, waits until it answers on addr, and stops it
// at the end of the test, which is skipped if it does not start: servers are not
// what is tested.
func serve(t *testing.T, username, addr string, command ...string) {
	t.Helper()
	path, err := exec.LookPath(command[0])
	if err != nil {
		t.Skipf("needs %s: %v", command[0], err)
	}
	cmd := exec.Command(path, command[1:]...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if username != "" {
		cmd.SysProcAttr.Credential = credential(t, username)
	}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	exited := make(chan struct{})
	go func() { defer close(exited); cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-exited:
		case <-time.After(10 * time.Second):
			cmd.Process.Kill()
			<-exited
		}
	})
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			return
		}
		select {
		case <-exited:
			t.Skipf("needs a %s that runs; it ended:\n%s", command[0], out.String())
		case <-time.After(20 * time.Millisecond): // servers do not say when they listen
		}
	}
	t.Skipf("needs a %s that listens on %s", command[0], addr)
}

func credential(t *testing.T, username string) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup(username)
	if err != nil {
		t.Skipf("needs the user %s: %v", username, err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	require.NoError(t, err)
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	require.NoError(t, err)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// as runs a command as a user; the test is skipped if it fails.
func as(t *testing.T, username string, command ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential(t, username)}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("needs a %s that works: %v\n%s", command[0], err, out)
	}
}

// bind puts a file with this text in the place of path.
func bind(t *testing.T, path, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	if err := unix.Mount(file, path, "", unix.MS_BIND, ""); err != nil {
		t.Skipf("needs %s: %v", path, err)
	}
	t.Cleanup(func() { unix.Unmount(path, unix.MNT_DETACH) })
}

// The servers that people have, as Debian configures them.
func TestProbeServers(t *testing.T) {
	if testing.Short() {
		t.Skip("the servers are started without -short only")
	}
	if !netnstest.InWithUsers(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	for _, dir := range []string{"/run", "/var/log"} {
		require.NoError(t, unix.Mount("tmp", dir, "tmpfs", 0, "mode=1777"))
	}
	bind(t, "/etc/hosts", hostsBoth)
	probe := func(t *testing.T, port uint16, verdict loopback.Verdict, username string) *loopback.PortReport {
		t.Helper()
		r, err := loopback.Probe(t.Context(), port)
		require.NoError(t, err)
		t.Logf("\n%v", r)
		assert.Equal(t, verdict, r.Verdict)
		for _, a := range r.Attempts {
			if a.Connect.OK() && assert.NotNil(t, a.UID) {
				assert.Equal(t, credential(t, username).Uid, *a.UID)
			}
		}
		return r
	}
	first := func(t *testing.T, pattern string) string {
		t.Helper()
		paths, _ := filepath.Glob(pattern)
		if len(paths) == 0 {
			t.Skipf("needs %s", pattern)
		}
		return paths[0]
	}
	dir := func(t *testing.T, path, username string) string {
		t.Helper()
		require.NoError(t, os.MkdirAll(path, 0o700))
		c := credential(t, username)
		require.NoError(t, os.Chown(path, int(c.Uid), int(c.Gid)))
		return path
	}

	t.Run("PostgreSQL", func(t *testing.T) {
		conf := first(t, "/etc/postgresql/*/main/postgresql.conf")
		bin := first(t, "/usr/lib/postgresql/*/bin")
		dir(t, "/run/postgresql", "postgres")
		data := dir(t, "/run/pgdata", "postgres")
		as(t, "postgres", bin+"/initdb", "-D", data, "--no-sync", "-A", "trust")
		start := func(t *testing.T) {
			serve(t, "postgres", "127.0.0.1:5432", bin+"/postgres", "-c", "config_file="+conf, "-c", "data_directory="+data, "-c", "ssl=off")
		}
		t.Run("both", func(t *testing.T) {
			start(t)
			probe(t, 5432, "OPEN", "postgres")
		})
		t.Run("a name without IPv6", func(t *testing.T) {
			bind(t, "/etc/hosts", "127.0.0.1 localhost\n")
			start(t)
			probe(t, 5432, "SPLIT", "postgres")
		})
	})
	t.Run("Redis", func(t *testing.T) {
		data := dir(t, "/run/redis", "redis")
		conf, err := os.ReadFile("/etc/redis/redis.conf")
		if err != nil {
			t.Skipf("needs Redis: %v", err)
		}
		require.NoError(t, os.WriteFile("/run/redis/redis.conf", conf, 0o644))
		serve(t, "redis", "127.0.0.1:6379", "redis-server", "/run/redis/redis.conf", "--dir", data, "--logfile", "", "--daemonize", "no")
		probe(t, 6379, "OPEN", "redis")
	})
	t.Run("MariaDB", func(t *testing.T) {
		if _, err := exec.LookPath("mariadb-install-db"); err != nil {
			t.Skipf("needs MariaDB: %v", err)
		}
		dir(t, "/run/mysqld", "mysql")
		data := dir(t, "/run/mysql", "mysql")
		as(t, "mysql", "mariadb-install-db", "--datadir="+data, "--skip-test-db", "--skip-name-resolve", "--auth-root-authentication-method=normal")
		serve(t, "mysql", "127.0.0.1:3306", "mariadbd", "--datadir="+data)
		r := probe(t, 3306, "SPLIT", "mysql")
		assert.Contains(t, r.String(), "unix socket of localhost")

		// And so its client does: it cannot be brought to the port by that name.
		out, err := exec.Command("mariadb", "-h", "localhost", "-u", "root", "--socket=/run/none", "-e", "select 1").CombinedOutput()
		require.Error(t, err)
		assert.Contains(t, string(out), "/run/none")
		netnstest.Run(t, "mariadb", "-h", "127.0.0.1", "-u", "root", "-e", "select 1")
	})
	t.Run("nginx", func(t *testing.T) {
		if _, err := os.Stat("/etc/nginx/sites-enabled/default"); err != nil {
			t.Skipf("needs nginx with its default site: %v", err)
		}
		dir(t, "/var/log/nginx", "root")
		serve(t, "", "127.0.0.1:80", "nginx", "-g", "daemon off;")
		probe(t, 80, "OPEN", "root")
	})
	node := func(t *testing.T, host, addr string) {
		t.Helper()
		if out, err := exec.Command("node", "-e", "if (parseInt(process.versions.node) < 18) throw process.version").CombinedOutput(); err != nil {
			t.Skipf("needs Node 18 or later: %v\n%s", err, out)
		}
		serve(t, "nobody", addr, "node", "-e", "require('http').createServer((q, r) => r.end('hi')).listen(3000"+host+")")
	}
	t.Run("Node", func(t *testing.T) {
		for _, tt := range []struct {
			host, addr string
			verdict    loopback.Verdict
		}{
			{"", "127.0.0.1:3000", "OPEN"},
			{", 'localhost'", "[::1]:3000", "SPLIT"},
			{", '127.0.0.1'", "127.0.0.1:3000", "SPLIT"},
		} {
			t.Run("listen(3000"+tt.host+")", func(t *testing.T) {
				node(t, tt.host, tt.addr)
				probe(t, 3000, tt.verdict, "nobody")
			})
		}
	})
	// What a report says of the clients is what they do.
	t.Run("clients", func(t *testing.T) {
		get := func(autoSelect bool) string {
			return fmt.Sprintf("require('http').get({host: 'localhost', port: 3000, autoSelectFamily: %v, autoSelectFamilyAttemptTimeout: 10000}, "+
				"r => process.exit(0)).on('error', e => process.exit(1))", autoSelect)
		}
		clients := []struct {
			name    string
			command []string
		}{
			{"Go's Dial", []string{"/proc/self/exe", "-test.run=^TestDialChild$"}},
			{"Node 20", []string{"node", "-e", get(true)}},
			{"Node 17", []string{"node", "-e", get(false)}},
			{"curl", []string{"curl", "-sf", "-m", "10", "--noproxy", "*", "-o", "/dev/null", "http://localhost:3000/"}},
			{"JVM", []string{"java", "testdata/Connect.java", "3000"}},
		}
		connect := func(command []string) ([]byte, error) {
			cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
			cmd.Env = append(os.Environ(), dialChild+"=localhost:3000", "GODEBUG=netdns=go")
			return cmd.CombinedOutput()
		}
		able := false
		t.Run("all", func(t *testing.T) { // get through to a server on both
			node(t, "", "127.0.0.1:3000")
			for _, c := range clients {
				if out, err := connect(c.command); err != nil {
					t.Skipf("needs a %s that works: %v\n%s", c.command[0], err, out)
				}
			}
			bind(t, "/etc/hosts", "127.0.0.1 other\n")
			curl := clients[3].command
			if out, err := connect(curl); err != nil {
				t.Skipf("needs a curl that knows localhost by itself, 7.77 or later: %v\n%s", err, out)
			}
			able = true
		})
		if !able {
			t.Skip("needs all of the clients")
		}
		for _, tt := range []struct {
			hosts, server string
			works         string
		}{
			{hostsBoth, "127.0.0.1", "Go's Dial, Node 20, curl, JVM"},
			{hostsBoth, "::1", "Go's Dial, Node 20, Node 17, curl"},
			{"127.0.0.1 localhost\n", "127.0.0.1", "Go's Dial, Node 20, Node 17, curl, JVM"},
			{"127.0.0.1 localhost\n", "::1", "curl"},
			{"::1 localhost\n", "127.0.0.1", "curl"},
			{"::1 localhost\n", "::1", "Go's Dial, Node 20, Node 17, curl, JVM"},
		} {
			t.Run(tt.hosts+tt.server, func(t *testing.T) {
				bind(t, "/etc/hosts", tt.hosts)
				node(t, ", '"+tt.server+"'", net.JoinHostPort(tt.server, "3000"))
				var works []string
				for _, c := range clients {
					if _, err := connect(c.command); err == nil {
						works = append(works, c.name)
					}
				}
				assert.Equal(t, tt.works, strings.Join(works, ", "))
			})
		}
	})
}

// dialChild is what TestDialChild dials.
const dialChild = "LOOPBACK_TEST_DIAL"

// TestDialChild dials in a process of its own: package net keeps what it has
// read of the hosts file.
func TestDialChild(t *testing.T) {
	addr, ok := os.LookupEnv(dialChild)
	if !ok {
		t.Skip("only of use to TestProbeServers")
	}
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	conn.Close()
}
