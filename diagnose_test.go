package loopback_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
)

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

// Whatever machine the tests run on: a report, in time, that a script can read
// and a person, too.
func TestDiagnoseHere(t *testing.T) {
	r := diagnoseInTime(t)
	t.Logf("%v", r)

	data, err := json.Marshal(r)
	require.NoError(t, err)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(data, &fields))
	assert.Equal(t, []string{"absent", "findings", "interfaces", "ipv4", "ipv6", "localhost", "misplaced", "range", "verdict", "wire"},
		slices.Sorted(maps.Keys(fields)))
	absent := make(map[string]string)
	for _, a := range r.Absent {
		absent[a.Part] = a.Reason
	}
	for name, value := range fields {
		if value == nil {
			assert.NotEmpty(t, absent[name], "%s is absent without a reason", name)
		}
	}
	_, err = net.Interfaces() // which qemu-user may have failed to emulate
	assert.Equal(t, runtime.GOOS == "linux" && err == nil, r.Wire != nil, "only Linux knows about the wire: %v", r.Absent)
}

func TestDiagnoseContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := loopback.Diagnose(ctx)
	assert.Nil(t, r)
	assert.ErrorIs(t, err, context.Canceled)
	assert.ErrorContains(t, err, "loopback: ")
}

// healthyReport is of a machine with nothing to find.
func healthyReport() *loopback.Report {
	ok := loopback.Outcome{Tried: true}
	lo := []loopback.PlacedAddr{
		{Interface: "lo", Addr: netip.MustParsePrefix("127.0.0.1/8"), Kind: loopback.KindIPv4},
		{Interface: "lo", Addr: netip.MustParsePrefix("::1/128"), Kind: loopback.KindIPv6},
	}
	return &loopback.Report{
		Interfaces: []loopback.InterfaceReport{{Name: "lo", Index: 1, Up: true, MTU: 65536, Addrs: lo}},
		Misplaced:  []loopback.PlacedAddr{},
		IPv4:       loopback.FamilyReport{Addr: loopback.IPv4(), Bind: ok, TCP: ok, UDP: ok},
		IPv6:       loopback.FamilyReport{Addr: loopback.IPv6(), Bind: ok, TCP: ok, UDP: ok},
		Range: []loopback.RangeSample{
			{Addr: loopback.IPv4(), Bind: ok, Connect: ok},
			{Addr: netip.MustParseAddr("127.0.0.2"), Bind: ok, Connect: ok},
			{Addr: netip.MustParseAddr("127.1.2.3"), Bind: ok, Connect: ok},
		},
		Wire: []loopback.WireReport{},
		Localhost: &loopback.Resolution{
			Name: "localhost", Verdict: loopback.VerdictOK,
			Answers: []loopback.Answer{{Addr: loopback.IPv4(), Source: "hosts:1", Bind: ok, Connect: ok}},
			Dial:    []netip.Addr{loopback.IPv4()},
			Listen:  loopback.IPv4(),
		},
	}
}

// What machines that the tests do not run on would be told.
func TestReportFindings(t *testing.T) {
	yes, no := true, false
	failed := func(err error) loopback.Outcome { return loopback.Outcome{Tried: true, Err: err} }
	noAddr := loopback.RangeSample{Bind: failed(syscall.EADDRNOTAVAIL)}
	for _, tt := range []struct {
		name    string
		change  func(r *loopback.Report)
		verdict loopback.Verdict
		want    string // "VERDICT level" of each
	}{
		{"healthy", func(*loopback.Report) {}, "OK", ""},
		{"nothing known but the families", func(r *loopback.Report) {
			r.Interfaces, r.Misplaced, r.Wire, r.Localhost = nil, nil, nil, nil
		}, "OK", ""},
		{"no loopback interface, but loopback", func(r *loopback.Report) {
			r.Interfaces = []loopback.InterfaceReport{}
		}, "OK", "NO-LO info"},
		{"no loopback at all", func(r *loopback.Report) {
			r.Interfaces = []loopback.InterfaceReport{}
			r.IPv4 = loopback.FamilyReport{Addr: loopback.IPv4(), Bind: failed(syscall.EADDRNOTAVAIL)}
			r.IPv6 = loopback.FamilyReport{Addr: loopback.IPv6(), Bind: failed(syscall.EAFNOSUPPORT)}
		}, "NO-LO", "NO-LO error, NO-IPV4 error, NO-IPV6 error"},
		{"one of two interfaces down", func(r *loopback.Report) {
			r.Interfaces = append(r.Interfaces, loopback.InterfaceReport{Name: "lo1", Index: 9})
		}, "OK", ""},
		{"a jail that shares its address", func(r *loopback.Report) {
			r.IPv4 = loopback.FamilyReport{Addr: loopback.IPv4(), Bind: failed(fmt.Errorf("listen: %w", loopback.ErrNotLoopback))}
		}, "NOT-LOOPBACK", "NOT-LOOPBACK error"},
		{"TCP but no UDP", func(r *loopback.Report) {
			r.IPv4.UDP = failed(context.DeadlineExceeded)
		}, "UNREACHABLE", "UNREACHABLE warn"},
		{"one family left, and it fails", func(r *loopback.Report) {
			r.IPv6 = loopback.FamilyReport{Addr: loopback.IPv6(), Bind: failed(syscall.EADDRNOTAVAIL)}
			r.IPv4.TCP = failed(context.DeadlineExceeded)
		}, "UNREACHABLE", "UNREACHABLE error, NO-IPV6 error"},
		{"the name claims IPv6", func(r *loopback.Report) {
			r.IPv6 = loopback.FamilyReport{Addr: loopback.IPv6(), Bind: failed(syscall.EADDRNOTAVAIL)}
			r.Localhost.Findings = []loopback.Finding{{Verdict: loopback.VerdictNoIPv6, Level: loopback.LevelWarn, Evidence: "hosts:2"}}
		}, "NO-IPV6", "NO-IPV6 warn"},
		{"severe findings first, whatever found them", func(r *loopback.Report) {
			r.Misplaced = []loopback.PlacedAddr{{Interface: "lo", Addr: netip.MustParsePrefix("192.0.2.1/32")}}
			r.IPv6.UDP = failed(errors.New("broken"))
			r.Localhost.Findings = []loopback.Finding{{Verdict: loopback.VerdictNotLoopback, Level: loopback.LevelError, Message: "elsewhere"}}
		}, "NOT-LOOPBACK", "NOT-LOOPBACK error, UNREACHABLE warn, FOREIGN-ON-LO info"},
		{"a loopback address elsewhere", func(r *loopback.Report) {
			r.Misplaced = []loopback.PlacedAddr{{Interface: "en0", Addr: netip.MustParsePrefix("127.9.9.9/32"), Kind: loopback.KindIPv4}}
		}, "LOOPBACK-OFF-LO", "LOOPBACK-OFF-LO warn"},
		{"the wire", func(r *loopback.Report) {
			r.Wire = []loopback.WireReport{
				{Interface: "a", Up: true, Exposed: &no},
				{Interface: "b", Up: true, Exposed: &yes, From: []netip.Addr{netip.MustParseAddr("192.0.2.1")}},
				{Interface: "c", RouteLocalnet: []string{"net.ipv4.conf.c.route_localnet"}},
			}
		}, "WIRE", "WIRE error, ROUTE-LOCALNET info"},
		{"part of the range", func(r *loopback.Report) {
			r.Range[2].Bind = noAddr.Bind
		}, partial(loopback.VerdictPartialRange, loopback.VerdictOK), "PARTIAL-127/8 " + partial("warn", "info")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := healthyReport()
			tt.change(r)
			r.Conclude()
			var got []string
			for _, f := range r.Findings {
				got = append(got, string(f.Verdict)+" "+f.Level.String())
			}
			assert.Equal(t, tt.want, strings.Join(got, ", "))
			assert.Equal(t, tt.verdict, r.Verdict)
			assert.NotNil(t, r.Findings, "none is [] in JSON, not null")
			page := r.String()
			assert.True(t, strings.HasPrefix(page, "loopback: "+string(tt.verdict)+"  "), page)
			for _, f := range r.Findings {
				assert.Contains(t, page, f.Fix+"\n", "a command to copy is in one line")
			}
			for line := range strings.Lines(page) {
				if !strings.HasPrefix(strings.TrimLeft(line, " "), "fix:") {
					assert.LessOrEqual(t, utf8.RuneCountInString(line), 81, line)
				}
				assert.Equal(t, strings.TrimRight(line, " \n")+"\n", line, "no space before the end of the line")
			}
		})
	}
}

// Where the kernel's parameters cannot be read, they can still be named.
func TestReportWireFix(t *testing.T) {
	yes := true
	r := healthyReport()
	for _, name := range []string{"eth0.5", "eth1"} {
		r.Wire = append(r.Wire, loopback.WireReport{Interface: name, Up: true, Exposed: &yes, From: []netip.Addr{netip.MustParseAddr("192.0.2.1")}})
	}
	r.Conclude()
	require.Len(t, r.Findings, 1)
	assert.Equal(t, "sysctl -w net.ipv4.conf.all.route_localnet=0 net.ipv4.conf.eth0/5.route_localnet=0 net.ipv4.conf.eth1.route_localnet=0",
		r.Findings[0].Fix)
}

// A process that may open no more files is not told to mend the machine.
func TestReportExhausted(t *testing.T) {
	full := loopback.Outcome{Tried: true, Err: syscall.EMFILE}
	r := healthyReport()
	r.IPv4.TCP, r.IPv6.Bind = full, full
	r.Range[1].Bind = full
	r.Localhost.Findings = []loopback.Finding{{Verdict: loopback.VerdictNoIPv6, Evidence: "hosts:2", Fix: "let this process open more files: ulimit -n"}}
	r.Conclude()
	require.Len(t, r.Findings, 2)
	r.IPv4.TCP = loopback.Outcome{Tried: true}
	r.Conclude()
	require.Len(t, r.Findings, 2)
	for _, f := range r.Findings {
		assert.Equal(t, "let this process open more files: ulimit -n", f.Fix, "%v", f)
	}
}

// partial returns what holds on Linux, where all of 127.0.0.0/8 is expected to
// work, or what holds elsewhere.
func partial[T any](linux, elsewhere T) T {
	if runtime.GOOS == "linux" {
		return linux
	}
	return elsewhere
}

// A page stays a page, however much there is to say.
func TestReportLength(t *testing.T) {
	yes := true
	r := healthyReport()
	for i := range 1000 {
		name := fmt.Sprintf("veth%d", i)
		p := netip.PrefixFrom(loopback.AddrAt(uint32(i)<<8+5), 24)
		r.Interfaces[0].Addrs = append(r.Interfaces[0].Addrs, loopback.PlacedAddr{Interface: "lo", Addr: p, Kind: loopback.KindIPv4})
		r.Misplaced = append(r.Misplaced, loopback.PlacedAddr{Interface: name, Addr: p, Kind: loopback.KindIPv4})
		r.Wire = append(r.Wire, loopback.WireReport{Interface: name, Up: true, Exposed: &yes, From: []netip.Addr{p.Addr()},
			RouteLocalnet: []string{"net.ipv4.conf." + name + ".route_localnet"}})
	}
	r.Conclude()
	assert.Less(t, strings.Count(r.String(), "\n"), 60)
}

// The zero Report has a text, too.
func TestReportZero(t *testing.T) {
	assert.Contains(t, new(loopback.Report).String(), "not known")
}
