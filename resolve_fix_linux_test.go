package loopback_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
	"example.com/loopback/internal/netnstest"
)

// worksFor returns which clients of name reach a server on the loopback addresses
// of this machine: "tcp4", "tcp6", and "tcp", which takes either.
func worksFor(t *testing.T, name string) []string {
	t.Helper()
	works := []string{}
	if lo, err := net.InterfaceByName("lo"); err != nil || lo.Flags&net.FlagUp == 0 {
		return works // without waiting for that
	}
	port := "0"
	for _, addr := range []string{"127.0.0.1", "::1"} {
		if ln, err := net.Listen("tcp", net.JoinHostPort(addr, port)); err == nil {
			defer ln.Close()
			_, port, _ = net.SplitHostPort(ln.Addr().String())
		}
	}
	for _, network := range []string{"tcp4", "tcp6", "tcp"} {
		d := net.Dialer{Timeout: time.Second}
		if conn, err := d.Dial(network, net.JoinHostPort(name, port)); err == nil {
			if loopback.IsNetAddr(conn.RemoteAddr()) {
				works = append(works, network)
			}
			conn.Close()
		}
	}
	return works
}

// TestResolveFixesMend follows the fix of the verdict in states made at random, with
// the C library or without, until all is well or nothing is advised. What worked
// before works after, and each fix changes something.
func TestResolveFixesMend(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	startEtc(t, "")
	resetLoopback(t)
	dns := newNameServer(t, "127.0.0.53:53")
	t.Setenv(worksChild, "1")
	states := 120
	if testing.Short() {
		states = 40
	}
	random := rand.New(rand.NewPCG(1, 2)) // the same states in each run
	verdicts := map[string]int{}
	for range states {
		resetLoopback(t)
		state := breakMachine(t, random)
		answer := pick(random, "127.0.0.1 ::1", "127.0.0.1", "192.0.2.66", "alias")
		dns.set(map[string]string{"localhost": answer, "app.localhost": answer, "db.internal": answer})
		name := pick(random, "localhost", "localhost", "localhost", "app.localhost", "ip6-localhost", "localhost4", "db.internal")
		resolver := pick(random, "go", "cgo")
		for round := 0; ; round++ {
			before := resolveAfresh(t, resolver, name)
			verdict := before.Resolution.Verdict
			verdicts[verdict]++
			i := slices.IndexFunc(before.Resolution.Findings, func(f struct{ Verdict, Level, Message, Evidence, Fix string }) bool { return f.Verdict == verdict })
			if verdict == "OK" || before.Resolution.Findings[i].Fix == "" {
				break
			}
			if !assert.Less(t, round, 6, "it never ends: %s %s\n%s", resolver, state, before.Text) {
				break
			}
			fix := before.Resolution.Findings[i].Fix
			hosts, err := os.ReadFile("/etc/hosts")
			require.NoError(t, err)
			follow(t, fix)
			after := resolveAfresh(t, resolver, name)
			assert.Subset(t, after.Works, before.Works, "%s %s\n%.300q\n%s\nfix: %s\n%s", resolver, state, hosts, before.Text, fix, after.Text)
			assert.NotEqual(t, before.Text, after.Text, "%s %s\n%.300q\nfix: %s", resolver, state, hosts, fix)
		}
	}
	t.Logf("%v", verdicts)
	if testing.Short() {
		return // too few states for every verdict
	}
	for _, verdict := range []string{"NOT-LOOPBACK", "FROM-DNS", "MISSING", "UNREACHABLE", "NO-IPV4", "NO-IPV6", "IPv4-ONLY", "IPv6-ONLY"} {
		assert.Positive(t, verdicts[verdict], "no state is %s", verdict)
	}
}

func pick[T any](random *rand.Rand, of ...T) T { return of[random.IntN(len(of))] }

// resetLoopback makes lo what it is on an ordinary machine.
func resetLoopback(t *testing.T) {
	t.Helper()
	for _, conf := range []string{"ipv4/ip_nonlocal_bind", "ipv6/ip_nonlocal_bind", "ipv6/conf/all/disable_ipv6", "ipv6/conf/lo/disable_ipv6"} {
		netnstest.Sysctl(t, "net/"+conf, "0")
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "mtu", "65536", "up")
	netnstest.Run(t, "ip", "addr", "replace", "127.0.0.1/8", "dev", "lo")
	netnstest.Run(t, "ip", "addr", "replace", "::1/128", "dev", "lo")
	settle(t)
}

// breakMachine puts the machine in a state and returns its description.
func breakMachine(t *testing.T, random *rand.Rand) string {
	t.Helper()
	var state []string
	did := func(what string) { state = append(state, what) }
	if random.IntN(2) == 0 {
		switch random.IntN(5) {
		case 0:
			did("lo down")
			netnstest.Run(t, "ip", "link", "set", "lo", "down")
		case 1:
			did("no ::1")
			netnstest.Run(t, "ip", "addr", "del", "::1/128", "dev", "lo")
		case 2:
			did("no 127.0.0.1")
			netnstest.Run(t, "ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
		case 3:
			did("disable_ipv6")
			netnstest.Sysctl(t, "net/ipv6/conf/all/disable_ipv6", "1")
		case 4:
			did("MTU 1000")
			netnstest.Run(t, "ip", "link", "set", "lo", "mtu", "1000")
		}
		if random.IntN(2) == 0 {
			did("ip_nonlocal_bind")
			netnstest.Sysctl(t, "net/ipv4/ip_nonlocal_bind", "1")
			netnstest.Sysctl(t, "net/ipv6/ip_nonlocal_bind", "1")
		}
	}
	conf := pick(random, "hosts: files\n", "hosts: files\n", "hosts: dns\n", "hosts: dns files\n", "hosts: mdns4_minimal [NOTFOUND=return] files dns\n", "")
	if len(state) > 0 {
		conf = "hosts: files\n" // the server is on lo
	}
	did(conf)
	writeEtc(t, "nsswitch.conf", conf)
	writeEtc(t, "resolv.conf", "nameserver 127.0.0.53\n")
	text := ""
	for range random.IntN(6) {
		text += pick(random, "127.0.0.1", "127.0.0.1", "::1", "::1", "192.0.2.7", "0.0.0.0", "127.255.255.255", "127.0.0.2", "fe80::1%lo0", "fe80::1%lo", "127.1", "::1/128", "\ufeff127.0.0.1") +
			pick(random, " ", "\t", ",", "\f", "\u00a0") +
			pick(random, "localhost", "localhost", "localhost ip6-localhost localhost4", "other localhost", "localhost.", "app.localhost db.internal", "localhost\x00", "db.internal") +
			pick(random, "\n", "\n", "\n", "\r\n", "\r", " # comment\n", "#"+strings.Repeat("x", 70<<10)+"\n")
	}
	if random.IntN(3) == 0 {
		text = strings.TrimRight(text, "\r\n")
	}
	if random.IntN(10) == 0 {
		text = utf16le("\ufeff" + text)
	}
	writeEtc(t, "hosts", text)
	did(fmt.Sprintf("%.300q", text))
	return strings.Join(state, ", ")
}

var (
	putLine  = regexp.MustCompile("^put ((?:`[^`]*`(?: and )?)+) into (\\S+?)(, on a line of its own)?(, if it is to be loopback)?$")
	takeLine = regexp.MustCompile(`^take (\S+) out of lines? ([0-9, ]+)(, and \d+ more)? of /etc/hosts(, if it is to be loopback)?$`)
	longLine = regexp.MustCompile(`^break up line (\d+) of /etc/hosts$`)
	takeAddr = regexp.MustCompile(`^take (\S+) out of the hosts file`)
)

// follow does what a fix says, to the letter.
func follow(t *testing.T, fix string) {
	t.Helper()
	if regexp.MustCompile(`^(ip|sysctl|modprobe) `).MatchString(fix) {
		netnstest.Run(t, "sh", "-c", fix)
		settle(t)
		return
	}
	for step := range strings.SplitSeq(fix, "; ") {
		followStep(t, step)
	}
}

func followStep(t *testing.T, step string) {
	t.Helper()
	b, err := os.ReadFile("/etc/hosts")
	require.NoError(t, err)
	hosts := string(b)
	lines := strings.Split(hosts, "\n")
	if m := putLine.FindStringSubmatch(step); m != nil {
		f, err := os.ReadFile(m[2])
		require.NoError(t, err)
		text := string(f)
		if m[3] != "" {
			text += "\n"
		}
		for _, line := range regexp.MustCompile("`[^`]*`").FindAllString(m[1], -1) {
			text += strings.Trim(line, "`") + "\n"
		}
		require.NoError(t, os.WriteFile(m[2], []byte(text), 0o644))
		return
	}
	switch {
	case takeLine.MatchString(step):
		m := takeLine.FindStringSubmatch(step)
		for number := range strings.SplitSeq(m[2], ", ") {
			n, err := strconv.Atoi(number)
			require.NoError(t, err)
			lines[n-1] = regexp.MustCompile(`(?i)(\s)`+regexp.QuoteMeta(m[1])+`\b`).ReplaceAllString(lines[n-1], "$1")
		}
		hosts = strings.Join(lines, "\n")
	case longLine.MatchString(step):
		n, err := strconv.Atoi(longLine.FindStringSubmatch(step)[1])
		require.NoError(t, err)
		lines[n-1] = strings.ReplaceAll(lines[n-1], strings.Repeat("x", 1000), strings.Repeat("x", 1000)+"\n#")
		hosts = strings.Join(lines, "\n")
	case step == "save /etc/hosts as UTF-8 without a byte order mark":
		var units []uint16
		for i := 0; i+1 < len(hosts); i += 2 {
			units = append(units, uint16(hosts[i])|uint16(hosts[i+1])<<8)
		}
		hosts = strings.TrimPrefix(string(utf16.Decode(units)), "\ufeff")
	case step == "save /etc/hosts with line feeds at the ends of its lines":
		hosts = strings.ReplaceAll(hosts, "\r", "\n")
	case step == "name files first in the hosts line of /etc/nsswitch.conf":
		conf, err := os.ReadFile("/etc/nsswitch.conf")
		require.NoError(t, err)
		writeEtc(t, "nsswitch.conf", strings.Replace(strings.Replace(string(conf), " files", "", 1), "hosts:", "hosts: files", 1))
	case takeAddr.MatchString(step):
		addr := netip.MustParseAddr(takeAddr.FindStringSubmatch(step)[1])
		lines = slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, addr.String()) })
		hosts = strings.Join(lines, "\n")
	default:
		t.Fatalf("how does one follow %q?", step)
	}
	writeEtc(t, "hosts", hosts)
}
