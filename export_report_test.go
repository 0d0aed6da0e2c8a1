package loopback

import "net/netip"

// Conclude derives the findings of a report that a test made up, on a machine
// whose loopback interface is called lo.
func (r *Report) Conclude() { r.ConcludeOn(Machine{}) }

// Machine is what a report is judged by, beside what it says.
type Machine struct {
	Loopback  string // lo, if it is empty
	LoTaken   bool
	Absent    []netip.Addr
	Mend      map[netip.Addr]string
	Rewritten []Rewriting
}

// Rewriting is of a round trip whose client has one address and is seen at
// another.
type Rewriting struct {
	Transport string
	Has, Seen netip.AddrPort
}

// ConcludeOn derives the findings of a report that a test made up.
func (r *Report) ConcludeOn(given Machine) {
	m := machine{loopback: "lo", loTaken: given.LoTaken, absent: make(map[netip.Addr]bool), mend: given.Mend}
	if given.Loopback != "" {
		m.loopback = given.Loopback
	}
	for _, addr := range given.Absent {
		m.absent[addr] = true
	}
	for _, w := range given.Rewritten {
		m.rewritten = append(m.rewritten, rewriting{transport: w.Transport, has: w.Has, seen: w.Seen})
	}
	r.judge(m)
}
