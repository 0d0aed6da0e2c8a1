package loopback_test

import (
	"context"
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
	four, six := loopback.IPv4(), loopback.IPv6()
	notFound := &net.DNSError{Err: "no such host", Name: "localhost", IsNotFound: true}
	var texts strings.Builder
	for _, tt := range []struct {
		title   string
		name    string // default localhost
		facts   facts
		found   string
		has     string           // default both
		verdict loopback.Verdict // default: the golden file has all
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

		{title: "both families, ::1 first", facts: facts{Hosts: "::1 localhost\n" + one}, found: "127.0.0.1 ::1"},
		{title: "a literal that is loopback", name: "::1", found: "::1"},
		{title: "a literal, unspecified", name: "::", found: "::"},
		{title: "a literal, unspecified, IPv4", name: "0.0.0.0", found: "0.0.0.0"},
		{title: "a literal that is broadcast", name: "127.255.255.255", found: "127.255.255.255", facts: facts{Connect: map[netip.Addr]error{netip.MustParseAddr("127.255.255.255"): syscall.ENETUNREACH}}},
		{title: "a line with the broadcast address", facts: facts{Hosts: both + "127.255.255.255 localhost\n", Connect: map[netip.Addr]error{netip.MustParseAddr("127.255.255.255"): syscall.EACCES}}, found: "::1 127.255.255.255"},
		{title: "a link-local literal", name: "fe80::1%lo0", found: "fe80::1%lo0", facts: facts{Isolated: map[netip.Addr]bool{netip.MustParseAddr("fe80::1%lo0"): true}}},
		{title: "a link-local address that leads nowhere, alone", facts: facts{Hosts: "fe80::1%lo0 localhost\n", Isolated: map[netip.Addr]bool{netip.MustParseAddr("fe80::1%lo0"): true}}, found: "fe80::1%lo0"},
		{title: "two addresses elsewhere, and one of them first", facts: facts{Hosts: both + "192.0.2.9 localhost\n2001:db8::9 localhost\n"}, found: "192.0.2.9 ::1 2001:db8::9 127.0.0.1"},
		{title: "an address elsewhere, and Listen takes loopback", facts: facts{Hosts: both + "2001:db8::9 localhost\n"}, found: "2001:db8::9 127.0.0.1 ::1"},
		{title: "IPv6 elsewhere, alone", facts: facts{Hosts: "2001:db8::9 localhost\n"}, found: "2001:db8::9"},
		{title: "one family, and the other isolated", facts: facts{Hosts: one + "fe80::1%lo0 localhost\n", Isolated: map[netip.Addr]bool{netip.MustParseAddr("fe80::1%lo0"): true}}, found: "127.0.0.1 fe80::1%lo0"},
		{title: "loopback in one family, elsewhere in the other", facts: facts{Hosts: one + "2001:db8::9 localhost\n"}, found: "127.0.0.1 2001:db8::9"},
		{title: "a name of one family that has the other", name: "localhost6", facts: facts{Hosts: "127.0.0.1 localhost6\n"}, found: "127.0.0.1"},
		{title: "a name of one family, IPv4", name: "localhost4.localdomain", facts: facts{Hosts: "127.0.0.1 localhost4.localdomain\n"}, found: "127.0.0.1"},
		{title: "a name of one family, IPv6", name: "localhost6.localdomain6", facts: facts{Hosts: "::1 localhost6.localdomain6\n"}, found: "::1"},
		{title: "a name of IPv4 is missing", name: "localhost4", facts: facts{Nsswitch: files}},
		{title: "ip6-localhost has both", name: "ip6-localhost", facts: facts{Hosts: "::1 ip6-localhost\n127.0.0.1 ip6-localhost\n"}, found: "::1 127.0.0.1"},
		{title: "an old spelling on a machine without IPv4", name: "127.1", found: "127.0.0.1", has: "::1"},
		{title: "IPv6 alone", facts: facts{Hosts: "::1 localhost\n"}, found: "::1"},
		{title: "IPv6 alone, and a problem with the other line", facts: facts{Hosts: "::1 localhost\n127.0.0.1/8 localhost\n"}, found: "::1"},
		{title: "no IPv4", facts: facts{Hosts: both}, found: "::1 127.0.0.1", has: "::1"},
		{title: "no IPv4, and no other", facts: facts{Hosts: one}, found: "127.0.0.1", has: "::1"},
		{title: "neither family", facts: facts{Hosts: both}, found: "::1 127.0.0.1", has: "-"},
		{title: "no IPv6, of two lines", facts: facts{Hosts: both + "127.0.0.2 localhost\n"}, found: "::1 127.0.0.1 127.0.0.2", has: "::1"},
		{title: "no IPv6, and it can be bound", facts: facts{Hosts: both, Nonlocal: true}, found: "::1 127.0.0.1", has: "127.0.0.1"},
		{title: "no IPv4, and it can be bound", facts: facts{Hosts: both, Nonlocal: true}, found: "::1 127.0.0.1", has: "::1"},
		{title: "no IPv6, and it is from the resolver", name: "app.localhost", facts: facts{Nsswitch: fedora}, found: "::1 127.0.0.1", has: "127.0.0.1"},
		{title: "a firewall", facts: facts{Hosts: both, Connect: map[netip.Addr]error{four: syscall.EPERM}}, found: "::1 127.0.0.1"},
		{title: "a firewall for both", facts: facts{Hosts: both, Connect: map[netip.Addr]error{four: syscall.EPERM, six: context.DeadlineExceeded}}, found: "::1 127.0.0.1"},
		{title: "no descriptor left to connect", facts: facts{Hosts: both, Connect: map[netip.Addr]error{six: syscall.ENFILE}}, found: "::1 127.0.0.1"},
		{title: "a firewall for a line with another address", facts: facts{Hosts: both + "127.0.0.9 localhost\n", Connect: map[netip.Addr]error{netip.MustParseAddr("127.0.0.9"): syscall.EPERM}}, found: "127.0.0.9 ::1 127.0.0.1"},
		{title: "lo is down", facts: facts{Hosts: both, Down: "lo"}, found: "::1 127.0.0.1"},
		{title: "lo is down and one family", facts: facts{Hosts: one, Down: "lo0"}, found: "127.0.0.1"},
		{title: "no descriptor left", facts: facts{Hosts: both, Exhausted: true}, found: "::1 127.0.0.1"},
		{title: "lo is down and has no ::1", facts: facts{Hosts: both, Down: "lo"}, found: "::1 127.0.0.1", has: "127.0.0.1"},
		{title: "no IPv6, and an address elsewhere", facts: facts{Hosts: "::1 localhost\n192.0.2.9 localhost\n"}, found: "::1 192.0.2.9", has: "127.0.0.1"},
		{title: "a lookup of a family failed, and no IPv6", facts: facts{Err4: timeout, Hosts: "::1 localhost\n"}, found: "::1", has: "127.0.0.1"},
		{title: "a problem of the whole file, and a foreign line before", facts: facts{Hosts: both + "192.0.2.9 localhost\n" + long}, found: "192.0.2.9"},
		{title: "silence, and the hosts file has all", name: "db.internal", facts: facts{Hosts: "127.0.0.1 db.internal\n::1 db.internal\n", Err: timeout}},
		{title: "silence, and the hosts file has all twice", facts: facts{Hosts: both + long + both, Err: timeout}},
		{title: "one family that only the C library reads", facts: facts{Hosts: "127.1 localhost\n", Libc: hostsfile.ByMusl}, found: "127.0.0.1"},
		{title: "IPv6 that only the C library reads", facts: facts{Hosts: "::1\flocalhost\n", Libc: hostsfile.ByGlibc}, found: "::1"},
		{title: "behind a long line, when a server was asked", facts: facts{Hosts: long + both, Server: server}},
		{title: "a line of the C library, when a server did not answer", facts: facts{Hosts: "127.1 localhost\n", Libc: hostsfile.ByMusl, Server: server}, found: "127.0.0.1"},
		{title: "from DNS, and a line has it", facts: facts{Hosts: both + "192.0.2.9 localhost\n", Server: server, Answerer: server}, found: "192.0.2.9"},
		{title: "two foreign lines, of which one is lost", facts: facts{Hosts: both + "192.0.2.9 localhost\n192.0.2.9,localhost\n"}, found: "192.0.2.9"},
		{title: "one family before a long line, one behind", facts: facts{Hosts: "::1 localhost\n" + long + "127.0.0.1 localhost\n", Nsswitch: files}},
		{title: "an address elsewhere, and one that leads nowhere", facts: facts{Hosts: "192.0.2.9 localhost\nfe80::1%lo0 localhost\n", Isolated: map[netip.Addr]bool{netip.MustParseAddr("fe80::1%lo0"): true}}, found: "192.0.2.9 fe80::1%lo0"},
		{title: "a foreign line that only the C library reads", facts: facts{Hosts: both + "192.0.2.9\flocalhost\n", Libc: hostsfile.ByGlibc}, found: "192.0.2.9"},
		{title: "behind a long line, and a foreign line that stays lost", facts: facts{Hosts: "192.0.2.9,localhost\n" + long + both, Nsswitch: files}},
		{title: "behind a long line, and again in vain", facts: facts{Hosts: long + one + "127.0.0.1,localhost\n::1 localhost\n", Nsswitch: files}},
		{title: "a line without an address", facts: facts{Hosts: both + "127.0.0.256 localhost\n"}, found: "::1 127.0.0.1"},
		{title: "the lookup of one family failed, and not for a while", facts: facts{Err4: &net.DNSError{Err: "broken", Name: "localhost"}, Hosts: both}, found: "::1"},
		{title: "the C library reads one family, and the other is from elsewhere", facts: facts{Hosts: "127.1 localhost\n", Libc: hostsfile.ByMusl}, found: "127.0.0.1 ::1"},
		{title: "an address of a line, and its zone from elsewhere", facts: facts{Hosts: both + "fe80::1 localhost\n"}, found: "fe80::1%eth0 ::1 127.0.0.1"},
		{title: "a foreign line with a zone behind a long one", facts: facts{Hosts: long + both + "2001:db8::9%eth0 localhost\n", Nsswitch: files}},
		{title: "neither family, and both can be bound", facts: facts{Hosts: both, Nonlocal: true}, found: "::1 127.0.0.1", has: "-"},
		{title: "from DNS, and a line that is added is not read", facts: facts{Hosts: long, Server: server, Answerer: server}, found: "::1 127.0.0.1"},
		{title: "a file that is too big", facts: facts{TooBig: true, Err: errors.New("/etc/hosts is bigger than 64 MiB")}},
		{title: "a file that is too big, and IPv4 alone", facts: facts{TooBig: true, Hosts: one}, found: "127.0.0.1"},
		{title: "the file cannot be read, and one family", facts: facts{HostsErr: fs.ErrPermission}, found: "127.0.0.1"},
		{title: "the lookup failed, for another reason", facts: facts{Err: errors.New("broken")}},
		{title: "the lookup failed, for now", facts: facts{Err: &net.DNSError{Err: "server misbehaving", Name: "localhost", IsTemporary: true}}},
		{title: "the lookup failed, and those of the families did not", facts: facts{Err: timeout, Found4: parseAddrs("127.0.0.1"), Found6: parseAddrs("::1"), Hosts: both}},
		{title: "the lookup of one family failed", facts: facts{Err4: timeout, Hosts: both}, found: "::1"},
		{title: "the lookup of IPv6 failed", facts: facts{Err6: &net.DNSError{Err: "server misbehaving", Name: "localhost", IsTemporary: true}, Hosts: both}, found: "127.0.0.1"},
		{title: "the lookup of one family failed for good", facts: facts{Err4: errors.New("broken"), Hosts: both}, found: "::1"},
		{title: "not found, but by a lookup of a family", facts: facts{Err: notFound, Err6: notFound, Found4: parseAddrs("127.0.0.1"), Hosts: both}},
		{title: "not found", facts: facts{Err: notFound, Err4: notFound, Err6: notFound, Hosts: "# nothing\n"}},
		{title: "not found, and nsswitch.conf begins with another source", facts: facts{Nsswitch: "hosts: mymachines files dns\n"}},
		{title: "not found, and nsswitch.conf has another source first", facts: facts{Hosts: both, Nsswitch: "hosts: mymachines files dns\n"}},
		{title: "one of two, with glibc, and DNS first", facts: facts{Hosts: both, Libc: hostsfile.ByGlibc, Nsswitch: "hosts: dns files\n"}, found: "127.0.0.1"},
		{title: "one of two, with musl", facts: facts{Hosts: both, Libc: hostsfile.ByMusl}, found: "127.0.0.1"},
		{title: "from DNS, and the server is not known", facts: facts{Nsswitch: files}, found: "::1 127.0.0.1"},
		{title: "from DNS, and it is elsewhere", facts: facts{Server: server, Answerer: server}, found: "192.0.2.7"},
		{title: "from DNS, though the hosts file has it", facts: facts{Hosts: both, Server: server, Answerer: server}, found: "::1 127.0.0.1"},
		{title: "a server was asked, and another answered", facts: facts{Server: "192.0.2.54:53", Answerer: server}, found: "::1 127.0.0.1"},
		{title: "a server was asked, and the hosts file answered", facts: facts{Hosts: both, Server: server}, found: "::1 127.0.0.1"},
		{title: "systemd-resolved was asked, and it is elsewhere", facts: facts{Nsswitch: files, Server: "127.0.0.53:53", Answerer: "127.0.0.53:53", Stub: true}, found: "192.0.2.7"},
		{title: "systemd-resolved, by the C library", facts: facts{Nsswitch: "hosts: files resolve dns\n"}, found: "::1 127.0.0.1"},
		{title: "a line of the C library, when a server was asked", facts: facts{Hosts: "127.1 localhost\n", Libc: hostsfile.ByMusl, Server: server, Answerer: server}, found: "127.0.0.1"},
		{title: "two problems", facts: facts{Hosts: "127.0.0.1,localhost\n::1/128 localhost\n::1,localhost\n"}, found: ""},
		{title: "a problem of the whole file that does not matter", facts: facts{Hosts: both + long}, found: "::1 127.0.0.1"},
		{title: "a problem of the whole file, and a name that is missing", name: "db.internal", facts: facts{Hosts: long, Nsswitch: files}},
		{title: "five lines that are lost", facts: facts{Hosts: both + strings.Repeat("127.0.0.1,localhost\n", 5)}, found: "::1 127.0.0.1"},
		{title: "a foreign line behind a long one, taken out once", facts: facts{Hosts: "192.0.2.8 localhost\n" + long + "192.0.2.8 localhost\n::1 localhost\n"}, found: "192.0.2.8"},
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
		texts.WriteString(whole(tt.title, res.Verdict, res.Findings, res.String()))
		assert.True(t, strings.HasPrefix(res.String(), name+": "+string(res.Verdict)+"  "), res.String())
		if tt.verdict == "" {
			continue
		}
		assert.Equal(t, tt.verdict, res.Verdict, tt.title)
		got := levels(res.Findings)
		if tt.title == "unseen, and the hosts file has another" { // no line is to be mended
			for i := range got {
				got[i], _, _ = strings.Cut(got[i], ":")
			}
		}
		assert.Equal(t, append([]string{}, tt.want...), got, tt.title)
	}
	requireGolden(t, "resolutions.golden", texts.String())
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
