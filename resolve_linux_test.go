package loopback_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/loopback"
	"example.com/loopback/internal/netnstest"
)

// seen is what a fresh process sees of a name: package net keeps the hosts
// file for five seconds and resolv.conf as well.
type seen struct {
	Text       string
	MaxRSS     int64 // in KiB
	Took       time.Duration
	Resolution struct {
		Name    string
		Verdict string
		Answers []struct {
			Addr, Source  string
			Bind, Connect *struct {
				OK           bool
				Error, Errno string
			}
		}
		Dial     []string
		Listen   string
		Findings []struct{ Verdict, Level, Message, Evidence, Fix string }
	}
	Dialled  []string // by net.Dial, as its Control function saw it
	Listened string   // by net.Listen; "" if it failed
	Works    []string // of what worksFor tries
}

func (s *seen) answers() []string {
	lines := []string{}
	for _, a := range s.Resolution.Answers {
		line := a.Addr + " " + a.Source
		for _, o := range []*struct {
			OK           bool
			Error, Errno string
		}{a.Bind, a.Connect} {
			switch {
			case o == nil:
				line += " -"
			case o.OK:
				line += " ok"
			default:
				line += " " + o.Errno
			}
		}
		lines = append(lines, line)
	}
	return lines
}

func (s *seen) findings() []string {
	lines := []string{}
	for _, f := range s.Resolution.Findings {
		lines = append(lines, f.Level+" "+f.Verdict+" "+f.Evidence)
	}
	return lines
}

const (
	resolveChild = "LOOPBACK_TEST_RESOLVE"
	worksChild   = "LOOPBACK_TEST_WORKS" // set: Works is asked for, and not Dialled and Listened
)

// TestResolveChild is the fresh process that resolveAfresh starts.
func TestResolveChild(t *testing.T) {
	name, ok := os.LookupEnv(resolveChild)
	if !ok {
		t.Skip("only of use to resolveAfresh")
	}
	var out struct {
		Text       string
		MaxRSS     int64
		Took       time.Duration
		Resolution *loopback.Resolution
		Dialled    []string
		Listened   string
		Works      []string
	}
	start := time.Now()
	res, err := loopback.Resolve(t.Context(), name)
	require.NoError(t, err)
	out.Took, out.Text, out.Resolution = time.Since(start), res.String(), res
	var usage syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	out.MaxRSS = int64(usage.Maxrss)

	if os.Getenv(worksChild) != "" {
		out.Works = worksFor(t, name)
	} else if !slices.ContainsFunc(res.Findings, func(f loopback.Finding) bool { return f.Verdict == loopback.VerdictLookupFailed }) {
		var mu sync.Mutex
		d := net.Dialer{Timeout: 3 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
			mu.Lock()
			defer mu.Unlock()
			// An address is tried again if the resolver repeats it, and if it
			// is not there (EADDRNOTAVAIL).
			if addr := netip.MustParseAddrPort(address).Addr().String(); !slices.Contains(out.Dialled, addr) {
				out.Dialled = append(out.Dialled, addr)
			}
			return nil
		}}
		if conn, err := d.Dial("tcp", net.JoinHostPort(name, "1")); err == nil {
			conn.Close()
			t.Error("port 1 is open")
		}
		if ln, err := net.Listen("tcp", net.JoinHostPort(name, "0")); err == nil {
			out.Listened = ln.Addr().(*net.TCPAddr).AddrPort().Addr().String()
			ln.Close()
		}
	}
	data, err := json.Marshal(out)
	require.NoError(t, err)
	fmt.Printf("\nSEEN %s\n", data)
}

// resolveAfresh calls Resolve in a process of its own, with a resolver of
// package net, "go" or "cgo".
func resolveAfresh(t *testing.T, resolver, name string) *seen {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestResolveChild$", "-test.count=1")
	cmd.Env = append(os.Environ(), resolveChild+"="+name, "GODEBUG=netdns="+resolver)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	_, text, ok := strings.Cut(string(out), "SEEN ")
	require.True(t, ok, "%s", out)
	s := new(seen)
	require.NoError(t, json.NewDecoder(strings.NewReader(text)).Decode(s), "%s", text)
	t.Logf("%v\n%s", s.Took, s.Text)
	return s
}

// A process that may open no more files is told so, and nothing of the machine.
func TestResolveBlamesTheLimitsOfTheProcess(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	withSpare(t, 0, func() {
		res, err := loopback.Resolve(t.Context(), "::1") // without a look into the hosts file
		require.NoError(t, err)
		require.Len(t, res.Findings, 1)
		assert.Equal(t, loopback.VerdictNoIPv6, res.Verdict)
		assert.Equal(t, "let this process open more files: ulimit -n", res.Findings[0].Fix)
	})
	withSpare(t, 1, func() { // it can bind, but not connect
		res, err := loopback.Resolve(t.Context(), "127.0.0.1")
		require.NoError(t, err)
		require.Len(t, res.Findings, 1)
		assert.Equal(t, loopback.VerdictUnreachable, res.Verdict)
		assert.Equal(t, "let this process open more files: ulimit -n", res.Findings[0].Fix)
	})
}

// utf16le returns text in UTF-16, as Notepad saves it.
func utf16le(text string) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		b = binary.LittleEndian.AppendUint16(b, unit)
	}
	return string(b)
}

func TestResolveSaysWhatPackageNetDoes(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	ownEtc(t)
	writeEtc(t, "host.conf", "multi on\n") // as on Debian; without it glibc takes one line only
	dns := newNameServer(t, "127.0.0.53:53")
	ok6, ok4 := "::1 hosts:2 ok ok", "127.0.0.1 hosts:1 ok ok"
	type want struct {
		verdict  string
		answers  []string // "ADDR SOURCE BIND CONNECT"
		dial     string
		listen   string
		findings []string // "LEVEL VERDICT EVIDENCE"
	}
	fromDNS := "error FROM-DNS resolver"
	failed := want{"LOOKUP-FAILED", []string{}, "", "", []string{"warn LOOKUP-FAILED resolver"}}
	missing := want{"MISSING", []string{}, "", "", []string{"warn MISSING resolver"}}
	long := "127.0.0.1 x #" + strings.Repeat("y", 70<<10) + "\n"

	for _, tt := range []struct {
		name     string
		lookup   string // default localhost
		hosts    string
		nsswitch string
		zone     map[string]string
		want     want
		cgo      *want // where the C library differs
		text     string
	}{
		{name: "both", hosts: hostsBoth,
			want: want{"OK", []string{ok6, ok4}, "::1 127.0.0.1", "127.0.0.1", []string{}}},
		{name: "other order", hosts: "::1 localhost\n127.0.0.1 localhost\n",
			want: want{"OK", []string{"::1 hosts:1 ok ok", "127.0.0.1 hosts:2 ok ok"}, "::1 127.0.0.1", "127.0.0.1", []string{}}},
		{name: "IPv4 only", hosts: "127.0.0.1 localhost\n",
			want: want{"IPv4-ONLY", []string{ok4}, "127.0.0.1", "127.0.0.1", []string{"warn IPv4-ONLY hosts:1"}},
			text: "fix: put `::1 localhost` into /etc/hosts"},
		{name: "IPv6 only", hosts: "\n::1 localhost\n",
			want: want{"IPv6-ONLY", []string{ok6}, "::1", "::1", []string{"warn IPv6-ONLY hosts:2"}},
			text: "fix: put `127.0.0.1 localhost` into /etc/hosts"},
		{name: "duplicates", hosts: "127.0.0.1 localhost\n127.0.0.1 localhost\n::1 localhost localhost\n",
			want: want{"OK", []string{"::1 hosts:3 ok ok", ok4}, "::1 127.0.0.1", "127.0.0.1", []string{}}},
		{name: "CRLF", hosts: "127.0.0.1 localhost\r\n::1\tlocalhost\r\n",
			want: want{"OK", []string{ok6, ok4}, "::1 127.0.0.1", "127.0.0.1", []string{}}},
		{name: "comments", hosts: "#127.0.0.9 localhost\n::1 ip6-localhost localhost # yes\n127.0.0.1 localhost# x\n192.0.2.1 notlocalhost localhost.localdomain\n",
			want: want{"OK", []string{ok6, "127.0.0.1 hosts:3 ok ok"}, "::1 127.0.0.1", "127.0.0.1", []string{}}},
		{name: "byte order mark", hosts: "\ufeff" + hostsBoth,
			want: want{"IPv6-ONLY", []string{ok6}, "::1", "::1", []string{"warn IPv6-ONLY hosts:2", "warn HOSTS-FILE hosts:1"}},
			text: "byte order mark"},
		{name: "byte order mark before spaces", hosts: "\ufeff 127.0.0.1 localhost\n::1 localhost\n",
			want: want{"IPv6-ONLY", []string{ok6}, "::1", "::1", []string{"warn IPv6-ONLY hosts:2", "warn HOSTS-FILE hosts:1"}},
			text: "byte order mark"},
		{name: "after a line over 64 KiB", hosts: "127.0.0.1 localhost\n" + long + "::1 localhost\n",
			want: want{"IPv4-ONLY", []string{ok4}, "127.0.0.1", "127.0.0.1", []string{"warn IPv4-ONLY hosts:1", "warn HOSTS-FILE hosts:3"}},
			cgo:  &want{"OK", []string{"::1 hosts:3 ok ok", ok4}, "::1 127.0.0.1", "127.0.0.1", []string{"warn HOSTS-FILE hosts:3"}},
			text: "fix: break up line 2 of /etc/hosts\n"}, // and put nothing behind it
		{name: "IPv6 after a line over 64 KiB, and DNS before files", hosts: long + "::1 localhost\n", nsswitch: "hosts: dns files\n", zone: map[string]string{"localhost": "127.0.0.1"},
			want: want{"FROM-DNS", []string{"127.0.0.1 resolver ok ok"}, "127.0.0.1", "127.0.0.1",
				[]string{fromDNS, "warn IPv4-ONLY resolver", "warn HOSTS-FILE hosts:2"}},
			text: "fix: name files first in the hosts line of /etc/nsswitch.conf; break up line 1 of /etc/hosts; put `127.0.0.1 localhost` into /etc/hosts\n"},
		{name: "a line over 64 KiB, and one family behind it", hosts: long + "::1 localhost\n", nsswitch: "hosts: files\n",
			want: want{"MISSING", []string{}, "", "", []string{"warn MISSING resolver", "warn HOSTS-FILE hosts:2"}},
			cgo:  &want{"IPv6-ONLY", []string{ok6}, "::1", "::1", []string{"warn IPv6-ONLY hosts:2", "warn HOSTS-FILE hosts:2"}},
			text: "put `127.0.0.1 localhost` into /etc/hosts\n"},
		{name: "upper case", hosts: "127.0.0.1 LOCALHOST\n::1 LocalHost\n",
			want: want{"OK", []string{ok6, ok4}, "::1 127.0.0.1", "127.0.0.1", []string{}}},
		{name: "upper case asked", lookup: "LOCALHOST", hosts: hostsBoth,
			want: want{"OK", []string{ok6, ok4}, "::1 127.0.0.1", "127.0.0.1", []string{}}},
		{name: "final dot in the file", hosts: "127.0.0.1 localhost.\n", zone: map[string]string{"localhost": "127.0.0.1 ::1"},
			want: want{"FROM-DNS", []string{"::1 resolver ok ok", "127.0.0.1 resolver ok ok"}, "::1 127.0.0.1", "127.0.0.1",
				[]string{fromDNS, "warn HOSTS-FILE hosts:1"}},
			text: "with a final dot it is another name (hosts:1)\n  fix: write it there without the dot\n"},
		{name: "final dot asked", lookup: "localhost.", hosts: hostsBoth, zone: map[string]string{"localhost": "192.0.2.66"},
			want: want{"NOT-LOOPBACK", []string{"192.0.2.66 resolver - -"}, "192.0.2.66", "",
				[]string{"error NOT-LOOPBACK resolver", fromDNS, "warn HOSTS-FILE hosts:1, hosts:2"}},
			text: "not found in lines 1, 2 of /etc/hosts: with a final dot it is another name (hosts:1, hosts:2)\n  fix: ask for it without the dot"},
		{name: "final dot in both", lookup: "localhost.", hosts: "127.0.0.1 localhost.\n::1 localhost.\n",
			want: want{"OK", []string{ok6, ok4}, "::1 127.0.0.1", "127.0.0.1", []string{}}},
		{name: "mapped", hosts: "::ffff:127.0.0.1 localhost\n::1 localhost\n",
			want: want{"OK", []string{ok6, ok4}, "::1 127.0.0.1", "127.0.0.1", []string{}}},
		{name: "zone", hosts: "::1%lo localhost\n127.0.0.1 localhost\n",
			want: want{"OK", []string{"::1%lo hosts:1 ok ok", "127.0.0.1 hosts:2 ok ok"}, "::1%lo 127.0.0.1", "127.0.0.1", []string{}},
			cgo:  &want{"IPv4-ONLY", []string{"127.0.0.1 hosts:2 ok ok"}, "127.0.0.1", "127.0.0.1", []string{"warn IPv4-ONLY hosts:2"}}},
		{name: "zone, and no IPv4", hosts: "::1%lo localhost\n",
			want: want{"IPv6-ONLY", []string{"::1%lo hosts:1 ok ok"}, "::1%lo", "::1", []string{"warn IPv6-ONLY hosts:1"}},
			cgo:  &missing, text: "127.0.0.1 localhost`"},
		{name: "DNS only, and no entry", nsswitch: "hosts: dns\n", want: missing,
			text: "fix: name files first in the hosts line of /etc/nsswitch.conf; put `127.0.0.1 localhost` and `::1 localhost` into /etc/hosts\n"},
		{name: "not an address", hosts: "127.0.0.1 localhost\n::1/128 localhost\nlocalhost 127.0.0.1\n",
			want: want{"IPv4-ONLY", []string{ok4}, "127.0.0.1", "127.0.0.1", []string{"warn IPv4-ONLY hosts:1", "warn HOSTS-FILE hosts:2", "warn HOSTS-FILE hosts:3"}},
			text: `"::1/128" is not an address`},
		{name: "a form feed, which the C library takes for a space", hosts: "127.0.0.1\flocalhost\n::1\flocalhost\n", nsswitch: "hosts: files\n",
			want: want{"MISSING", []string{}, "", "", []string{"warn MISSING resolver", "warn HOSTS-FILE hosts:1, hosts:2"}},
			cgo:  &want{"OK", []string{"::1 hosts:2 ok ok", ok4}, "::1 127.0.0.1", "127.0.0.1", []string{"warn HOSTS-FILE hosts:1, hosts:2"}},
			text: "a form feed is taken for a part of the address or the name"},
		{name: "a spelling that only musl reads", hosts: "127.1 localhost\n", zone: map[string]string{"localhost": "127.0.0.1 ::1"},
			want: want{"FROM-DNS", []string{"::1 resolver ok ok", "127.0.0.1 resolver ok ok"}, "::1 127.0.0.1", "127.0.0.1", []string{fromDNS, "warn HOSTS-FILE hosts:1"}}},
		{name: "UTF-16", hosts: utf16le("\ufeff" + hostsBoth), nsswitch: "hosts: files\n",
			want: want{"MISSING", []string{}, "", "", []string{"warn MISSING resolver", "warn HOSTS-FILE hosts:1, hosts:2"}},
			text: "the file is in UTF-16 (hosts:1, hosts:2)\n"},
		{name: "UTF-16 without the name", hosts: utf16le("# localhost"), nsswitch: "hosts: files\n",
			want: want{"MISSING", []string{}, "", "", []string{"warn MISSING resolver", "warn HOSTS-FILE /etc/hosts"}},
			text: "fix: save /etc/hosts as UTF-8 without a byte order mark; put `127.0.0.1 localhost` and `::1 localhost` into /etc/hosts, on a line of its own\n"},
		{name: "no line feed at the end", hosts: "127.0.0.1 localhost\n# the end",
			want: want{"IPv4-ONLY", []string{ok4}, "127.0.0.1", "127.0.0.1", []string{"warn IPv4-ONLY hosts:1"}},
			text: "fix: put `::1 localhost` into /etc/hosts, on a line of its own\n"},
		{name: "a link-local address on no interface", hosts: hostsBoth + "fe80::1%lo0 localhost\n",
			want: want{"OK", []string{ok6, ok4, "fe80::1%lo0 hosts:3 - -"}, "::1 fe80::1%lo0 127.0.0.1", "127.0.0.1", []string{"info NOT-LOOPBACK hosts:3"}},
			cgo:  &want{"OK", []string{ok6, ok4}, "::1 127.0.0.1", "127.0.0.1", []string{}}},
		{name: "a link-local address on lo, and no ::1", hosts: "127.0.0.1 localhost\nfe80::1%lo localhost\n",
			want: want{"IPv4-ONLY", []string{ok4, "fe80::1%lo hosts:2 - -"}, "127.0.0.1 fe80::1%lo", "127.0.0.1", []string{"warn IPv4-ONLY hosts:1, hosts:2", "info NOT-LOOPBACK hosts:2"}},
			cgo:  &want{"IPv4-ONLY", []string{ok4}, "127.0.0.1", "127.0.0.1", []string{"warn IPv4-ONLY hosts:1"}}},
		{name: "a link-local address alone", hosts: "fe80::1%lo0 localhost\n", nsswitch: "hosts: files\n",
			want: want{"MISSING", []string{"fe80::1%lo0 hosts:1 - -"}, "fe80::1%lo0", "", []string{"warn MISSING resolver", "info NOT-LOOPBACK hosts:1"}},
			cgo:  &want{"MISSING", []string{}, "", "", []string{"warn MISSING resolver"}}},
		{name: "ip6-localhost", lookup: "ip6-localhost", hosts: "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n",
			want: want{"OK", []string{ok6}, "::1", "::1", []string{}}, text: "ip6-localhost: OK  loopback, in IPv6, which this name is for\n"},
		{name: "localhost4", lookup: "localhost4.localdomain4", hosts: "127.0.0.1 localhost4 localhost4.localdomain4\n",
			want: want{"OK", []string{ok4}, "127.0.0.1", "127.0.0.1", []string{}}, text: "loopback, in IPv4, which this name is for\n"},
		{name: "localhost6 with the wrong family", lookup: "localhost6", hosts: "127.0.0.1 localhost6\n",
			want: want{"IPv4-ONLY", []string{ok4}, "127.0.0.1", "127.0.0.1", []string{"warn IPv4-ONLY hosts:1"}},
			text: "fix: put `::1 localhost6` into /etc/hosts, if it is to be loopback\n"},
		{name: "0.0.0.0", hosts: "0.0.0.0 localhost\n",
			want: want{"NOT-LOOPBACK", []string{"0.0.0.0 hosts:1 - -"}, "0.0.0.0", "::", []string{"error NOT-LOOPBACK hosts:1"}},
			text: "every interface"},
		{name: "::", hosts: ":: localhost\n",
			want: want{"NOT-LOOPBACK", []string{":: hosts:1 - -"}, ":: 0.0.0.0", "::", []string{"error NOT-LOOPBACK hosts:1"}}},
		{name: ":: twice", hosts: ":: localhost\n:: localhost\n",
			want: want{"NOT-LOOPBACK", []string{":: hosts:1 - -"}, "::", "::", []string{"error NOT-LOOPBACK hosts:1"}}},
		{name: "LAN", hosts: hostsBoth + "192.0.2.2 localhost\n",
			want: want{"NOT-LOOPBACK", []string{ok6, ok4, "192.0.2.2 hosts:3 - -"}, "::1 127.0.0.1 192.0.2.2", "127.0.0.1",
				[]string{"error NOT-LOOPBACK hosts:3"}},
			text: "fix: take localhost out of line 3 of /etc/hosts\n"},
		{name: "two of the LAN", hosts: "192.0.2.2 localhost\n192.0.2.3 localhost\n192.0.2.2 localhost\n",
			want: want{"NOT-LOOPBACK", []string{"192.0.2.2 hosts:1 - -", "192.0.2.3 hosts:2 - -"}, "192.0.2.2 192.0.2.3", "",
				[]string{"error NOT-LOOPBACK hosts:1, hosts:2"}},
			text: "fix: take localhost out of lines 1, 2, 3 of /etc/hosts; put `127.0.0.1 localhost` and `::1 localhost` into /etc/hosts\n"},
		{name: "LAN only", hosts: "192.0.2.2 localhost\n",
			want: want{"NOT-LOOPBACK", []string{"192.0.2.2 hosts:1 - -"}, "192.0.2.2", "", []string{"error NOT-LOOPBACK hosts:1"}}},
		{name: "this machine's own address", hosts: "198.51.100.7 localhost\n",
			want: want{"NOT-LOOPBACK", []string{"198.51.100.7 hosts:1 - -"}, "198.51.100.7", "198.51.100.7", []string{"error NOT-LOOPBACK hosts:1"}},
			text: "net.Listen binds 198.51.100.7, which others can reach"},
		{name: "127.0.0.2", hosts: "127.0.0.2 localhost\n::1 localhost\n",
			want: want{"OK", []string{ok6, "127.0.0.2 hosts:1 ok ok"}, "::1 127.0.0.2", "127.0.0.2", []string{}}},
		{name: "127.255.255.255", hosts: "127.255.255.255 localhost\n::1 localhost\n",
			want: want{"UNREACHABLE", []string{ok6, "127.255.255.255 hosts:1 ok ENETUNREACH"}, "::1 127.255.255.255", "127.255.255.255",
				[]string{"warn UNREACHABLE hosts:1"}},
			text: "fix: take localhost out of line 1 of /etc/hosts; put `127.0.0.1 localhost` into /etc/hosts"},
		{name: "search domain with a foreign answer", zone: map[string]string{"localhost.corp.example": "192.0.2.66"},
			want: want{"NOT-LOOPBACK", []string{"192.0.2.66 resolver - -"}, "192.0.2.66", "", []string{"error NOT-LOOPBACK resolver", fromDNS}},
			text: "fix: put `127.0.0.1 localhost` and `::1 localhost` into /etc/hosts"},
		{name: "from DNS", zone: map[string]string{"localhost": "127.0.0.1 ::1"},
			want: want{"FROM-DNS", []string{"::1 resolver ok ok", "127.0.0.1 resolver ok ok"}, "::1 127.0.0.1", "127.0.0.1", []string{fromDNS}}},
		{name: "from DNS, IPv4 only", zone: map[string]string{"localhost": "127.0.0.1"},
			want: want{"FROM-DNS", []string{"127.0.0.1 resolver ok ok"}, "127.0.0.1", "127.0.0.1", []string{fromDNS, "warn IPv4-ONLY resolver"}}},
		{name: "unknown to DNS", want: missing},
		{name: "DNS is silent", zone: map[string]string{"localhost": "", "localhost.corp.example": ""}, want: failed},
		{name: "DNS is silent about IPv6", zone: map[string]string{"localhost": "127.0.0.1", "localhost/6": ""},
			want: want{"FROM-DNS", []string{"127.0.0.1 resolver ok ok"}, "", "", []string{fromDNS, "warn LOOKUP-FAILED resolver"}}},
		{name: "DNS before files", hosts: hostsBoth, nsswitch: "hosts: dns files\n", zone: map[string]string{"localhost": "192.0.2.66"},
			want: want{"NOT-LOOPBACK", []string{"192.0.2.66 resolver - -"}, "192.0.2.66", "", []string{"error NOT-LOOPBACK resolver", fromDNS}},
			text: "name files first"},
		{name: "DNS before files, which say the same", hosts: hostsBoth, nsswitch: "hosts: dns files\n", zone: map[string]string{"localhost": "127.0.0.1 ::1"},
			want: want{"FROM-DNS", []string{"::1 resolver ok ok", "127.0.0.1 resolver ok ok"}, "::1 127.0.0.1", "127.0.0.1", []string{fromDNS}},
			text: "fix: name files first"},
		{name: "DNS before files, with one family", hosts: hostsBoth, nsswitch: "hosts: dns files\n", zone: map[string]string{"localhost": "127.0.0.1"},
			want: want{"FROM-DNS", []string{"127.0.0.1 resolver ok ok"}, "127.0.0.1", "127.0.0.1", []string{fromDNS, "warn IPv4-ONLY resolver"}},
			text: "fix: name files first"},
		{name: "DNS before files, which alone know", hosts: hostsBoth, nsswitch: "hosts: dns files # not good\n",
			want: want{"OK", []string{ok6, ok4}, "::1 127.0.0.1", "127.0.0.1", []string{}}},
		{name: "DNS before files, with an alias of nothing", hosts: hostsBoth, nsswitch: "hosts: dns files\n", zone: map[string]string{"localhost": "alias"},
			want: want{"OK", []string{ok6, ok4}, "::1 127.0.0.1", "127.0.0.1", []string{}}},
		{name: "DNS only", hosts: hostsBoth, nsswitch: "hosts: dns\n", want: missing, text: "fix: name files first"},
		{name: "files only", nsswitch: "hosts: files\n", want: missing},
		{name: "another source before files", hosts: "127.0.0.1 localhost\n", nsswitch: "hosts: nobody files dns\n",
			want: want{"IPv4-ONLY", []string{ok4}, "127.0.0.1", "127.0.0.1", []string{"warn IPv4-ONLY hosts:1"}},
			text: "fix: put `::1 localhost` into /etc/hosts\n"},
		{name: "nss-myhostname may have answered", nsswitch: "hosts: files myhostname dns\n", zone: map[string]string{"localhost": "127.0.0.1 ::1"},
			want: want{"FROM-DNS", []string{"::1 resolver ok ok", "127.0.0.1 resolver ok ok"}, "::1 127.0.0.1", "127.0.0.1", []string{fromDNS}},
			cgo: &want{"OK", []string{"::1 resolver ok ok", "127.0.0.1 resolver ok ok"}, "::1 127.0.0.1", "127.0.0.1",
				[]string{"info FROM-DNS resolver"}}},
		{name: "nss-myhostname for a name below localhost", lookup: "app.localhost", hosts: hostsBoth, nsswitch: "hosts: files myhostname dns\n", zone: map[string]string{"app.localhost": "127.0.0.1 ::1"},
			want: want{"FROM-DNS", []string{"::1 resolver ok ok", "127.0.0.1 resolver ok ok"}, "::1 127.0.0.1", "127.0.0.1", []string{fromDNS}},
			cgo: &want{"OK", []string{"::1 resolver ok ok", "127.0.0.1 resolver ok ok"}, "::1 127.0.0.1", "127.0.0.1",
				[]string{"info FROM-DNS resolver"}}},
		{name: "nss-myhostname does not answer so", nsswitch: "hosts: files myhostname dns\n", zone: map[string]string{"localhost": "192.0.2.66"},
			want: want{"NOT-LOOPBACK", []string{"192.0.2.66 resolver - -"}, "192.0.2.66", "", []string{"error NOT-LOOPBACK resolver", fromDNS}}},
		{name: "nss-myhostname after DNS", nsswitch: "hosts: files dns myhostname\n", zone: map[string]string{"localhost": "127.0.0.1 ::1"},
			want: want{"FROM-DNS", []string{"::1 resolver ok ok", "127.0.0.1 resolver ok ok"}, "::1 127.0.0.1", "127.0.0.1", []string{fromDNS}}},
		{name: "a name below localhost", lookup: "app.localhost", hosts: hostsBoth, want: missing},
		{name: "a name below localhost in hosts", lookup: "app.localhost", hosts: "127.0.0.1 app.localhost\n::1 app.localhost\n",
			want: want{"OK", []string{ok6, ok4}, "::1 127.0.0.1", "127.0.0.1", []string{}}},
		{name: "another name", lookup: "db.internal", hosts: hostsBoth, zone: map[string]string{"db.internal": "192.0.2.9"},
			want: want{"NOT-LOOPBACK", []string{"192.0.2.9 resolver - -"}, "192.0.2.9", "", []string{"error NOT-LOOPBACK resolver"}}},
		{name: "another name, loopback by DNS", lookup: "db.internal", hosts: hostsBoth, zone: map[string]string{"db.internal": "127.0.0.1 ::1"},
			want: want{"OK", []string{"::1 resolver ok ok", "127.0.0.1 resolver ok ok"}, "::1 127.0.0.1", "127.0.0.1", []string{}}},
		{name: "another name, IPv4 by DNS", lookup: "db.internal", hosts: hostsBoth, zone: map[string]string{"db.internal": "127.0.0.1"},
			want: want{"IPv4-ONLY", []string{"127.0.0.1 resolver ok ok"}, "127.0.0.1", "127.0.0.1", []string{"warn IPv4-ONLY resolver"}},
			text: "fix: put `127.0.0.1 db.internal` and `::1 db.internal` into /etc/hosts, if it is to be loopback\n"},
		{name: "another name, IPv6 by DNS", lookup: "db.internal", hosts: hostsBoth, zone: map[string]string{"db.internal": "::1"},
			want: want{"IPv6-ONLY", []string{"::1 resolver ok ok"}, "::1", "::1", []string{"warn IPv6-ONLY resolver"}},
			text: "fix: put `127.0.0.1 db.internal` and `::1 db.internal` into /etc/hosts, if it is to be loopback\n"},
		{name: "the host's name", lookup: "myhost", hosts: hostsBoth + "127.0.1.1 myhost.example myhost\n",
			want: want{"IPv4-ONLY", []string{"127.0.1.1 hosts:3 ok ok"}, "127.0.1.1", "127.0.1.1", []string{"warn IPv4-ONLY hosts:3"}}},
		{name: "IPv4 literal", lookup: "127.0.0.1", hosts: hostsBoth,
			want: want{"OK", []string{"127.0.0.1 literal ok ok"}, "127.0.0.1", "127.0.0.1", []string{}}},
		{name: "IPv6 literal", lookup: "::1",
			want: want{"OK", []string{"::1 literal ok ok"}, "::1", "::1", []string{}}},
		{name: "mapped literal", lookup: "::ffff:127.0.0.1",
			want: want{"OK", []string{"127.0.0.1 literal ok ok"}, "127.0.0.1", "127.0.0.1", []string{}}},
		{name: "foreign literal", lookup: "192.0.2.2",
			want: want{"NOT-LOOPBACK", []string{"192.0.2.2 literal - -"}, "192.0.2.2", "", []string{"error NOT-LOOPBACK literal"}},
			text: "192.0.2.2: NOT-LOOPBACK  is not loopback\n  192.0.2.2  literal  not loopback   <- Go's Dial tries this first\n" +
				"  fix: use 127.0.0.1 or ::1, if it is to be loopback\n"},
		{name: "number", lookup: "127.1", hosts: hostsBoth, want: missing, text: "127.1: ",
			cgo: &want{"OK", []string{"127.0.0.1 resolver ok ok"}, "127.0.0.1", "127.0.0.1", []string{}}},
		{name: "unspecified literal", lookup: "::",
			want: want{"NOT-LOOPBACK", []string{":: literal - -"}, ":: 0.0.0.0", "::", []string{"error NOT-LOOPBACK literal"}}},
	} {
		for _, resolver := range []string{"go", "cgo"} {
			t.Run(tt.name+"/"+resolver, func(t *testing.T) {
				if resolver == "cgo" {
					needGlibc(t)
				}
				if strings.Contains(tt.name, "own address") {
					netnstest.Run(t, "ip", "addr", "add", "198.51.100.7/32", "dev", "lo")
					defer netnstest.Run(t, "ip", "addr", "del", "198.51.100.7/32", "dev", "lo")
				}
				dns.set(tt.zone)
				writeEtc(t, "hosts", tt.hosts)
				writeEtc(t, "nsswitch.conf", cmp.Or(tt.nsswitch, nsswitch))
				writeEtc(t, "resolv.conf", resolvConf)
				want := tt.want
				if resolver == "cgo" && tt.cgo != nil {
					want = *tt.cgo
				}
				s := resolveAfresh(t, resolver, cmp.Or(tt.lookup, "localhost"))
				res := s.Resolution
				assert.Equal(t, want.verdict, res.Verdict)
				assert.Equal(t, want.answers, s.answers())
				assert.Equal(t, want.dial, strings.Join(res.Dial, " "))
				assert.Equal(t, want.listen, res.Listen)
				assert.Equal(t, want.findings, s.findings())
				if !slices.Contains(want.findings, "warn LOOKUP-FAILED resolver") {
					assert.Equal(t, res.Dial, append([]string{}, s.Dialled...), "net.Dial")
					assert.Equal(t, res.Listen, s.Listened, "net.Listen")
				}
				assert.NotContains(t, s.Text, "host.conf", "it is in order")
				assert.Contains(t, s.Text, tt.text)
				assert.True(t, strings.HasPrefix(s.Text, res.Name+": "+res.Verdict+"  "), s.Text)
				assert.Less(t, s.Took, patience)
			})
		}
	}
}

func TestResolveWithoutAFamily(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	startEtc(t, hostsBoth)
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	netnstest.Sysctl(t, "net/ipv6/conf/all/disable_ipv6", "1")
	for _, resolver := range []string{"go", "cgo"} {
		s := resolveAfresh(t, resolver, "localhost")
		assert.Equal(t, "NO-IPV6", s.Resolution.Verdict)
		assert.ElementsMatch(t, []string{"127.0.0.1 hosts:1 ok ok", "::1 hosts:2 EADDRNOTAVAIL -"}, s.answers())
		assert.Equal(t, []string{"warn NO-IPV6 hosts:2"}, s.findings())
		assert.Equal(t, s.Dialled, s.Resolution.Dial)
		assert.Equal(t, "127.0.0.1", s.Resolution.Listen)
		assert.Equal(t, "127.0.0.1", s.Listened)
		assert.Contains(t, s.Text, "disable_ipv6=0")
	}

	writeEtc(t, "hosts", "127.0.0.1 localhost\n")
	s := resolveAfresh(t, "go", "localhost")
	assert.Equal(t, "OK", s.Resolution.Verdict, "a machine without IPv6 lacks none")
	assert.Empty(t, s.findings())

	writeEtc(t, "hosts", "0.0.0.0 localhost\n")
	s = resolveAfresh(t, "go", "localhost")
	assert.Contains(t, s.Text, "fix: take localhost out of line 1 of /etc/hosts; put `127.0.0.1 localhost` into /etc/hosts\n",
		"and not what would not work")

	writeEtc(t, "hosts", "::1 localhost\n")
	s = resolveAfresh(t, "go", "localhost")
	assert.Equal(t, []string{"error NO-IPV6 hosts:1"}, s.findings(), "nothing can be used")
	assert.Empty(t, s.Resolution.Listen)
	assert.Empty(t, s.Listened)

	writeEtc(t, "hosts", hostsBoth)
	netnstest.Sysctl(t, "net/ipv6/conf/all/disable_ipv6", "0")
	netnstest.Run(t, "ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
	s = resolveAfresh(t, "go", "localhost")
	assert.Equal(t, []string{"warn NO-IPV4 hosts:1"}, s.findings())
	assert.ElementsMatch(t, []string{"127.0.0.1 hosts:1 EADDRNOTAVAIL -", "::1 hosts:2 ok ok"}, s.answers())
	assert.Empty(t, s.Resolution.Listen, "net.Listen knows no second address")
	assert.Empty(t, s.Listened)
	assert.Contains(t, s.Text, "fix: ip addr add 127.0.0.1/8 dev lo")
}

// What mends ::1 depends on what is wrong with it.
func TestResolveFixGivesIPv6Back(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	startEtc(t, hostsBoth)
	netnstest.Run(t, "ip", "link", "set", "lo", "name", "loop7")
	netnstest.Run(t, "ip", "link", "set", "loop7", "up")
	for _, breakIt := range []func(){
		func() { netnstest.Run(t, "ip", "addr", "del", "::1/128", "dev", "loop7") },
		func() { netnstest.Sysctl(t, "net/ipv6/conf/all/disable_ipv6", "1") },
		func() { netnstest.Run(t, "ip", "link", "set", "loop7", "mtu", "1000") },
	} {
		breakIt()
		res, err := loopback.Resolve(t.Context(), "localhost")
		require.NoError(t, err)
		require.Equal(t, loopback.VerdictNoIPv6, res.Verdict)
		assert.Contains(t, res.Findings[0].Fix, " # or take ::1 out of the hosts file")
		runFix(t, res.Findings[0])
		res, err = loopback.Resolve(t.Context(), "localhost")
		require.NoError(t, err)
		assert.Equal(t, loopback.VerdictOK, res.Verdict)
	}
}

// Without "multi on" in host.conf, the GNU C library reads one line of a name.
func TestResolveBlamesHostConf(t *testing.T) {
	needGlibc(t)
	if !netnstest.In(t) {
		return
	}
	startEtc(t, hostsBoth)
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	writeEtc(t, "host.conf", "")
	s := resolveAfresh(t, "cgo", "localhost")
	assert.Equal(t, []string{"warn IPv4-ONLY hosts:1"}, s.findings())
	assert.Contains(t, s.Text, "fix: put `multi on` into /etc/host.conf\n")
}

// What the hosts file has by now need not be put there.
func TestResolveAdvisesNothingThatIsThere(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	startEtc(t, "127.0.0.1 other\n")
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	r := loopback.Resolver{Net: &net.Resolver{PreferGo: true}}
	for _, fix := range []string{"put `127.0.0.1 localhost` and `::1 localhost` into /etc/hosts", ""} {
		res, err := r.Resolve(t.Context(), "localhost")
		require.NoError(t, err)
		require.Equal(t, loopback.VerdictMissing, res.Verdict, "package net reads the file every five seconds")
		assert.Equal(t, fix, res.Findings[0].Fix)
		writeEtc(t, "hosts", hostsBoth)
	}
}

// The C library reads on behind a line that stops package net.
func TestResolveSeesWhatOnlyTheCLibraryReads(t *testing.T) {
	needGlibc(t)
	if !netnstest.In(t) {
		return
	}
	startEtc(t, "127.0.0.1 x #"+strings.Repeat("y", 70<<10)+"\n192.0.2.2 localhost\n")
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	s := resolveAfresh(t, "cgo", "localhost")
	assert.Equal(t, []string{"error NOT-LOOPBACK hosts:2", "warn HOSTS-FILE hosts:2"}, s.findings())
	assert.Contains(t, s.Text, "fix: take localhost out of line 2 of /etc/hosts; break up line 1 of /etc/hosts; put `127.0.0.1 localhost` and `::1 localhost` into")
}

// The server that is named is the one that answered, not the first.
func TestResolveNamesTheServerThatAnswered(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	startEtc(t, "")
	writeEtc(t, "nsswitch.conf", nsswitch)
	writeEtc(t, "resolv.conf", "nameserver 127.0.0.54\nnameserver 127.0.0.53\n")
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	newNameServer(t, "127.0.0.53:53").set(map[string]string{"localhost": "127.0.0.1 ::1"})
	s := resolveAfresh(t, "go", "localhost")
	assert.Equal(t, "FROM-DNS", s.Resolution.Verdict)
	assert.Contains(t, s.Text, "comes from the DNS server 127.0.0.53:53, not from the hosts file")
}

func TestResolveNamesTheInterfaceThatIsDown(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	startEtc(t, hostsBoth)
	check := func(s *seen) {
		t.Helper()
		assert.Equal(t, "UNREACHABLE", s.Resolution.Verdict)
		assert.Equal(t, []string{"error UNREACHABLE hosts:1", "warn NO-IPV6 hosts:2"}, s.findings())
		assert.ElementsMatch(t, s.Dialled, s.Resolution.Dial)
		assert.Equal(t, "127.0.0.1", s.Resolution.Listen)
		assert.Equal(t, "127.0.0.1", s.Listened)
		assert.Contains(t, s.Text, "the interface lo is down")
		assert.Contains(t, s.Text, "fix: ip link set dev lo up")
		assert.Less(t, s.Took, patience)
	}
	for _, resolver := range []string{"go", "cgo"} {
		s := resolveAfresh(t, resolver, "localhost")
		check(s)
		assert.Contains(t, s.answers(), "127.0.0.1 hosts:1 ok ENETUNREACH")
	}
	r, err := loopback.Probe(t.Context(), probePort)
	require.NoError(t, err)
	assert.Equal(t, loopback.VerdictClosed, r.Verdict)
	assert.Equal(t, []string{"info CLOSED", "error UNREACHABLE"}, findings(r))
	assert.Contains(t, r.String(), "port 3000 cannot be reached")

	writeEtc(t, "hosts", "")
	assert.Contains(t, resolveAfresh(t, "go", "localhost").Text, "`127.0.0.1 localhost` and `::1 localhost`", "it had ::1 if it were up")
	writeEtc(t, "hosts", hostsBoth)

	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	netnstest.Run(t, "ip", "link", "set", "lo", "down")
	netnstest.Run(t, "ip", "link", "set", "lo", "name", "loop")
	s := resolveAfresh(t, "go", "localhost")
	assert.Equal(t, "UNREACHABLE", s.Resolution.Verdict)
	assert.Contains(t, s.Text, "fix: ip link set dev loop up")
}

func TestResolveIsBoundedWithAnyHostsFile(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	startEtc(t, "")
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	const hosts = "/etc/hosts"
	for _, tt := range []struct {
		name    string
		make    func(t *testing.T)
		verdict string
		text    string
		finding string
	}{
		{"absent", func(*testing.T) {}, "MISSING", "no such file", "warn HOSTS-FILE /etc/hosts"},
		{"a directory", func(t *testing.T) { require.NoError(t, os.Mkdir(hosts, 0o755)) }, "MISSING", "no regular file", "warn HOSTS-FILE /etc/hosts"},
		{"a pipe", func(t *testing.T) { require.NoError(t, unix.Mkfifo(hosts, 0o644)) }, "LOOKUP-FAILED", "no regular file", "warn HOSTS-FILE /etc/hosts"},
		{"a loop", func(t *testing.T) { require.NoError(t, os.Symlink(hosts, hosts)) }, "MISSING", "symbolic links", "warn HOSTS-FILE /etc/hosts"},
		{"a symbolic link", func(t *testing.T) {
			writeEtc(t, "real", hostsBoth)
			require.NoError(t, os.Symlink("real", hosts))
		}, "OK", "hosts:2", ""},
		{"a gigabyte of zeros", func(t *testing.T) {
			writeEtc(t, "hosts", hostsBoth)
			require.NoError(t, os.Truncate(hosts, 1<<30))
		}, "OK", "hosts:2", ""},
		{"a gigabyte of lines", func(t *testing.T) {
			// Sparse: the lines that matter, then a gigabyte more of which
			// each 4 KiB begin a line.
			f, err := os.Create(hosts)
			require.NoError(t, err)
			defer f.Close()
			_, err = f.WriteString(hostsBoth)
			require.NoError(t, err)
			for off := int64(4 << 10); off < 65<<20; off += 32 << 10 {
				_, err := f.WriteAt([]byte("\n"), off)
				require.NoError(t, err)
			}
			require.NoError(t, f.Truncate(1<<30))
		}, "LOOKUP-FAILED", "not asked\n  fix: make it smaller\n", "warn HOSTS-FILE /etc/hosts"},
		{"a thousand lines of the name", func(t *testing.T) {
			writeEtc(t, "hosts", strings.Repeat("127.0.0.1 localhost\n", 1000)+"::1 localhost\n")
		}, "OK", "::1        hosts:1001", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.NoError(t, os.RemoveAll(hosts))
			tt.make(t)
			s := resolveAfresh(t, "go", "localhost")
			assert.Equal(t, tt.verdict, s.Resolution.Verdict)
			assert.Contains(t, s.Text, tt.text)
			if tt.finding != "" {
				assert.Contains(t, s.findings(), tt.finding)
			} else {
				assert.Empty(t, s.findings())
			}
			assert.Less(t, s.Took, patience)
			assert.Less(t, s.MaxRSS, int64(128<<10))
		})
	}
}

// A hosts file that only others may read: root reads it all the same, so this
// is a user who has no right.
func TestResolveSaysThatItMayNotRead(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	startEtc(t, hostsBoth)
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	require.NoError(t, os.Chmod("/etc/hosts", 0))
	// Without CAP_DAC_OVERRIDE, root is like any other user: a child of this
	// thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, capability := range []uintptr{unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH} {
		require.NoError(t, unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0))
	}
	s := resolveAfresh(t, "go", "localhost")
	assert.Equal(t, []string{"warn MISSING resolver", "warn HOSTS-FILE /etc/hosts"}, s.findings())
	assert.Contains(t, s.Text, "permission denied")
}

// The client of a program that dials through LookupNetIP reaches a name that
// no resolver of this machine knows.
func TestLookupNetIPServesAnHTTPClient(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	startEtc(t, "")
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) })}
	go srv.Serve(ln)
	defer srv.Close()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	require.NoError(t, err)
	url := "http://app.localhost:" + port + "/"

	_, err = http.Get(url)
	require.Error(t, err, "the resolver has never heard of it")

	var d net.Dialer
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		addrs, err := loopback.LookupNetIP(ctx, "ip", host)
		if err != nil {
			return nil, err
		}
		var conn net.Conn
		for _, addr := range addrs {
			if conn, err = d.DialContext(ctx, network, net.JoinHostPort(addr.String(), port)); err == nil {
				break
			}
		}
		return conn, err
	}}}
	defer client.CloseIdleConnections()
	resp, err := client.Get(url)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Equal(t, "app.localhost:"+port, string(body))
}

// A connection that hangs until the context ends is no sign that all is well.
func TestResolveEndsWithContextWhileConnecting(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	startEtc(t, hostsBoth)
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	netnstest.NeedNFT(t)
	netnstest.Run(t, "nft", "add table inet t; add chain inet t in { type filter hook input priority 0; }; add rule inet t in iif lo drop")
	ctx, cancel := context.WithCancel(t.Context())
	var canceling sync.WaitGroup
	canceling.Go(func() { // once it connects
		defer cancel()
		for synSent, start := []byte(" 02 "), time.Now(); time.Since(start) < patience; time.Sleep(time.Millisecond) {
			if table, err := os.ReadFile("/proc/net/tcp"); !assert.NoError(t, err) || bytes.Contains(table, synSent) {
				return
			}
		}
	})
	res, err := loopback.Resolve(ctx, "localhost")
	canceling.Wait()
	require.NoError(t, err)
	assert.Equal(t, loopback.VerdictUnreachable, res.Verdict)
	for _, a := range res.Answers {
		assert.True(t, a.Bind.OK())
		assert.ErrorIs(t, a.Connect.Err, context.Canceled)
		assert.Equal(t, "no answer", a.Connect.String())
	}
}

// A report that had no time to connect knows which families the machine has: the
// name lacks one.
func TestResolveInAHurryKnowsTheMachine(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	startEtc(t, "127.0.0.1 localhost\n")
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	settle(t)
	for after := time.Duration(0); after < 4*time.Millisecond; after += 10 * time.Microsecond {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		res, err := loopback.Resolve(ctx, "localhost")
		cancel()
		if err == nil {
			assert.NotEqual(t, loopback.VerdictOK, res.Verdict, "%v: %v", after, res)
		}
	}
}

// What a machine without a free port lacks is no address: to take one out of the
// hosts file would mend nothing.
func TestResolveWithoutFreePorts(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	startEtc(t, hostsBoth)
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	fillPorts(t, "tcp")
	res, err := loopback.Resolve(t.Context(), "localhost")
	require.NoError(t, err)
	require.NotEmpty(t, res.Findings)
	for _, f := range res.Findings {
		assert.Contains(t, f.Message, "address already in use")
		assert.Contains(t, f.Fix, "net.ipv4.ip_local_port_range")
	}
}

// What is asked of a server that is silent ends with the context.
func TestResolveEndsWithContext(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	startEtc(t, "")
	writeEtc(t, "nsswitch.conf", nsswitch)
	writeEtc(t, "resolv.conf", "nameserver 127.0.0.53\n")
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	newNameServer(t, "127.0.0.53:53").set(map[string]string{"localhost": "", "db.internal": ""})

	for _, end := range []func(context.Context) (context.Context, context.CancelFunc){
		func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 200*time.Millisecond)
		},
		func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(200*time.Millisecond, cancel)
			return ctx, cancel
		},
	} {
		ctx, cancel := end(t.Context())
		start := time.Now()
		res, err := loopback.Resolve(ctx, "localhost")
		took := time.Since(start)
		cancel()
		require.NoError(t, err, "what ends in the middle is in the result")
		assert.Equal(t, loopback.VerdictLookupFailed, res.Verdict)
		assert.Less(t, took, 2*time.Second)

		ctx, cancel = end(t.Context())
		start = time.Now()
		_, err = loopback.LookupNetIP(ctx, "ip", "db.internal")
		took = time.Since(start)
		cancel()
		_, ok := errors.AsType[*net.DNSError](err)
		assert.True(t, ok, "%T", err)
		assert.Less(t, took, 2*time.Second)
	}
}

// A name is not said to lack an address that the machine lets a socket bind, but
// does not have.
func TestResolveMissesNoAddressThatIsOnlyBindable(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	startEtc(t, "127.0.0.1 localhost\n")
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	netnstest.Run(t, "ip", "addr", "del", "::1/128", "dev", "lo")
	netnstest.Sysctl(t, "net/ipv6/ip_nonlocal_bind", "1")
	s := resolveAfresh(t, "go", "localhost")
	assert.Equal(t, "OK", s.Resolution.Verdict)
	assert.Empty(t, s.findings())

	writeEtc(t, "hosts", hostsBoth)
	s = resolveAfresh(t, "go", "localhost")
	assert.Equal(t, []string{"warn NO-IPV6 hosts:2"}, s.findings())
	assert.Contains(t, s.answers(), "::1 hosts:2 ok EADDRNOTAVAIL")
	assert.Contains(t, s.Text, "::1 can be bound, but this machine does not have it")
	assert.Contains(t, s.Text, "fix: ip addr add ::1/128 dev lo # or take ::1 out of the hosts file, if this machine is to have no IPv6\n")

	writeEtc(t, "hosts", "")
	assert.Contains(t, resolveAfresh(t, "go", "localhost").Text, "fix: put `127.0.0.1 localhost` into /etc/hosts\n", "and not what would not work")

	netnstest.Sysctl(t, "net/ipv6/ip_nonlocal_bind", "0")
	netnstest.Run(t, "ip", "addr", "add", "::1/128", "dev", "lo", "nodad")
	settle(t)
	netnstest.Run(t, "ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
	netnstest.Sysctl(t, "net/ipv4/ip_nonlocal_bind", "1")
	writeEtc(t, "hosts", hostsBoth)
	s = resolveAfresh(t, "go", "localhost")
	assert.Equal(t, []string{"warn NO-IPV4 hosts:1"}, s.findings())
	assert.Contains(t, s.Text, "fix: ip addr add 127.0.0.1/8 dev lo # or take 127.0.0.1 out")
}

// What Dial and Listen make of zones, and who is behind one.
func TestResolveZones(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	startEtc(t, "")
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	netnstest.NewNeighbour(t).Veth(t, "wire", "192.0.2.1/24", "theirs", "192.0.2.2/24")
	netnstest.Run(t, "ip", "addr", "add", "fe80::1/64", "dev", "wire", "nodad")
	for _, tt := range []struct {
		hosts, dial, listen string
		findings            []string
	}{
		{"fe80::1%wire db.internal\n", "fe80::1%wire", "fe80::1%wire", []string{"error NOT-LOOPBACK hosts:1"}},
		{"fe80::9%2 db.internal\n", "fe80::9%2", "", []string{"error NOT-LOOPBACK hosts:1"}},
		{"fe80::9%1 db.internal\n127.0.0.1 db.internal\n::1 db.internal\n", "::1 fe80::9%1 127.0.0.1", "127.0.0.1", []string{"info NOT-LOOPBACK hosts:1"}},
		{"::%lo db.internal\n", "::%lo 0.0.0.0", "::", []string{"error NOT-LOOPBACK hosts:1"}},
	} {
		if strings.Contains(tt.hosts, "%2") {
			tt.hosts, tt.dial = strings.ReplaceAll(tt.hosts, "%2", "%"+wireIndex(t)), "fe80::9%"+wireIndex(t)
		}
		writeEtc(t, "hosts", tt.hosts)
		s := resolveAfresh(t, "go", "db.internal")
		assert.Equal(t, tt.dial, strings.Join(s.Resolution.Dial, " "), tt.hosts)
		assert.Equal(t, tt.listen, s.Resolution.Listen, tt.hosts)
		assert.Equal(t, tt.findings, s.findings(), tt.hosts)
		listened, _, _ := strings.Cut(s.Resolution.Listen, "%") // a multipath socket, as net.Listen makes it, reports no zone
		assert.Equal(t, s.Listened, listened, tt.hosts)
	}
}

func wireIndex(t *testing.T) string {
	t.Helper()
	ifi, err := net.InterfaceByName("wire")
	require.NoError(t, err)
	return strconv.Itoa(ifi.Index)
}

// A connection that nothing answers is given up after a second.
func TestResolveConnectsForASecond(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	startEtc(t, hostsBoth)
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	blockLo(t)
	start := time.Now()
	res, err := loopback.Resolve(t.Context(), "127.0.0.1")
	took := time.Since(start)
	require.NoError(t, err)
	assert.Equal(t, loopback.VerdictUnreachable, res.Verdict)
	assert.Equal(t, "let the firewall pass what goes through the loopback interface", res.Findings[0].Fix)
	assert.Greater(t, took, 500*time.Millisecond)
	assert.Less(t, took, patience)
}

// Where systemd-resolved listens, what comes from its address is its own answer.
func TestResolveKnowsTheStubOfSystemd(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	startEtc(t, "")
	writeEtc(t, "nsswitch.conf", nsswitch)
	writeEtc(t, "resolv.conf", "nameserver 127.0.0.53\n")
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	newNameServer(t, "127.0.0.53:53").set(map[string]string{"localhost": "127.0.0.1 ::1", "app.localhost": "192.0.2.66"})
	require.NoError(t, unix.Mount("run", "/run", "tmpfs", 0, ""))
	assert.Equal(t, []string{"error FROM-DNS resolver"}, resolveAfresh(t, "go", "localhost").findings())
	require.NoError(t, os.MkdirAll("/run/systemd/resolve", 0o755))
	require.NoError(t, os.WriteFile("/run/systemd/resolve/stub-resolv.conf", nil, 0o644))
	s := resolveAfresh(t, "go", "localhost")
	assert.Equal(t, "OK", s.Resolution.Verdict)
	assert.Equal(t, []string{"info FROM-DNS resolver"}, s.findings())
	assert.Contains(t, s.Text, "systemd-resolved answers for it")
	assert.Equal(t, []string{"error NOT-LOOPBACK resolver", "error FROM-DNS resolver"}, resolveAfresh(t, "go", "app.localhost").findings())
	writeEtc(t, "resolv.conf", "nameserver 127.0.0.55\n")
	newNameServer(t, "127.0.0.55:53").set(map[string]string{"localhost": "127.0.0.1 ::1"})
	assert.Equal(t, []string{"error FROM-DNS resolver"}, resolveAfresh(t, "go", "localhost").findings(), "that is another server")
}

// No nsswitch.conf is as good as one that names files first.
func TestResolveWithoutNsswitch(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	ownEtc(t)
	writeEtc(t, "host.conf", "multi on\n")
	writeEtc(t, "hosts", "127.0.0.1 localhost\n")
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	s := resolveAfresh(t, "go", "localhost")
	assert.Contains(t, s.Text, "fix: put `::1 localhost` into /etc/hosts\n")
}
