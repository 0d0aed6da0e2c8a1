package loopback_test

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
	"example.com/loopback/internal/hostsfile"
	"example.com/loopback/internal/sockctl"
	"example.com/loopback/internal/socktab"
)

// TestPortReportIsJudgedByFacts needs neither servers nor a machine in any state.
func TestPortReportIsJudgedByFacts(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs errors with the texts of unix")
	}
	failed := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", err)}
	}
	var (
		refused = failed(syscall.ECONNREFUSED)
		hung    = &net.OpError{Op: "dial", Net: "tcp", Err: context.DeadlineExceeded}
		missing = failed(syscall.EADDRNOTAVAIL)
		noRoute = failed(syscall.ENETUNREACH)
		denied  = failed(syscall.EPERM)
		noName  = &net.OpError{Op: "dial", Net: "tcp", Err: sockctl.ErrNoName}
	)
	inode := uint32(0)
	// socket is owned by a user and, unless the name is empty, by a process.
	socket := func(network, addr string, uid uint32, name string) socktab.Socket {
		inode++
		s := socktab.Socket{Network: network, Local: netip.MustParseAddrPort(addr), Inode: inode, Owner: socktab.Owner{UID: uid, Named: true}}
		if name != "" {
			pid := 100 * int(name[0])
			s.Owner.Processes = []socktab.Process{{PID: pid, Name: name, Image: name}}
			if name == "node" {
				s.Owner.Processes = append(s.Owner.Processes, socktab.Process{PID: pid + 1, Name: "forked", Image: name})
			}
		}
		return s
	}
	on4, on6 := socket("tcp4", "127.0.0.1:3000", 1000, "node"), socket("tcp6", "[::1]:3000", 1000, "node")
	all6 := socket("tcp6", "[::]:3000", 1000, "")
	unnamed := on6
	unnamed.Owner.Named = false
	full4, full6, other6 := on4, on6, socket("tcp6", "[::1]:3000", 1000, "deno")
	full4.Full, full6.Full = true, true
	only6, all4 := all6, socket("tcp4", "0.0.0.0:3000", 1001, "")
	only6.Only6 = true
	away := socket("tcp4", "127.0.1.1:3000", 1000, "node")
	onEth0 := all4
	onEth0.Device = 77
	elsewhere := &hostsfile.Entry{Line: 3, Addr: netip.MustParseAddr("192.0.2.2")}
	const no = "-" // source
	type facts = loopback.PortFacts
	sockets := func(list ...socktab.Socket) []socktab.Socket { return list }

	var texts strings.Builder
	for _, tt := range []struct {
		title string
		facts facts
	}{
		{"open", facts{}},
		{"open, by one program", facts{Sockets: sockets(on4, on6)}},
		{"open, by one socket", facts{Sockets: sockets(all6)}},
		{"open, and the user is not known", facts{Sockets: sockets(on4, unnamed)}},
		{"open, and localhost is another address", facts{Source6: no, Source4: no, Elsewhere: elsewhere}},
		{"open, and MySQL by its port", facts{Port: 3306}},
		{"open, and MySQL by its name", facts{Sockets: sockets(socket("tcp4", "127.0.0.1:3000", 27, "mysqld"), socket("udp4", "127.0.0.1:3000", 27, "mariadbd"))}},
		{"open, and MariaDB", facts{Port: 3306, Sockets: sockets(socket("tcp4", "127.0.0.1:3306", 27, "mariadbd"))}},
		{"open, and MySQL by UDP", facts{Sockets: sockets(on4, on6, socket("udp4", "127.0.0.1:3000", 27, "mysqld"), socket("tcp4", "127.0.1.1:3000", 27, "mysqld-proxy"))}},
		{"open, no IPv6", facts{Connect6: missing, NoIPv6: true, Sockets: sockets(on4)}},
		{"open, no IPv4", facts{Connect4: missing, NoIPv4: true, Sockets: sockets(on6)}},
		{"open, no IPv6, and localhost has it alone", facts{Connect6: missing, NoIPv6: true, Source4: no, Sockets: sockets(on4)}},
		{"open, no IPv4, and localhost has it alone", facts{Connect4: missing, NoIPv4: true, Source6: no, Sockets: sockets(on6)}},
		{"open, no IPv4, and localhost has neither", facts{Connect4: missing, NoIPv4: true, Source6: no, Source4: no}},
		{"open on an address that is not there, and localhost has the other alone", facts{Source4: no, NoIPv6: true}},
		{"open on an address that is not there, and localhost has it not", facts{Source6: no, NoIPv6: true}},

		{"two users", facts{Sockets: sockets(on4, socket("tcp6", "[::1]:3000", 1002, ""))}},
		{"two programs", facts{Sockets: sockets(on4, other6)}},
		{"a user and another", facts{Sockets: sockets(all4, unnamed)}},
		{"two users, and localhost is another address", facts{Source6: no, Source4: no, Elsewhere: elsewhere, Sockets: sockets(all4, on6)}},
		{"the exact socket before the wildcard", facts{Sockets: sockets(all4, on4, all6, on6)}},
		{"the exact socket before the wildcard, whichever is first", facts{Sockets: sockets(on4, all4, on6, all6)}},
		{"the wildcard of the family before the other", facts{Sockets: sockets(all6, all4)}},

		{"split, IPv4 open", facts{Connect6: refused, Sockets: sockets(on4)}},
		{"split, IPv6 open", facts{Connect4: refused, Sockets: sockets(on6)}},
		{"split, IPv6 hangs", facts{Connect6: hung, Sockets: sockets(all4)}},
		{"split, IPv4 hangs", facts{Connect4: hung, Sockets: sockets(only6)}},
		{"split by a filter", facts{Connect4: hung, Sockets: sockets(all6)}},
		{"split by a filter of ::1", facts{Connect6: refused, Sockets: sockets(on4, on6)}},
		{"split by a backlog that is full", facts{Connect4: hung, Sockets: sockets(full4, on6)}},
		{"split, no way to ::1", facts{Connect6: noRoute}},
		{"split, localhost is only the open one", facts{Connect6: refused, Source6: no}},
		{"split, localhost is only the open one, ::1", facts{Connect4: refused, Source4: no}},
		{"split, localhost is only the other one", facts{Connect4: refused, Source6: no}},
		{"split, localhost is only the other one, ::1", facts{Connect6: refused, Source4: no}},
		{"split, localhost is neither", facts{Connect6: refused, Source6: no, Source4: no}},
		{"split, localhost is another address", facts{Connect6: refused, Source6: no, Source4: no, Elsewhere: elsewhere}},
		{"split, and MySQL", facts{Port: 3306, Connect6: refused}},

		{"no answer", facts{Connect6: hung, Connect4: hung}},
		{"no answer, one refuses", facts{Connect6: refused, Connect4: hung}},
		{"no answer, no IPv6", facts{Connect6: missing, NoIPv6: true, Connect4: hung}},
		{"no answer, by a filter", facts{Connect6: hung, Connect4: refused, Sockets: sockets(all6)}},
		{"no answer, by a filter of 127.0.0.1", facts{Connect6: refused, Connect4: hung, Sockets: sockets(on4, on6)}},
		{"no answer, the backlog is full", facts{Connect6: hung, Connect4: refused, Sockets: sockets(full6, full4)}},
		{"no answer, and a socket elsewhere", facts{Connect6: hung, Connect4: refused, Sockets: sockets(away)}},
		{"no answer, lo is down", facts{Connect6: hung, Connect4: hung, Down: "lo"}},
		{"open, lo is down", facts{Connect6: noRoute, Down: "lo"}},

		{"elsewhere", facts{Connect6: refused, Connect4: refused, Sockets: sockets(away)}},
		{"elsewhere, at five addresses", facts{Connect6: refused, Connect4: refused, Sockets: sockets(socket("udp4", "127.0.0.1:3000", 0, ""), away,
			socket("tcp4", "127.0.1.2:3000", 1, ""), socket("tcp4", "127.0.1.3:3000", 1, ""), socket("tcp4", "127.0.1.4:3000", 1, ""),
			socket("tcp4", "127.0.1.5:3000", 1, ""))}},
		{"elsewhere, bound to an interface", facts{Connect6: refused, Connect4: refused, Sockets: sockets(onEth0)}},
		{"elsewhere, and 127.0.0.1 cannot be reached", facts{Connect6: denied, Connect4: denied, Sockets: sockets(away)}},
		{"a socket of 127.0.0.1 that refuses, and one elsewhere", facts{Connect6: refused, Connect4: refused, Sockets: sockets(away, on4)}},
		{"a socket of ::1 that refuses, and one elsewhere", facts{Connect6: refused, Connect4: refused, Sockets: sockets(away, on6)}},

		{"closed", facts{Connect6: refused, Connect4: refused}},
		{"closed, no IPv6", facts{Connect6: missing, NoIPv6: true, Connect4: refused}},
		{"closed, no IPv4", facts{Connect6: refused, Connect4: missing, NoIPv4: true}},
		{"closed, no IPv6, and localhost has it alone", facts{Connect6: missing, NoIPv6: true, Connect4: refused, Source4: no}},
		{"closed, no IPv4, and localhost has the other alone", facts{Connect6: refused, Connect4: missing, NoIPv4: true, Source4: no}},
		{"closed, and a socket refuses", facts{Connect6: refused, Connect4: refused, Sockets: sockets(on4)}},
		{"closed, and only UDP", facts{Connect6: refused, Connect4: refused, Sockets: sockets(socket("udp4", "127.0.0.1:3000", 53, "dns"), socket("udp6", "[::]:3000", 53, ""))}},
		{"closed, and nothing can be reached", facts{Connect6: denied, Connect4: denied}},
		{"closed, and the kernel tells nothing", facts{Connect6: noName, Connect4: noName, Sockets: sockets(on4)}},
		{"closed, lo is down", facts{Connect6: noRoute, Connect4: noRoute, Down: "lo"}},
		{"closed, and MySQL by its port", facts{Port: 3306, Connect6: refused, Connect4: refused}},
		{"closed, and localhost is another address", facts{Connect6: refused, Connect4: refused, Source6: no, Source4: no, Elsewhere: elsewhere}},
	} {
		f := tt.facts
		f.Port = cmp.Or(f.Port, 3000)
		f.Source6, f.Source4 = strings.Trim(cmp.Or(f.Source6, "hosts:2"), no), strings.Trim(cmp.Or(f.Source4, "hosts:1"), no)
		r := loopback.JudgePort(f)
		texts.WriteString(whole(tt.title, r.Verdict, r.Findings, r.String()))
		requireReadBack(t, r)
	}
	requireGolden(t, "port_reports.golden", texts.String())
}

func TestProbeFindsWhatListensHere(t *testing.T) {
	skipWithoutSockets(t)
	ln := listening(t, ":0")
	r, err := loopback.Probe(t.Context(), ln.Port())
	require.NoError(t, err)
	assert.Equal(t, ln.Port(), r.Port)
	assert.Equal(t, loopback.VerdictOpen, r.Verdict)
	require.Len(t, r.Attempts, 2)
	hosts := hostsfile.Read(hostsfile.Path(), "localhost")
	for i, addr := range []netip.Addr{loopback.IPv6(), loopback.IPv4()} {
		a := r.Attempts[i]
		assert.Equal(t, netip.AddrPortFrom(addr, ln.Port()), a.Addr)
		assert.True(t, a.Connect.OK(), "%v", a.Connect)
		source := ""
		if e, ok := hosts.Find(addr, hostsfile.Libc()); ok {
			source = e.Source()
		}
		assert.Equal(t, source, a.Source)
		if runtime.GOOS == "linux" && a.UID != nil { // which an emulator may not tell
			assert.Equal(t, uint32(os.Geteuid()), *a.UID)
			assert.Len(t, r.Sockets, 2)
		}
	}
	require.NoError(t, ln.Close())
	if runtime.GOOS == "windows" {
		return // a refusal takes as long there as silence
	}
	r, err = loopback.Probe(t.Context(), ln.Port())
	require.NoError(t, err)
	assert.Equal(t, loopback.VerdictClosed, r.Verdict)
	for _, a := range r.Attempts {
		op, ok := a.Connect.Err.(*net.OpError)
		require.True(t, ok, "%T", a.Connect.Err)
		assert.Equal(t, "dial tcp "+a.Addr.String(), op.Op+" "+op.Net+" "+op.Addr.String())
		assert.ErrorIs(t, op, syscall.ECONNREFUSED)
		assert.Nil(t, a.UID)
	}
	assert.Empty(t, r.Sockets)
	if runtime.GOOS == "linux" {
		assert.NotNil(t, r.Sockets, "there are none, and that is known")
	}
}
