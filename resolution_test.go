package loopback_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
	"example.com/loopback/internal/hostsfile"
)

// levels returns the findings as "LEVEL VERDICT EVIDENCE: FIX".
func levels(findings []loopback.Finding) []string {
	lines := []string{}
	for _, f := range findings {
		line := f.Level.String() + " " + string(f.Verdict) + " " + f.Evidence
		if f.Fix != "" {
			line += ": " + f.Fix
		}
		lines = append(lines, line)
	}
	return lines
}

// TestResolutionIsJudgedByFacts needs no machine in any state: the facts are given.
func TestResolutionIsJudgedByFacts(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows answers for localhost names itself, and this table is about nsswitch.conf")
	}
	const (
		one    = "127.0.0.1 localhost\n"
		both   = one + "::1 localhost\n"
		files  = "hosts: files\n"
		fedora = "hosts: files myhostname resolve [!UNAVAIL=return] dns\n"
		server = "192.0.2.53:53"
		put    = "put `127.0.0.1 localhost` and `::1 localhost` into /etc/hosts"
		put4   = "put `127.0.0.1 localhost` into /etc/hosts"
		put6   = "put `::1 localhost` into /etc/hosts"
	)
	long := "127.0.0.9 x #" + strings.Repeat("y", 64<<10) + "\n"
	timeout := &net.DNSError{Err: "i/o timeout", Name: "localhost", IsTimeout: true}
	type facts = loopback.Facts
	for _, tt := range []struct {
		title   string
		name    string // default localhost
		facts   facts
		found   string
		has     string // default both
		verdict loopback.Verdict
		want    []string
	}{
		{title: "both families", facts: facts{Hosts: both}, found: "::1 127.0.0.1", verdict: "OK"},
		{title: "one", facts: facts{Hosts: one}, found: "127.0.0.1", verdict: "IPv4-ONLY", want: []string{"warn IPv4-ONLY hosts:1: " + put6}},
		{title: "one, on a machine that has one", facts: facts{Hosts: one}, found: "127.0.0.1", has: "127.0.0.1", verdict: "OK"},
		{title: "one, and no nsswitch.conf speaks of files", facts: facts{Hosts: one, Nsswitch: "passwd: files\n"}, found: "127.0.0.1",
			verdict: "IPv4-ONLY", want: []string{"warn IPv4-ONLY hosts:1: " + put6}},
		{title: "one of two, with glibc", facts: facts{Hosts: both, Libc: hostsfile.ByGlibc}, found: "127.0.0.1",
			verdict: "IPv4-ONLY", want: []string{"warn IPv4-ONLY hosts:1" + multiOn()}},
		{title: "one of two, with musl, which wants a line feed", facts: facts{Hosts: one + "::1 localhost", Libc: hostsfile.ByMusl}, found: "127.0.0.1",
			verdict: "IPv4-ONLY", want: []string{"warn IPv4-ONLY hosts:1: " + put6 + ", on a line of its own"}},
		{title: "a name with one family on purpose", name: "ip6-loopback", facts: facts{Hosts: "::1 ip6-localhost ip6-loopback\n"}, found: "::1", verdict: "OK"},
		{title: "and in other letters", name: "LocalHost4.LocalDomain4.", facts: facts{Hosts: "127.0.0.1 localhost4.localdomain4\n"}, found: "127.0.0.1", verdict: "OK"},
		{title: "a name that looks like one", name: "localhost4.example", facts: facts{Hosts: "127.0.0.1 localhost4.example\n"}, found: "127.0.0.1",
			verdict: "IPv4-ONLY", want: []string{"warn IPv4-ONLY hosts:1: put `::1 localhost4.example` into /etc/hosts, if it is to be loopback"}},
		{title: "such a name is missing", name: "ip6-localhost", facts: facts{Nsswitch: files}, verdict: "MISSING",
			want: []string{"warn MISSING resolver: put `::1 ip6-localhost` into /etc/hosts, if it is to be loopback"}},
		{title: "missing", facts: facts{Nsswitch: files}, verdict: "MISSING", want: []string{"warn MISSING resolver: " + put}},
		{title: "missing on a machine that has nothing", facts: facts{Nsswitch: files}, has: "-", verdict: "MISSING", want: []string{"warn MISSING resolver: " + put}},
		{title: "missing on a machine without IPv6", facts: facts{Nsswitch: files}, has: "127.0.0.1", verdict: "MISSING", want: []string{"warn MISSING resolver: " + put4}},
		{title: "missing with lo down", facts: facts{Down: "lo"}, verdict: "MISSING", want: []string{"warn MISSING resolver: " + put}},
		{title: "missing with lo down and IPv6 off", facts: facts{Down: "lo", IPv6Off: true}, verdict: "MISSING", want: []string{"warn MISSING resolver: " + put4}},
		{title: "missing, dns alone", facts: facts{Nsswitch: "hosts: dns\n"}, verdict: "MISSING",
			want: []string{"warn MISSING resolver: name files first in the hosts line of /etc/nsswitch.conf; " + put}},
		{title: "there, dns alone", facts: facts{Hosts: both, Nsswitch: "hosts: dns\n"}, verdict: "MISSING",
			want: []string{"warn MISSING resolver: name files first in the hosts line of /etc/nsswitch.conf"}},
		{title: "behind a long line", facts: facts{Hosts: long + both, Nsswitch: files}, verdict: "MISSING",
			want: []string{"warn MISSING resolver: break up line 1 of /etc/hosts", "warn HOSTS-FILE hosts:2, hosts:3: break up line 1 of /etc/hosts"}},
		{title: "with a long line", facts: facts{Hosts: long, Nsswitch: files}, verdict: "MISSING",
			want: []string{"warn MISSING resolver: break up line 1 of /etc/hosts; " + put, "warn HOSTS-FILE /etc/hosts: break up line 1 of /etc/hosts"}},
		{title: "another name, with a long line", name: "db.internal", facts: facts{Hosts: long, Server: server, Answerer: server}, found: "127.0.0.1 ::1", verdict: "OK"},
		{title: "with no line feed", facts: facts{Hosts: "# x", Nsswitch: files}, verdict: "MISSING",
			want: []string{"warn MISSING resolver: " + put + ", on a line of its own"}},
		{title: "unreadable", facts: facts{HostsErr: fs.ErrPermission}, verdict: "MISSING",
			want: []string{"warn MISSING resolver: make /etc/hosts a file that every user can read; " + put, "warn HOSTS-FILE /etc/hosts: make it a file that every user can read"}},
		{title: "no file", facts: facts{HostsErr: fs.ErrNotExist}, verdict: "MISSING",
			want: []string{"warn MISSING resolver: " + put, "warn HOSTS-FILE /etc/hosts: make it a file that every user can read"}},
		{title: "no descriptor left", facts: facts{HostsErr: syscall.EMFILE, Exhausted: true}, verdict: "MISSING",
			want: []string{"warn MISSING resolver: let this process open more files: ulimit -n", "warn HOSTS-FILE /etc/hosts: let this process open more files: ulimit -n"}},
		{title: "no descriptor left, of a literal", name: "::1", facts: facts{Exhausted: true}, found: "::1", verdict: "NO-IPV6",
			want: []string{"error NO-IPV6 literal: let this process open more files: ulimit -n"}},
		{title: "silence", facts: facts{Err: timeout, Server: server}, verdict: "LOOKUP-FAILED", want: []string{"warn LOOKUP-FAILED resolver: " + put}},
		{title: "from DNS", facts: facts{Server: server, Answerer: server}, found: "::1 127.0.0.1", verdict: "FROM-DNS", want: []string{"error FROM-DNS resolver: " + put}},
		{title: "from DNS, one family", facts: facts{Server: server, Answerer: server}, found: "::1", verdict: "FROM-DNS",
			want: []string{"error FROM-DNS resolver: " + put, "warn IPv6-ONLY resolver: " + put}},
		{title: "another name from DNS, one family", name: "db.internal", facts: facts{Server: server, Answerer: server}, found: "::1", verdict: "IPv6-ONLY",
			want: []string{"warn IPv6-ONLY resolver: put `127.0.0.1 db.internal` and `::1 db.internal` into /etc/hosts, if it is to be loopback"}},
		{title: "unseen, and the hosts file has another", facts: facts{Hosts: both}, found: "192.0.2.7", verdict: "NOT-LOOPBACK",
			want: []string{"error NOT-LOOPBACK resolver", "error FROM-DNS resolver"}},
		{title: "unseen, and the hosts file has another that is loopback", facts: facts{Hosts: both}, found: "127.0.0.2 ::1", verdict: "OK"},
		{title: "nss-myhostname", name: "app.localhost", facts: facts{Hosts: both, Nsswitch: fedora}, found: "::1 127.0.0.1", verdict: "OK", want: []string{"info FROM-DNS resolver"}},
		{title: "nss-myhostname, and an answer that it does not give", facts: facts{Nsswitch: fedora}, found: "192.0.2.7", verdict: "NOT-LOOPBACK",
			want: []string{"error NOT-LOOPBACK resolver: " + put, "error FROM-DNS resolver: " + put}},
		{title: "nss-myhostname, but package net asked a server", facts: facts{Nsswitch: fedora, Server: server, Answerer: server}, found: "::1 127.0.0.1",
			verdict: "FROM-DNS", want: []string{"error FROM-DNS resolver: " + put}},
		{title: "the server is systemd-resolved", facts: facts{Nsswitch: files, Server: "127.0.0.53:53", Answerer: "127.0.0.53:53", Stub: true}, found: "::1 127.0.0.1",
			verdict: "OK", want: []string{"info FROM-DNS resolver"}},
		{title: "a spelling that only musl reads, with glibc", facts: facts{Hosts: "127.1 localhost\n"}, found: "127.0.0.1", has: "127.0.0.1", verdict: "FROM-DNS",
			want: []string{"error FROM-DNS resolver: " + put4, "warn HOSTS-FILE hosts:1: write 127.0.0.1"}},
		{title: "a spelling that only musl reads, with musl", facts: facts{Hosts: "127.1 localhost\n", Libc: hostsfile.ByMusl}, found: "127.0.0.1", has: "127.0.0.1", verdict: "OK",
			want: []string{"warn HOSTS-FILE hosts:1: write 127.0.0.1"}},
		{title: "a link-local address that leads nowhere", facts: facts{Hosts: both + "fe80::1%lo0 localhost\n", Isolated: map[netip.Addr]bool{netip.MustParseAddr("fe80::1%lo0"): true}},
			found: "::1 127.0.0.1 fe80::1%lo0", verdict: "OK", want: []string{"info NOT-LOOPBACK hosts:3"}},
		{title: "a link-local address that leads somewhere", facts: facts{Hosts: both + "fe80::1%eth0 localhost\n"}, found: "::1 127.0.0.1 fe80::1%eth0",
			verdict: "NOT-LOOPBACK", want: []string{"error NOT-LOOPBACK hosts:3: take localhost out of line 3 of /etc/hosts"}},
		{title: "another name in the hosts file", name: "db.internal", facts: facts{Hosts: "192.0.2.9 db.internal\n127.0.0.1 db.internal\n::1 db.internal\n"}, found: "192.0.2.9 ::1 127.0.0.1",
			verdict: "NOT-LOOPBACK", want: []string{"error NOT-LOOPBACK hosts:1: take db.internal out of line 1 of /etc/hosts, if it is to be loopback"}},
		{title: "many lines", facts: facts{Hosts: strings.Repeat("192.0.2.9 localhost\n", 6) + both}, found: "::1 127.0.0.1 192.0.2.9", verdict: "NOT-LOOPBACK",
			want: []string{"error NOT-LOOPBACK hosts:1: take localhost out of lines 1, 2, 3, 4, and 2 more of /etc/hosts"}},
		{title: "a lost line that is better lost", facts: facts{Hosts: both + "192.0.2.7,localhost\n192.0.2.8 db.internal,localhost\n"}, found: "::1 127.0.0.1", verdict: "OK",
			want: []string{"warn HOSTS-FILE hosts:3, hosts:4: take localhost out of lines 3, 4 of /etc/hosts"}},
		{title: "another name with such a line", name: "db.internal", facts: facts{Hosts: "192.0.2.7,db.internal\n127.0.0.1 db.internal\n::1 db.internal\n"}, found: "::1 127.0.0.1",
			verdict: "OK", want: []string{"warn HOSTS-FILE hosts:1: write a space in its place"}},
		{title: "such a line behind a long one", facts: facts{Hosts: both + long + "192.0.2.7 localhost\n127.0.0.3 localhost\nfe80::1%lo0 localhost\n"}, found: "::1 127.0.0.1",
			verdict: "OK", want: []string{"warn HOSTS-FILE hosts:4, hosts:5, hosts:6: take localhost out of line 4 of /etc/hosts; break up line 3 of /etc/hosts"}},
		{title: "such a line behind a long one, and nothing before", facts: facts{Hosts: long + "127.255.255.255 localhost\n::1 localhost", Nsswitch: files}, verdict: "MISSING",
			want: []string{
				"warn MISSING resolver: take localhost out of line 2 of /etc/hosts; break up line 1 of /etc/hosts; " + put4 + ", on a line of its own",
				"warn HOSTS-FILE hosts:2, hosts:3: take localhost out of line 2 of /etc/hosts; break up line 1 of /etc/hosts",
			}},
		{title: "no IPv6", facts: facts{Hosts: both}, found: "::1 127.0.0.1", has: "127.0.0.1", verdict: "NO-IPV6",
			want: []string{"warn NO-IPV6 hosts:2: add ::1" + or() + "take ::1 out of the hosts file, if this machine is to have no IPv6"}},
		{title: "no IPv6, and no other", facts: facts{Hosts: "::1 localhost\n"}, found: "::1", has: "127.0.0.1", verdict: "NO-IPV6",
			want: []string{"error NO-IPV6 hosts:1: add ::1" + or() + put4}},
		{title: "no IPv4, from DNS", name: "db.internal", facts: facts{Server: server, Answerer: server}, found: "127.0.0.1 ::1", has: "::1", verdict: "NO-IPV4",
			want: []string{"warn NO-IPV4 resolver: add 127.0.0.1"}},
		{title: "a literal", name: "192.0.2.1", found: "192.0.2.1", verdict: "NOT-LOOPBACK", want: []string{"error NOT-LOOPBACK literal: use 127.0.0.1 or ::1, if it is to be loopback"}},
		{title: "an old spelling", name: "127.1", found: "127.0.0.1", verdict: "OK"},
		{title: "what is no address", name: "127.0.0.1.0", facts: facts{Nsswitch: files}, verdict: "MISSING",
			want: []string{"warn MISSING resolver: put `127.0.0.1 127.0.0.1.0` and `::1 127.0.0.1.0` into /etc/hosts, if it is to be loopback"}},
	} {
		name := tt.name
		if name == "" {
			name = "localhost"
		}
		tt.facts.Found = parseAddrs(tt.found)
		switch tt.has {
		case "":
			tt.facts.Has = parseAddrs("127.0.0.1 ::1")
		case "-":
		default:
			tt.facts.Has = parseAddrs(tt.has)
		}
		if tt.facts.Libc == hostsfile.ByGo {
			tt.facts.Libc = hostsfile.ByGlibc
		}
		res := loopback.Judge(name, tt.facts)
		assert.Equal(t, tt.verdict, res.Verdict, tt.title)
		got := levels(res.Findings)
		if tt.title == "unseen, and the hosts file has another" { // no line is to be mended
			for i := range got {
				got[i], _, _ = strings.Cut(got[i], ":")
			}
		}
		assert.Equal(t, append([]string{}, tt.want...), got, tt.title)
		assert.True(t, strings.HasPrefix(res.String(), name+": "+string(tt.verdict)+"  "), res.String())
	}
}

// multiOn is the advice about host.conf, which the GNU C library has on Linux.
func multiOn() string {
	if runtime.GOOS == "linux" {
		return ": put `multi on` into /etc/host.conf"
	}
	return ""
}

// or stands between two ways to mend something.
func or() string {
	switch runtime.GOOS {
	case "linux", "android", "darwin", "ios", "freebsd", "netbsd", "openbsd", "dragonfly":
		return " # or "
	}
	return ", or "
}

func TestResolutionIsReadBack(t *testing.T) {
	res := loopback.Judge("localhost", loopback.Facts{
		Hosts: "::1 localhost\n127.0.0.1 localhost\nfe80::1%eth0 localhost\n127.0.0.1,localhost\n",
		Found: parseAddrs("::1 127.0.0.1 fe80::1%eth0"), Has: parseAddrs("127.0.0.1"), Libc: hostsfile.ByGlibc,
	})
	res.Dial, res.Listen = parseAddrs("::1 fe80::1%eth0 127.0.0.1"), netip.MustParseAddr("127.0.0.1")
	data, err := json.Marshal(res)
	require.NoError(t, err)
	var back loopback.Resolution
	require.NoError(t, json.Unmarshal(data, &back))
	again, err := json.Marshal(&back)
	require.NoError(t, err)
	assert.JSONEq(t, string(data), string(again))
	assert.Equal(t, string(data), string(again))
	if runtime.GOOS != "windows" { // where the error is read back as that of Winsock
		assert.Equal(t, res.String(), back.String())
	}
	assert.True(t, errors.Is(back.Answers[0].Bind.Err, syscall.EADDRNOTAVAIL))
}

func TestResolutionOfHandIsNoPanic(t *testing.T) {
	assert.NotPanics(t, func() {
		_ = new(loopback.Resolution).String()
		_ = (&loopback.Resolution{Name: "localhost", Verdict: loopback.VerdictMissing}).String()
	})
}

// A name does not have an address and have none, or is "also" itself.
func TestResolutionOfALinkLocalAddressAgreesWithItself(t *testing.T) {
	r, err := loopback.Resolve(t.Context(), "fe80::1%nosuch0")
	require.NoError(t, err)
	require.Len(t, r.Findings, 2)
	assert.Equal(t, "fe80::1%nosuch0 leads nowhere", r.Findings[0].Message)
	assert.Equal(t, "fe80::1%nosuch0 leads to no other machine", r.Findings[1].Message)
}
