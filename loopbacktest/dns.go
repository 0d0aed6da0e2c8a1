package loopbacktest

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
)

// A dnsZone answers for the names of TestForbid, in memory: RFC 1035.
type dnsZone struct {
	mu     sync.Mutex
	names  map[string]*dnsName
	forTCP map[string]string // what a dial of TCP is answered in place of an address
	tcp    bool              // the dial is of TCP
}

// A dnsName is what a name has.
type dnsName struct {
	alias        string   // a CNAME, or ""
	first, later []string // addresses
	changeAfter  int      // how many queries of each type have the first ones
	asked        map[uint16]int
}

const (
	typeA     = 1
	typeCNAME = 5
	typeAAAA  = 28
)

func (z *dnsZone) add(name string, n *dnsName) string {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.names == nil {
		z.names = make(map[string]*dnsName)
	}
	z.names[name] = n
	return name
}

// answers adds a name that has these addresses, and returns it.
func (z *dnsZone) answers(name string, addrs ...string) string {
	return z.add(name, &dnsName{first: addrs, later: addrs})
}

// alias adds a name that is another name for target.
func (z *dnsZone) alias(name, target string, addrs ...string) string {
	return z.add(name, &dnsName{alias: target, first: addrs, later: addrs})
}

// changes adds a name that has the address first, or does not exist if that is
// "", for as many queries of each type, and the address later from then on.
func (z *dnsZone) changes(name string, queries int, first, later string) string {
	n := &dnsName{later: []string{later}, changeAfter: queries}
	if first != "" {
		n.first = []string{first}
	}
	return z.add(name, n)
}

// start makes every query of a name the first again, for a dial of the network.
func (z *dnsZone) start(network string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.tcp = strings.HasPrefix(network, "tcp")
	for _, n := range z.names {
		clear(n.asked)
	}
}

// resolver returns a resolver that asks the zone alone.
func (z *dnsZone) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe() // no PacketConn, so that messages come as over TCP
		go z.serve(server)
		return client, nil
	}}
}

// serve answers queries until the client closes the connection.
func (z *dnsZone) serve(c net.Conn) {
	defer c.Close()
	for {
		var size uint16
		if binary.Read(c, binary.BigEndian, &size) != nil {
			return
		}
		query := make([]byte, size)
		if _, err := io.ReadFull(c, query); err != nil {
			return
		}
		reply := z.reply(query)
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
			return
		}
	}
}

// reply returns the response to a query: RFC 1035, section 4.1.
func (z *dnsZone) reply(query []byte) []byte {
	const headerSize, response, noSuchName = 12, 0x8180, 3
	question, name, typ := parseQuestion(query, headerSize)
	if question == nil {
		return query
	}
	flags, records := uint16(response), z.records(name, typ)
	if records == nil {
		flags |= noSuchName
	}
	b := bytes.Clone(query[:2]) // the identifier
	for _, n := range []uint16{flags, 1, uint16(len(records)), 0, 0} {
		b = binary.BigEndian.AppendUint16(b, n)
	}
	b = append(b, question...)
	for _, r := range records {
		b = append(b, r...)
	}
	return b
}

// parseQuestion returns the first question of a message, its name in lower case
// and its type; nil for a message that is not a query.
func parseQuestion(query []byte, at int) (question []byte, name string, typ uint16) {
	var labels []string
	end := at
	for end < len(query) && query[end] != 0 {
		next := end + 1 + int(query[end])
		if next >= len(query) {
			return
		}
		labels = append(labels, string(query[end+1:next]))
		end = next
	}
	if end+5 > len(query) {
		return
	}
	return query[at : end+5], strings.ToLower(strings.Join(labels, ".")), binary.BigEndian.Uint16(query[end+1:])
}

// records returns the records of a name, in the form of section 4.1.3; nil for a
// name that does not exist.
func (z *dnsZone) records(name string, typ uint16) [][]byte {
	z.mu.Lock()
	defer z.mu.Unlock()
	n := z.names[name]
	if n == nil {
		return nil
	}
	addrs := n.later
	if n.asked[typ] < n.changeAfter {
		addrs = n.first
		if n.asked == nil {
			n.asked = make(map[uint16]int)
		}
		n.asked[typ]++
		if addrs == nil {
			return nil
		}
	}
	records := [][]byte{}
	owner := []byte{0xc0, 12} // the name of the question: section 4.1.4
	if n.alias != "" {
		var target []byte
		for label := range strings.SplitSeq(n.alias, ".") {
			target = append(append(target, byte(len(label))), label...)
		}
		target = append(target, 0)
		records = append(records, record(owner, typeCNAME, target))
		owner = target
	}
	for _, text := range addrs {
		if other := z.forTCP[text]; z.tcp && other != "" {
			text = other
		}
		addr := netip.MustParseAddr(text)
		switch {
		case addr.Is4() && typ == typeA:
			records = append(records, record(owner, typeA, addr.AsSlice()))
		case addr.Is6() && typ == typeAAAA:
			records = append(records, record(owner, typeAAAA, addr.AsSlice()))
		}
	}
	return records
}

func record(owner []byte, typ uint16, data []byte) []byte {
	b := bytes.Clone(owner)
	b = binary.BigEndian.AppendUint16(b, typ)
	b = binary.BigEndian.AppendUint16(b, 1) // class IN
	b = binary.BigEndian.AppendUint32(b, 0) // not to be kept
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}
