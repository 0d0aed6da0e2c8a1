package loopback

import (
	"net/netip"
	"strings"
)

// Resolution is what a name means on this machine: the result of [Resolve].
type Resolution struct {
	Name     string       `json:"name"`
	Verdict  Verdict      `json:"verdict"`
	Answers  []Answer     `json:"answers"`  // without duplicates, in the order of the resolver
	Dial     []netip.Addr `json:"dial"`     // what net.Dial would try, in this order; once, even if the resolver repeats it and so net.Dial does
	Listen   netip.Addr   `json:"listen"`   // what the listener of net.Listen("tcp", "name:0") would report; the zero Addr if that would fail
	Findings []Finding    `json:"findings"` // in the order of their verdicts, then remarks on the hosts file; none if all is well
}

// Answer is one address of a name.
type Answer struct {
	Addr    netip.Addr `json:"addr"`    // unmapped; with its zone, if the resolver names one
	Source  string     `json:"source"`  // "hosts:2" (line 2 of the hosts file), "resolver", or "literal" if the name is an address
	Bind    Outcome    `json:"bind"`    // of a listener; not tried unless Addr is loopback
	Connect Outcome    `json:"connect"` // to a listener of our own; not tried unless it could be bound
}

// String returns the report as a few lines for a person, the verdict first.
func (res *Resolution) String() string {
	headline, findings := "loopback, in every family that this machine has", res.Findings
	if isAddress(res.Name) {
		headline = "a loopback address that works here"
	}
	if res.Verdict != VerdictOK {
		headline = strings.TrimPrefix(findings[0].Message, res.Name+" ")
	}
	rows := make([][]string, 0, len(res.Answers))
	for _, a := range res.Answers {
		var notes []string
		if len(res.Dial) > 0 && res.Dial[0] == a.Addr {
			notes = append(notes, "Go's Dial tries this first")
		}
		if res.Listen == a.Addr {
			notes = append(notes, "Go's Listen binds this")
		}
		row := []string{a.Addr.String(), a.Source, a.state()}
		if len(notes) > 0 {
			row = append(row, " <- "+strings.Join(notes, "; "))
		}
		rows = append(rows, row)
	}
	return reportText(res.Name, res.Verdict, headline, rows, findings)
}

// state returns what can be done with the address, in a few words.
func (a Answer) state() string {
	switch {
	case !Is(a.Addr):
		return "not loopback"
	case a.Bind.Err != nil:
		return "bind: " + a.Bind.String()
	case a.Connect.Err != nil:
		return "connect: " + a.Connect.String()
	}
	return a.Connect.String()
}
