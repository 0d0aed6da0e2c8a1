package loopback_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
)

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
	var texts strings.Builder
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
		{"other machines get in", func(r *loopback.Report) {
			r.Wire = []loopback.WireReport{
				{Interface: "a", Up: true, Exposed: &no},
				{Interface: "b", Up: true, Exposed: &yes, From: []netip.Addr{netip.MustParseAddr("192.0.2.1")}},
				{Interface: "c", RouteLocalnet: []string{"net.ipv4.conf.c.route_localnet"}},
			}
		}, "WIRE", "WIRE error, ROUTE-LOCALNET info"},
		{"a masquerade", func(r *loopback.Report) {
			r.IPv4.TCPFrom, r.IPv4.UDPFrom = netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("192.0.2.10")
		}, "OK", ""}, // for nothing is known of a packet filter
		{"local traffic by another interface", func(r *loopback.Report) {
			r.IPv4.TCPBy = "loopback0"
		}, "OK", "DETOUR info"},
		{"and other clients with it", func(r *loopback.Report) {
			r.IPv4.UDPBy = "loopback0"
			r.Wire = []loopback.WireReport{{Interface: "loopback0", Up: true, Exposed: &yes, From: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}}
		}, "DETOUR", "DETOUR warn"},
		{"and its clients have its address", func(r *loopback.Report) {
			r.IPv6.TCPBy, r.IPv6.TCPFrom = "loopback0", netip.MustParseAddr("2001:db8::1")
		}, "DETOUR", "DETOUR warn"},
		{"and its clients have its address by UDP", func(r *loopback.Report) {
			r.IPv6.UDPBy, r.IPv6.UDPFrom = "loopback0", netip.MustParseAddr("2001:db8::1")
		}, "DETOUR", "DETOUR warn"},
		{"and its clients have a loopback address", func(r *loopback.Report) {
			r.IPv6.TCPBy, r.IPv6.TCPFrom, r.IPv6.UDPFrom = "loopback0", loopback.IPv6(), loopback.IPv6()
		}, "OK", "DETOUR info"},
		{"local traffic by another interface, in vain", func(r *loopback.Report) {
			r.IPv4.TCPBy, r.IPv4.TCP = "loopback0", failed(syscall.EINVAL)
		}, "UNREACHABLE", "UNREACHABLE warn"},
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
			texts.WriteString(whole(tt.name, r.Verdict, r.Findings, page))
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
	requireGolden(t, "reports.golden", texts.String())
}

// What a report says, whole, in the states that its parts can be in.
func TestReportIsJudgedByFacts(t *testing.T) {
	yes, no := true, false
	ok := loopback.Outcome{Tried: true}
	failed := func(err error) loopback.Outcome { return loopback.Outcome{Tried: true, Err: err} }
	addr, port := netip.MustParseAddr, netip.MustParseAddrPort
	four, six := loopback.IPv4(), loopback.IPv6()
	hung := failed(context.DeadlineExceeded)
	noFamily := func(addr netip.Addr, err error) loopback.FamilyReport {
		return loopback.FamilyReport{Addr: addr, Bind: failed(err)}
	}
	// wire is an interface whose route_localnet is on at these places.
	wire := func(name string, in bool, params ...string) loopback.WireReport {
		w := loopback.WireReport{Interface: name, Up: true, Exposed: &in}
		if in {
			w.From = parseAddrs("192.0.2.1 198.51.100.1")
		}
		for _, p := range params {
			w.RouteLocalnet = append(w.RouteLocalnet, "net.ipv4.conf."+p+".route_localnet")
		}
		return w
	}
	placed := func(iface string, prefixes ...string) (list []loopback.PlacedAddr) {
		for _, p := range prefixes {
			p := netip.MustParsePrefix(p)
			list = append(list, loopback.PlacedAddr{Interface: iface, Addr: p, Kind: loopback.KindOf(p.Addr())})
		}
		return list
	}
	of := func(v loopback.Verdict, level loopback.Level, evidence string) loopback.Finding {
		return loopback.Finding{Verdict: v, Level: level, Message: "as Resolve says", Evidence: evidence, Fix: "as Resolve says"}
	}
	type (
		report  = loopback.Report
		machine = loopback.Machine
	)
	var texts strings.Builder
	for _, tt := range []struct {
		title   string
		machine machine
		change  func(r *report)
	}{
		{"IPv6 alone", machine{}, func(r *report) { r.IPv4 = noFamily(four, syscall.EADDRNOTAVAIL) }},
		{"IPv6 alone, and no interface", machine{}, func(r *report) {
			r.Interfaces, r.IPv4 = []loopback.InterfaceReport{}, noFamily(four, syscall.EADDRNOTAVAIL)
		}},
		{"IPv4 alone, and no interface", machine{}, func(r *report) {
			r.Interfaces, r.IPv6, r.Wire = []loopback.InterfaceReport{}, noFamily(six, syscall.EAFNOSUPPORT), nil
		}},
		{"down", machine{}, func(r *report) {
			r.Interfaces[0].Up, r.Interfaces[0].Addrs = false, nil
			r.IPv4.TCP, r.IPv4.UDP = hung, hung
			r.IPv6 = noFamily(six, syscall.EADDRNOTAVAIL)
			r.Localhost.Findings = []loopback.Finding{of("UNREACHABLE", loopback.LevelError, "hosts:1"), of("NO-IPV6", loopback.LevelWarn, "hosts:2"),
				of("NO-IPV4", loopback.LevelWarn, "hosts:1"), of("IPv4-ONLY", loopback.LevelWarn, "hosts:1")}
		}},
		{"down, and of another name", machine{Loopback: "loop7"}, func(r *report) {
			r.Interfaces[0].Name, r.Interfaces[0].Up = "loop7", false
			r.Interfaces = append(r.Interfaces, loopback.InterfaceReport{Name: "lo1", Index: 9})
		}},
		{"of another name, which is taken", machine{Loopback: "loop7", LoTaken: true}, func(r *report) { r.Interfaces[0].Name = "loop7" }},
		{"the second is called lo", machine{}, func(r *report) {
			r.Interfaces[0].Name = "dummy9"
			r.Interfaces = append(r.Interfaces, loopback.InterfaceReport{Name: "lo", Index: 9, Up: true})
		}},

		{"let in", machine{}, func(r *report) {
			r.Wire = []loopback.WireReport{wire("eth0", true, "all"), wire("eth1", true, "all", "eth1"), wire("eth2", false)}
		}},
		{"let in, where nothing can be read", machine{}, func(r *report) { r.Wire = []loopback.WireReport{wire("eth0", true)} }},
		{"let in by four", machine{}, func(r *report) {
			for _, name := range []string{"eth0", "eth1", "eth2", "eth3"} {
				r.Wire = append(r.Wire, wire(name, true, name))
			}
		}},
		{"let in by five, from more than four", machine{}, func(r *report) {
			for _, name := range []string{"eth0", "eth1", "eth2", "eth3", "eth4"} {
				r.Wire = append(r.Wire, wire(name, true, name))
			}
			r.Wire[0].From = parseAddrs("192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4 192.0.2.5 192.0.2.6")
		}},
		{"route_localnet, and nothing gets in", machine{}, func(r *report) {
			r.Wire = []loopback.WireReport{wire("eth0", false, "eth0"), {Interface: "eth1", RouteLocalnet: []string{"net.ipv4.conf.eth1.route_localnet"}}, wire("eth2", false)}
		}},
		{"route_localnet on the way of local traffic", machine{}, func(r *report) {
			r.IPv4.TCPBy = "loopback0"
			r.Wire = []loopback.WireReport{wire("loopback0", false, "loopback0"), {Interface: "eth1", Exposed: &no}}
		}},
		{"two detours, and many let in", machine{}, func(r *report) {
			r.IPv4.TCPBy, r.IPv4.UDPBy, r.IPv4.TCPFrom = "loopback0", "loopback1", addr("127.0.0.9")
			r.Wire = []loopback.WireReport{wire("loopback0", true, "all"), wire("loopback1", true, "all"), wire("eth0", true, "all", "eth0"),
				wire("eth1", true, "eth1"), wire("eth2", true, "eth2"), wire("eth3", true, "eth3")}
		}},
		{"a detour, and all let in", machine{}, func(r *report) {
			r.IPv4.UDPBy, r.IPv4.UDPFrom = "loopback0", addr("192.0.2.10")
			r.Wire = []loopback.WireReport{wire("loopback0", true, "all"), wire("eth0", true, "all")}
		}},
		{"a detour, and another let in by its own parameter", machine{}, func(r *report) {
			r.IPv4.UDPBy = "loopback0"
			r.Wire = []loopback.WireReport{wire("loopback0", false, "loopback0"), wire("eth0", true, "eth0")}
		}},
		{"a detour, and four let in", machine{}, func(r *report) {
			r.IPv4.UDPBy = "loopback0"
			r.Wire = []loopback.WireReport{wire("eth0", true, "all", "eth0"), wire("eth1", true, "eth1"), wire("eth2", true, "eth2")}
		}},
		{"a detour of IPv6", machine{}, func(r *report) {
			r.IPv6.TCPBy, r.IPv6.UDPBy, r.IPv6.UDPFrom = "loopback0", "loopback0", six
			r.Wire = []loopback.WireReport{wire("loopback0", true, "loopback0")}
		}},
		{"a detour of both", machine{}, func(r *report) {
			r.IPv4.TCPBy, r.IPv6.TCPBy = "loopback0", "loopback0"
			r.Wire = []loopback.WireReport{wire("loopback0", true, "loopback0")}
		}},
		{"a detour of IPv6 in vain", machine{}, func(r *report) { r.IPv6.UDPBy, r.IPv6.UDP = "eth0", hung }},
		{"a detour of IPv4 in vain", machine{}, func(r *report) {
			r.IPv4.TCPBy, r.IPv4.UDPBy, r.IPv4.TCP, r.IPv4.UDP = "eth0", "eth1", hung, failed(syscall.EINVAL)
		}},

		{"rewritten", machine{Rewritten: []loopback.Rewriting{
			{Transport: "TCP", Has: port("127.0.0.1:1000"), Seen: port("127.0.0.1:2000")},
			{Transport: "UDP", Has: port("[::1]:1000"), Seen: port("[2001:db8::1]:1000")},
		}}, func(r *report) { r.IPv6.UDPFrom = addr("2001:db8::1") }},
		{"another port", machine{Rewritten: []loopback.Rewriting{{Transport: "TCP", Has: port("127.0.0.1:1000"), Seen: port("127.0.0.1:2000")}}}, func(*report) {}},

		{"no IPv6, and what mends it", machine{Mend: map[netip.Addr]string{six: "add it"}}, func(r *report) { r.IPv6 = noFamily(six, syscall.EADDRNOTAVAIL) }},
		{"no IPv6, for a cause", machine{Mend: map[netip.Addr]string{six: "add it"}}, func(r *report) {
			r.IPv6 = noFamily(six, syscall.EADDRNOTAVAIL)
			r.IPv6.Cause = "a cause"
		}},
		{"no IPv6, for a cause, and no UDP", machine{Mend: map[netip.Addr]string{six: "add it"}}, func(r *report) {
			r.IPv6, r.IPv4.UDP = noFamily(six, syscall.EADDRNOTAVAIL), hung
			r.IPv6.Cause = "a cause"
		}},
		{"no IPv6, for a cause, and nothing mends it", machine{}, func(r *report) {
			r.IPv6 = noFamily(six, syscall.EAFNOSUPPORT)
			r.IPv6.Cause = "a cause"
		}},
		{"no IPv6, for a cause, and the hosts file has it", machine{Mend: map[netip.Addr]string{six: "add it"}}, func(r *report) {
			r.IPv6 = noFamily(six, syscall.EADDRNOTAVAIL)
			r.IPv6.Cause = "a cause"
			r.Localhost.Findings = []loopback.Finding{of("NO-IPV6", loopback.LevelWarn, "hosts:2"), of("OK", loopback.LevelInfo, "hosts:1")}
		}},
		{"no IPv6, and a resolver has it", machine{Mend: map[netip.Addr]string{six: "add it"}}, func(r *report) {
			r.IPv6 = noFamily(six, syscall.EADDRNOTAVAIL)
			r.Localhost.Findings = []loopback.Finding{of("NO-IPV6", loopback.LevelError, "resolver")}
		}},
		{"no IPv4, and the hosts file has it", machine{Mend: map[netip.Addr]string{four: "add it"}}, func(r *report) {
			r.IPv4 = noFamily(four, syscall.EADDRNOTAVAIL)
			r.Localhost.Findings = []loopback.Finding{of("NO-IPV4", loopback.LevelInfo, "hosts:1")}
		}},
		{"no descriptors for IPv6, and the hosts file has it", machine{}, func(r *report) {
			r.IPv6 = noFamily(six, syscall.EMFILE)
			r.Localhost.Findings = []loopback.Finding{of("NO-IPV6", loopback.LevelWarn, "hosts:2")}
		}},
		{"neither", machine{}, func(r *report) {
			r.IPv4, r.IPv6 = noFamily(four, syscall.EADDRNOTAVAIL), noFamily(six, syscall.EADDRNOTAVAIL)
			for i := range r.Range {
				r.Range[i].Bind = failed(syscall.EADDRNOTAVAIL)
			}
		}},
		{"127.0.0.1 can be bound alone", machine{Absent: []netip.Addr{four}, Mend: map[netip.Addr]string{four: "add it"}}, func(r *report) {
			r.IPv4.TCP, r.IPv4.UDP = failed(syscall.EADDRNOTAVAIL), failed(syscall.EADDRNOTAVAIL)
			r.IPv4.Cause = "a cause"
		}},
		{"::1 ends up on another address", machine{}, func(r *report) { r.IPv6 = noFamily(six, fmt.Errorf("bound to 192.0.2.1: %w", loopback.ErrNotLoopback)) }},
		{"127.0.0.1 ends up on another address, and lo is down", machine{}, func(r *report) {
			r.Interfaces[0].Up = false
			r.IPv4 = noFamily(four, fmt.Errorf("bound to 192.0.2.1: %w", loopback.ErrNotLoopback))
		}},
		{"no UDP for want of memory", machine{}, func(r *report) { r.IPv6.UDP = failed(syscall.ENOBUFS) }},
		{"no TCP, and localhost says so", machine{}, func(r *report) {
			r.IPv6.TCP = failed(syscall.EPERM)
			r.Localhost.Findings = []loopback.Finding{of("UNREACHABLE", loopback.LevelError, "hosts:2")}
		}},
		{"localhost is unreachable, and all works", machine{}, func(r *report) {
			r.Localhost.Findings = []loopback.Finding{of("UNREACHABLE", loopback.LevelWarn, "hosts:3"), of("HOSTS-FILE", loopback.LevelWarn, "hosts:4")}
		}},

		{"five addresses off loopback", machine{}, func(r *report) {
			r.Misplaced = placed("eth0", "127.5.0.1/24", "127.5.1.1/24", "127.5.2.1/24", "127.5.3.1/24", "::1/128")
		}},
		{"four addresses off loopback, and others on it", machine{}, func(r *report) {
			r.Misplaced = append(placed("eth0", "127.5.0.1/24", "127.5.1.1/24", "127.5.2.1/24", "127.5.3.1/24"), placed("lo", "192.0.2.1/32", "2001:db8::1/64")...)
		}},
		{"127.0.0.1 off loopback, in vain", machine{}, func(r *report) {
			r.Interfaces[0].Addrs = placed("lo", "::1/128")
			r.Misplaced = placed("eth0", "127.0.0.1/8")
			r.IPv4.TCP = hung
		}},
		{"an address off loopback, and part of the range has no route", machine{}, func(r *report) {
			r.Misplaced = placed("eth0", "127.5.0.1/24")
			r.Range[2].Bind = failed(syscall.EADDRNOTAVAIL)
		}},
		{"an address off loopback, and the interfaces are not known", machine{}, func(r *report) {
			r.Interfaces = nil
			r.Misplaced = placed("eth0", "127.5.0.1/24")
		}},
		{"only 127.0.0.1 of the range", machine{}, func(r *report) {
			r.Interfaces[0].Addrs = placed("lo", "127.0.0.1/32")
			r.Range[1].Bind, r.Range[2].Bind = failed(syscall.EADDRNOTAVAIL), failed(syscall.EADDRNOTAVAIL)
		}},
		{"the range fails in two ways", machine{Absent: []netip.Addr{addr("127.255.255.254")}}, func(r *report) {
			r.Range[1].Connect, r.Range[2].Bind = hung, failed(syscall.EADDRNOTAVAIL)
			r.Range = append(r.Range, loopback.RangeSample{Addr: addr("127.255.255.254"), Bind: ok, Connect: hung})
		}},
		{"no descriptors to connect to the range", machine{}, func(r *report) { r.Range[1].Connect = failed(syscall.EMFILE) }},

		{"exposed", machine{}, func(r *report) {
			r.Exposed = []loopback.Socket{{Network: "tcp", Addr: port("[::]:80"), FD: 3, Exposed: true}}
		}},
		{"five exposed", machine{}, func(r *report) {
			for i := range 5 {
				r.Exposed = append(r.Exposed, loopback.Socket{Network: "udp", Addr: netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(1000+i)), FD: i, Exposed: true})
			}
		}},
		{"nothing known", machine{}, func(r *report) {
			*r = report{IPv4: r.IPv4, IPv6: r.IPv6, Absent: []loopback.Absence{{Part: "interfaces", Reason: "no list"}, {Part: "wire", Reason: "no routes"},
				{Part: "localhost", Reason: "no answer"}, {Part: "exposed", Reason: "no descriptors"}}}
		}},
		{"nothing there", machine{}, func(r *report) {
			r.Wire, r.Exposed, r.Localhost.Answers, r.Localhost.Dial = nil, []loopback.Socket{}, nil, nil
			r.Absent = []loopback.Absence{{Part: "exposed", Reason: "no descriptors"}}
		}},
		{"interfaces of all kinds", machine{}, func(r *report) {
			r.Wire = []loopback.WireReport{{Interface: "a", Up: true, Exposed: &yes}, {Interface: "b", Up: true, Exposed: &no}, {Interface: "c"},
				{Interface: "d"}, {Interface: "e"}, {Interface: "f"}, {Interface: "g"}}
			r.Interfaces[0].Addrs = placed("lo", "127.0.0.1/8", "::1/128", "127.0.0.2/32", "127.0.0.3/32", "127.0.0.4/32", "127.0.0.5/32", "127.0.0.6/32", "192.0.2.1/32")
			r.Interfaces = append(r.Interfaces, loopback.InterfaceReport{Name: "lo1", Index: 2, Up: true, MTU: 1500, Addrs: append(r.Interfaces[0].Addrs, placed("lo1", "127.0.0.7/32", "127.0.0.8/32")...)})
			r.Localhost.Dial = parseAddrs("::1 127.0.0.1 127.0.0.2 127.0.0.3 127.0.0.4 127.0.0.5")
			r.Localhost.Answers = []loopback.Answer{{Addr: six, Source: "hosts:2", Bind: failed(syscall.EADDRNOTAVAIL)},
				{Addr: four, Source: "hosts:1", Bind: ok, Connect: failed(syscall.EPERM)}, {Addr: addr("192.0.2.1"), Source: "resolver"}, {Addr: addr("127.0.0.2"), Source: "hosts:10", Bind: ok}}
		}},
	} {
		r := healthyReport()
		tt.change(r)
		misplaced, samples := slices.Clone(r.Misplaced), slices.Clone(r.Range)
		r.ConcludeOn(tt.machine)
		assert.Equal(t, misplaced, r.Misplaced, tt.title)
		assert.Equal(t, samples, r.Range, tt.title)
		texts.WriteString(whole(tt.title, r.Verdict, r.Findings, r.String()))
	}
	requireGolden(t, "reports_judged.golden", texts.String())
}

// A machine with one family says which, in one line.
func TestReportHeadline(t *testing.T) {
	none := loopback.Outcome{Tried: true, Err: syscall.EADDRNOTAVAIL}
	for want, change := range map[string]func(r *loopback.Report){
		"127.0.0.1 and ::1 work, and routing keeps other machines out": func(*loopback.Report) {},
		"127.0.0.1 and ::1 work":                                func(r *loopback.Report) { r.Wire = nil },
		"127.0.0.1 works, and routing keeps other machines out": func(r *loopback.Report) { r.IPv6.Bind = none },
		"::1 works, and routing keeps other machines out":       func(r *loopback.Report) { r.IPv4.Bind = none },
		"": func(r *loopback.Report) { r.IPv4.Bind, r.IPv6.Bind = none, none },
	} {
		r := healthyReport()
		change(r)
		r.Verdict = loopback.VerdictOK
		first, _, _ := strings.Cut(r.String(), "\n")
		assert.Equal(t, strings.TrimRight("loopback: OK  "+want, " "), first)
	}
}

// Loopback addresses elsewhere may serve while 127.0.0.1 does not work.
func TestReportKeepsWhatMayServe(t *testing.T) {
	r := healthyReport()
	r.Misplaced = []loopback.PlacedAddr{{Interface: "en0", Addr: netip.MustParsePrefix("127.9.9.9/32"), Kind: loopback.KindIPv4}}
	r.IPv4.TCP = loopback.Outcome{Tried: true, Err: context.DeadlineExceeded}
	r.Conclude()
	i := slices.IndexFunc(r.Findings, func(f loopback.Finding) bool { return f.Verdict == loopback.VerdictLoopbackOffLo })
	require.GreaterOrEqual(t, i, 0)
	assert.Equal(t, "see to 127.0.0.1 first; then take them away, unless they are there on purpose", r.Findings[i].Fix)
}

// What Diagnose concludes from its round trips. The loopback interface has no
// parameters, so that nothing is known of why an address is absent.
func TestReportIsOfItsRoundTrips(t *testing.T) {
	for _, path := range []string{"/proc/sys/net/ipv4/ip_nonlocal_bind", "/proc/sys/net/ipv6/ip_nonlocal_bind"} {
		if on, err := os.ReadFile(path); err != nil || strings.TrimSpace(string(on)) != "0" {
			t.Skipf("needs a machine where %s is 0: %q %v", path, on, err)
		}
	}
	type round = loopback.Round
	ok := round{Bind: loopback.Outcome{Tried: true}, Trip: loopback.Outcome{Tried: true}}
	failed := func(err error) loopback.Outcome { return loopback.Outcome{Tried: true, Err: err} }
	unbound := func(err error) round { return round{Bind: failed(err)} }
	hung := round{Bind: ok.Bind, Trip: failed(context.DeadlineExceeded), By: "eth0"}
	absent := round{Bind: ok.Bind, Trip: failed(syscall.EADDRNOTAVAIL), Absent: true}
	seen := func(by, has, seen string) round {
		r := ok
		r.By, r.Has, r.Seen = by, netip.MustParseAddrPort(has), netip.MustParseAddrPort(seen)
		return r
	}
	untold := seen("", "127.0.0.1:1000", "127.0.0.1:1000")
	untold.Has = netip.AddrPort{}
	var texts strings.Builder
	for _, tt := range []struct {
		title                  string
		bare                   bool // the interface has no addresses
		tcp4, udp4, tcp6, udp6 round
	}{
		{"all is well", false, ok, ok, ok, ok},
		{"all is well, and seen", false, seen("", "127.0.0.1:1000", "127.0.0.1:1000"), untold, seen("", "[::1]:1000", "[::1]:1000"), ok},
		{"by another interface", false, seen("eth0", "127.0.0.1:1000", "192.0.2.1:1000"), seen("eth1", "127.0.0.1:1000", "127.0.0.1:1000"), ok, seen("eth0", "[::1]:1000", "[::1]:2000")},
		{"127.0.0.1 has no route", false, unbound(syscall.EADDRNOTAVAIL), unbound(syscall.EADDRNOTAVAIL), ok, ok},
		{"127.0.0.1 is not there", true, unbound(syscall.EADDRNOTAVAIL), unbound(syscall.EADDRNOTAVAIL), ok, ok},
		{"127.0.0.1 is bound, not there", true, absent, absent, ok, ok},
		{"127.0.0.1 is bound, and not in table local", false, absent, absent, ok, ok},
		{"::1 has no route", false, ok, ok, unbound(syscall.EADDRNOTAVAIL), unbound(syscall.EADDRNOTAVAIL)},
		{"::1 is bound, and has no route", false, ok, ok, absent, absent},
		{"::1 is not there", true, ok, ok, unbound(syscall.EADDRNOTAVAIL), unbound(syscall.EADDRNOTAVAIL)},
		{"no family of IPv6", true, ok, ok, unbound(syscall.EAFNOSUPPORT), unbound(syscall.EAFNOSUPPORT)},
		{"another error of bind", false, unbound(syscall.EINVAL), unbound(syscall.EINVAL), ok, ok},
		{"no descriptors", false, unbound(syscall.EMFILE), unbound(syscall.ENFILE), ok, unbound(syscall.EMFILE)},
		{"UDP alone cannot be bound", false, ok, unbound(syscall.EACCES), ok, ok},
		{"nothing arrives", false, hung, hung, ok, ok},
	} {
		r := healthyReport()
		r.Interfaces[0].Name = "nosuch0"
		if tt.bare {
			r.Interfaces[0].Addrs = nil
		}
		r.IPv4, r.IPv6 = loopback.FamilyReport{Addr: loopback.IPv4()}, loopback.FamilyReport{Addr: loopback.IPv6()}
		r.ConcludeFrom(tt.tcp4, tt.udp4, tt.tcp6, tt.udp6)
		r.Findings = slices.DeleteFunc(r.Findings, func(f loopback.Finding) bool { return f.Verdict == loopback.VerdictLoRenamed })
		texts.WriteString(whole(tt.title, r.Verdict, r.Findings, r.String()))
	}
	requireGolden(t, "reports_measured.golden", texts.String())
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
	assert.Equal(t, "sysctl -w net.ipv4.conf.all.route_localnet=0 net.ipv4.conf.eth0/5.route_localnet=0 net.ipv4.conf.eth1.route_localnet=0"+
		" # unless it is there on purpose, as for a port redirected to 127.0.0.1", r.Findings[0].Fix)
}

// A process that may open no more files is not told to mend the machine.
func TestReportExhausted(t *testing.T) {
	full := loopback.Outcome{Tried: true, Err: syscall.EMFILE}
	openMore := loopback.FixProcess(full.Err)
	r := healthyReport()
	r.IPv4.TCP, r.IPv6.Bind = full, full
	r.Range[1].Bind = full
	r.Localhost.Findings = []loopback.Finding{{Verdict: loopback.VerdictNoIPv6, Evidence: "hosts:2", Fix: openMore}}
	r.Conclude()
	require.Len(t, r.Findings, 2)
	r.IPv4.TCP = loopback.Outcome{Tried: true}
	r.Conclude()
	require.Len(t, r.Findings, 2)
	for _, f := range r.Findings {
		assert.Equal(t, openMore, f.Fix, "%v", f)
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
	page := r.String()
	assert.Less(t, strings.Count(page, "\n"), 60)
	for _, part := range []string{"WIRE", "LOOPBACK-OFF-LO", "veth0 from 127.0.0.5; ", "; and 996 more", "127.0.1.5/24 on veth1, ", ", and 996 more",
		partial("127.0.3.5/24 dev veth3 # and 996 more", ""), "let in at  veth0, ", "127.0.5.5/24", "and 994 more", "localhost"} {
		assert.Contains(t, strings.Join(strings.Fields(page), " "), strings.Join(strings.Fields(part), " "))
	}
}

// The zero Report has a text, too.
func TestReportZero(t *testing.T) {
	assert.Contains(t, new(loopback.Report).String(), "not known")
	six := healthyReport()
	six.Verdict, six.IPv4 = loopback.VerdictOK, loopback.FamilyReport{}
	assert.True(t, strings.HasPrefix(six.String(), "loopback: OK  ::1 works, and routing keeps other machines out\n"), "of no judge: %v", six)
	six.IPv6 = loopback.FamilyReport{}
	assert.True(t, strings.HasPrefix(six.String(), "loopback: OK\n"), "of no judge: %v", six)
}

// The page of a machine with something to say in each part.
func TestReportPage(t *testing.T) {
	yes, no := true, false
	ok := loopback.Outcome{Tried: true}
	r := healthyReport()
	r.Interfaces[0].Addrs = append(r.Interfaces[0].Addrs, loopback.PlacedAddr{Interface: "lo", Addr: netip.MustParsePrefix("203.0.113.5/32")})
	r.Interfaces = append(r.Interfaces, loopback.InterfaceReport{Name: "lo1", Index: 7, MTU: 1500})
	r.Misplaced = r.Interfaces[0].Addrs[2:]
	r.IPv6 = loopback.FamilyReport{Addr: loopback.IPv6(), Bind: loopback.Outcome{Tried: true, Err: syscall.EADDRNOTAVAIL}, Cause: "net.ipv6.conf.lo.disable_ipv6=1"}
	r.IPv4.TCPBy, r.IPv4.TCPFrom = "loopback0", netip.MustParseAddr("169.254.73.1")
	r.Range[2] = loopback.RangeSample{Addr: r.Range[2].Addr, Bind: ok, Connect: loopback.Outcome{Tried: true, Err: context.DeadlineExceeded}}
	r.Wire = []loopback.WireReport{
		{Interface: "eth0", Up: true, Exposed: &yes, From: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("127.0.0.2")},
			RouteLocalnet: []string{"net.ipv4.conf.all.route_localnet"}},
		{Interface: "eth1", Up: true, Exposed: &no},
		{Interface: "eth2"},
	}
	r.Localhost.Listen = netip.Addr{}
	r.Localhost.Dial = []netip.Addr{loopback.IPv6(), loopback.IPv4()}
	r.ConcludeOn(loopback.Machine{Mend: map[netip.Addr]string{loopback.IPv6(): "sysctl -w net.ipv6.conf.lo.disable_ipv6=0"}})
	if runtime.GOOS != "linux" {
		t.Skip("the commands of the page are those of Linux")
	}
	assert.Equal(t, `loopback: WIRE  routing lets other machines in to 127.0.0.1, unless a packet
                filter stops them
  seen: eth0 from 192.0.2.1, 127.0.0.2
  fix:  sysctl -w net.ipv4.conf.loopback0.route_localnet=1 net.ipv4.conf.all.route_localnet=0 # unless it is there on purpose, as for a port redirected to 127.0.0.1

also found
  warn   DETOUR: what is sent to 127.0.0.1 leaves by loopback0 and comes back,
         as in the mirrored mode of WSL 2: servers that check the remote address
         refuse local clients
         seen: TCP leaves by loopback0 and arrives from 169.254.73.1; UDP stays
               on loopback
  warn   PARTIAL-127/8: part of 127.0.0.0/8 does not work
         seen: 127.1.2.3: no answer
         fix:  look for a packet filter that drops what passes the loopback interface
  info   NO-IPV6: IPv6 does not work here: ::1 cannot be bound
         seen: cannot assign requested address; net.ipv6.conf.lo.disable_ipv6=1
         fix:  sysctl -w net.ipv6.conf.lo.disable_ipv6=0 # unless this machine is to have no IPv6
  info   FOREIGN-ON-LO: the loopback interface has addresses that are not
         loopback: other machines may reach them
         seen: 203.0.113.5/32 on lo
         fix:  ip addr del 203.0.113.5/32 dev lo # unless they are there on purpose

interfaces
  lo   up, index 1, MTU 65536
       127.0.0.1/8         IPv4
       ::1/128             IPv6
       203.0.113.5/32      not loopback
  lo1  down, index 7, MTU 1500

round trips
               bind  TCP                                UDP
  127.0.0.1    ok    ok by loopback0 from 169.254.73.1  ok
  ::1          cannot assign requested address
  127.0.0.0/8  2 of 3 addresses work

packets from other machines to 127.0.0.1
  let in at    eth0
  kept out at  eth1
  down         eth2

localhost
  127.0.0.1  hosts:1  ok
  net.Dial tries    ::1, then 127.0.0.1
  net.Listen binds  nothing
`, r.String())
}

// What is read back is what was written, and writes the same.
func TestReportIsReadBack(t *testing.T) {
	full := healthyReport()
	yes := true
	full.Wire = []loopback.WireReport{{Interface: "eth0", Index: 3, Up: true, Exposed: &yes, From: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, RouteLocalnet: []string{}}}
	full.IPv4.TCPBy, full.IPv4.TCPFrom = "eth0", netip.MustParseAddr("192.0.2.10")
	full.IPv6.UDP = loopback.Outcome{Tried: true, Err: errors.New("broken")}
	full.Range[1].Connect = loopback.Outcome{Tried: true, Err: syscall.ECONNREFUSED}
	full.IPv6.Cause = "a cause"
	full.Misplaced = full.Interfaces[0].Addrs
	full.Absent = []loopback.Absence{{Part: "localhost", Reason: "a reason"}}
	full.Conclude()
	for name, r := range map[string]*loopback.Report{"full": full, "zero": {}, "here": diagnoseInTime(t)} {
		written, err := json.Marshal(r)
		require.NoError(t, err, name)
		read := new(loopback.Report)
		require.NoError(t, json.Unmarshal(written, read), name)
		again, err := json.Marshal(read)
		require.NoError(t, err, name)
		assert.Equal(t, string(written), string(again), name)
		assert.Equal(t, r.String(), read.String(), "%s: and the page is the same", name)
	}
}

// The advice about one address names it and nothing else.
func TestReportTakesOneAddressAway(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the commands are those of Linux")
	}
	for _, tt := range []struct{ iface, addr, want string }{
		{"eth0", "127.5.0.1/24", "ip addr del 127.5.0.1/24 dev eth0 # unless they are there on purpose"},
		{"lo", "203.0.113.5/32", "ip addr del 203.0.113.5/32 dev lo # unless they are there on purpose"},
		{"lo", "2001:db8::5/128", "ip addr del 2001:db8::5/128 dev lo # unless they are there on purpose"},
	} {
		p := netip.MustParsePrefix(tt.addr)
		r := healthyReport()
		r.Misplaced = []loopback.PlacedAddr{{Interface: tt.iface, Addr: p, Kind: loopback.KindOf(p.Addr())}}
		r.Conclude()
		require.Len(t, r.Findings, 1)
		assert.Equal(t, tt.want, r.Findings[0].Fix)
	}
}

// 127.0.0.1 stays when it is taken from an interface that alone has it.
func TestReportGivesLoopbackItsAddressFirst(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the commands are those of Linux")
	}
	r := healthyReport()
	r.Interfaces[0].Addrs = r.Interfaces[0].Addrs[1:]
	r.Misplaced = []loopback.PlacedAddr{{Interface: "eth0", Addr: netip.MustParsePrefix("127.0.0.1/8"), Kind: loopback.KindIPv4}}
	r.Conclude()
	require.Len(t, r.Findings, 1)
	assert.Equal(t, "ip addr add 127.0.0.1/8 dev lo; ip addr del 127.0.0.1/8 dev eth0 # unless they are there on purpose", r.Findings[0].Fix)
}

// Interfaces that local traffic takes keep what lets it in, whatever is turned off.
func TestReportKeepsWhatLocalTrafficNeeds(t *testing.T) {
	yes := true
	from := []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	of := func(iface string, params ...string) loopback.WireReport {
		w := loopback.WireReport{Interface: iface, Up: true, Exposed: &yes, From: from}
		for _, p := range params {
			w.RouteLocalnet = append(w.RouteLocalnet, "net.ipv4.conf."+p+".route_localnet")
		}
		return w
	}
	for _, tt := range []struct {
		name string
		wire []loopback.WireReport
		want string
	}{
		{"alone", []loopback.WireReport{of("loopback0", "loopback0")}, ""},
		{"another", []loopback.WireReport{of("loopback0", "loopback0"), of("eth0", "eth0")}, "sysctl -w net.ipv4.conf.eth0.route_localnet=0"},
		{"all", []loopback.WireReport{of("loopback0", "all"), of("eth0", "all")},
			"sysctl -w net.ipv4.conf.loopback0.route_localnet=1 net.ipv4.conf.all.route_localnet=0"},
		{"many", []loopback.WireReport{of("loopback0", "all"), of("eth0", "all", "eth0"), of("eth1", "all", "eth1"), of("eth2", "all", "eth2"), of("eth3", "all", "eth3")},
			"sysctl -w net.ipv4.conf.loopback0.route_localnet=1; for f in /proc/sys/net/ipv4/conf/*/route_localnet; do case $f in */loopback0/*) ;; *) echo 0 >$f ;; esac; done"},
	} {
		r := healthyReport()
		r.IPv4.TCPBy, r.IPv4.UDPBy = "loopback0", "loopback0"
		r.Wire = tt.wire
		r.Conclude()
		var fixes []string
		for _, f := range r.Findings {
			if f.Verdict == loopback.VerdictDetour {
				assert.Contains(t, f.Evidence, "loopback0 from 192.0.2.1", tt.name)
				assert.Contains(t, f.Message, "leaves by loopback0 and comes back")
				assert.Empty(t, f.Fix, tt.name)
			}
			if f.Fix != "" {
				command, _, _ := strings.Cut(f.Fix, " #")
				fixes = append(fixes, command)
			}
		}
		assert.Equal(t, tt.want, strings.Join(fixes, "|"), tt.name)
	}
}

// Other clients are told apart from the packet filter's.
func TestReportNamesARewriting(t *testing.T) {
	own := netip.MustParseAddrPort("127.0.0.1:1000")
	for seen, want := range map[string]string{
		"192.0.2.10:1000": "REWRITTEN warn: TCP from 127.0.0.1 arrives from 192.0.2.10",
		"127.0.0.9:1000":  "REWRITTEN info: TCP from 127.0.0.1 arrives from 127.0.0.9",
		"127.0.0.1:2000":  "REWRITTEN info: TCP from 127.0.0.1 arrives from 127.0.0.1",
	} {
		r := healthyReport()
		r.ConcludeOn(loopback.Machine{Rewritten: []loopback.Rewriting{{Transport: "TCP", Has: own, Seen: netip.MustParseAddrPort(seen)}}})
		require.Len(t, r.Findings, 1)
		f := r.Findings[0]
		assert.Equal(t, want, string(f.Verdict)+" "+f.Level.String()+": "+f.Evidence)
		assert.Contains(t, f.Fix, "oif != lo")
		assert.Contains(t, f.Fix, "on purpose")
	}
}

// An address that can be bound is not there, all the same.
func TestReportNamesAnAddressThatIsAbsent(t *testing.T) {
	r := healthyReport()
	r.IPv6 = loopback.FamilyReport{Addr: loopback.IPv6(), Bind: loopback.Outcome{Tried: true},
		TCP: loopback.Outcome{Tried: true, Err: syscall.EADDRNOTAVAIL}, Cause: "net.ipv6.ip_nonlocal_bind=1"}
	r.ConcludeOn(loopback.Machine{Absent: []netip.Addr{loopback.IPv6()}, Mend: map[netip.Addr]string{loopback.IPv6(): "add it"}})
	require.Len(t, r.Findings, 1)
	f := r.Findings[0]
	assert.Equal(t, loopback.VerdictNoIPv6, f.Verdict)
	assert.Contains(t, f.Message, "does not have ::1, though it can be bound")
	assert.Contains(t, f.Evidence, "net.ipv6.ip_nonlocal_bind=1")
	assert.Equal(t, "add it # unless this machine is to have no IPv6", f.Fix)
}

func TestReportDoesNotRenameToATakenName(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("lo is the name of Linux")
	}
	for taken, want := range map[bool]string{true: "give the interface that is called lo another name first", false: "ip link set dev loop7 name lo || "} {
		r := healthyReport()
		r.Interfaces[0].Name = "loop7"
		r.ConcludeOn(loopback.Machine{Loopback: "loop7", LoTaken: taken})
		require.Len(t, r.Findings, 1)
		assert.Equal(t, loopback.VerdictLoRenamed, r.Findings[0].Verdict)
		assert.True(t, strings.HasPrefix(r.Findings[0].Fix, want), r.Findings[0].Fix)
	}
}

// The advice about part of 127.0.0.0/8 depends on what is missing.
func TestReportAdviceAboutTheRange(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the commands are those of Linux")
	}
	failed := func(err error) loopback.Outcome { return loopback.Outcome{Tried: true, Err: err} }
	for _, tt := range []struct {
		name          string
		bind, connect loopback.Outcome
		absent, whole bool
		want          string
	}{
		{"not there", failed(syscall.EADDRNOTAVAIL), loopback.Outcome{}, false, false, "ip addr add 127.0.0.1/8 dev lo"},
		{"bound, not there", loopback.Outcome{Tried: true}, failed(syscall.ENETUNREACH), true, false, "ip addr add 127.0.0.1/8 dev lo"},
		{"without a route", failed(syscall.EADDRNOTAVAIL), loopback.Outcome{}, false, true, "ip route replace local 127.0.0.0/8 dev lo table local scope host"},
		{"filtered", loopback.Outcome{Tried: true}, failed(context.DeadlineExceeded), false, true, "look for a packet filter that drops what passes the loopback interface"},
		{"no descriptors", failed(syscall.EMFILE), loopback.Outcome{}, false, true, "let this process open more files: ulimit -n"},
	} {
		r := healthyReport()
		if !tt.whole {
			r.Interfaces[0].Addrs[0].Addr = netip.MustParsePrefix("127.0.0.1/32")
		}
		r.Range[2].Bind, r.Range[2].Connect = tt.bind, tt.connect
		var m loopback.Machine
		if tt.absent {
			m.Absent = []netip.Addr{r.Range[2].Addr}
		}
		r.ConcludeOn(m)
		require.Len(t, r.Findings, 1, tt.name)
		assert.Equal(t, loopback.VerdictPartialRange, r.Findings[0].Verdict)
		assert.Equal(t, tt.want, r.Findings[0].Fix, tt.name)
	}
}
