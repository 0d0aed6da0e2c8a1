package loopback

import (
	"fmt"
	"net/netip"
	"strings"

	"example.com/loopback/internal/page"
)

// String returns the report as a page for a person: the verdict, the findings,
// and the facts that they rest on.
func (r *Report) String() string {
	var b strings.Builder
	details := func(f Finding, indent string) {
		if f.Evidence != "" {
			b.WriteString(page.Hang(indent+"seen: ", f.Evidence))
		}
		if f.Fix != "" {
			b.WriteString(indent + "fix:  " + f.Fix + "\n") // in one line: it may be a command to copy
		}
	}
	b.WriteString(page.Hang(fmt.Sprintf("loopback: %s  ", r.Verdict), r.headline()))
	rest := r.Findings
	if r.Verdict != VerdictOK && len(rest) > 0 { // the first line is about this one
		details(rest[0], "  ")
		rest = rest[1:]
	}
	for i, f := range rest {
		if i == 0 {
			b.WriteString("\nalso found\n")
		}
		b.WriteString(page.Hang(fmt.Sprintf("  %-5v  ", f.Level), string(f.Verdict)+": "+f.Message))
		details(f, "         ")
	}

	section := func(heading, part string, known bool, rows [][]string) {
		b.WriteString("\n" + heading + "\n")
		switch {
		case !known:
			b.WriteString(page.Hang("  not known: ", r.reason(part)))
		case len(rows) == 0:
			b.WriteString("  none\n")
		default:
			b.WriteString(page.Columns(rows))
		}
	}
	section("interfaces", "interfaces", r.Interfaces != nil, r.interfaceRows())
	section("round trips", "", true, r.tripRows())
	section("packets from other machines to 127.0.0.1", "wire", r.Wire != nil, r.wireRows())
	section("localhost", "localhost", r.Localhost != nil, r.localhostRows())
	if l := r.Localhost; l != nil {
		dial, listen := "nothing", "nothing"
		if len(l.Dial) > 0 {
			dial = page.List(l.Dial, ", then ", netip.Addr.String)
		}
		if l.Listen.IsValid() {
			listen = l.Listen.String()
		}
		b.WriteString(page.Hang("  net.Dial tries    ", dial))
		b.WriteString(page.Hang("  net.Listen binds  ", listen))
	}
	if len(r.Exposed) > 0 || r.reason("exposed") != "" {
		var rows [][]string
		for _, s := range r.Exposed {
			rows = append(rows, []string{s.String()})
		}
		section("sockets of this process that other machines may reach", "exposed", r.Exposed != nil, rows)
	}
	return b.String()
}

func (r *Report) localhostRows() (rows [][]string) {
	if r.Localhost == nil {
		return nil
	}
	for _, a := range r.Localhost.Answers {
		rows = append(rows, []string{a.Addr.String(), a.Source, a.state()})
	}
	return rows
}

// headline returns the sentence of the first line.
func (r *Report) headline() string {
	switch {
	case r.Verdict != VerdictOK && len(r.Findings) > 0:
		return r.Findings[0].Message
	case r.Verdict != VerdictOK: // not from Diagnose, whole
		return ""
	}
	s := "127.0.0.1 and ::1 work"
	switch {
	case !r.IPv4.works() && !r.IPv6.works():
		s = ""
	case !r.IPv6.works():
		s = "127.0.0.1 works"
	case !r.IPv4.works():
		s = "::1 works"
	}
	if s != "" && r.Wire != nil {
		s += ", and routing keeps other machines out"
	}
	return s
}

// reason returns why a part of the report is absent.
func (r *Report) reason(part string) string {
	for _, a := range r.Absent {
		if a.Part == part {
			return a.Reason
		}
	}
	return ""
}

// maxAddrs is how many addresses of an interface the page shows.
const maxAddrs = 8

func (r *Report) interfaceRows() (rows [][]string) {
	for _, i := range r.Interfaces {
		state := "down"
		if i.Up {
			state = "up"
		}
		rows = append(rows, []string{i.Name, fmt.Sprintf("%s, index %d, MTU %d", state, i.Index, i.MTU)})
		for n, a := range i.Addrs {
			if n == maxAddrs {
				rows = append(rows, []string{"", fmt.Sprintf("and %d more", len(i.Addrs)-n)})
				break
			}
			kind := a.Kind.String()
			if !a.Kind.IsLoopback() {
				kind = "not loopback"
			}
			rows = append(rows, []string{"", fmt.Sprintf("%-18v  %s", a.Addr, kind)})
		}
	}
	return rows
}

func (r *Report) tripRows() [][]string {
	rows := [][]string{{"", "bind", "TCP", "UDP"}}
	for _, f := range []FamilyReport{r.IPv4, r.IPv6} {
		row := []string{f.Addr.String(), f.Bind.String()}
		if f.Bind.OK() {
			row = append(row, f.trip(f.TCP, f.TCPBy, f.TCPFrom), f.trip(f.UDP, f.UDPBy, f.UDPFrom))
		}
		rows = append(rows, row)
	}
	n := 0
	for _, s := range r.Range {
		if s.works() {
			n++
		}
	}
	return append(rows, []string{"127.0.0.0/8", fmt.Sprintf("%d of %d addresses work", n, len(r.Range))})
}

// trip says how a round trip ended, which way it took, and from where it seemed
// to come.
func (f FamilyReport) trip(o Outcome, by string, from netip.Addr) string {
	s := o.String()
	if by != "" {
		s += " by " + by
	}
	if from.IsValid() {
		s += " from " + from.String()
	}
	return s
}

func (r *Report) wireRows() (rows [][]string) {
	var in, out, down []WireReport
	for _, w := range r.Wire {
		switch {
		case w.Exposed == nil:
			down = append(down, w)
		case *w.Exposed:
			in = append(in, w)
		default:
			out = append(out, w)
		}
	}
	for _, row := range []struct {
		what string
		ws   []WireReport
	}{{"let in at", in}, {"kept out at", out}, {"down", down}} {
		if len(row.ws) > 0 {
			rows = append(rows, []string{row.what, page.List(row.ws, ", ", func(w WireReport) string { return w.Interface })})
		}
	}
	return rows
}
