package loopback_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
)

// A nameServer answers DNS queries. It is silent about the names that it maps to
// "", and about one family only, where the name is followed by "/4" or "/6". The
// names that it maps to "alias" are another name for one that does not exist,
// and those that it maps to "cname NAME" for NAME. "*" is every other name.
type nameServer struct {
	mu    sync.Mutex
	zone  map[string]string // "localhost.corp.example" -> "192.0.2.66 2001:db8::66"
	asked []string
}

// set replaces what the server knows and forgets what it was asked.
func (s *nameServer) set(zone map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zone, s.asked = zone, nil
}

// answer answers a query: RFC 1035, section 4.1.
func (s *nameServer) answer(q []byte) []byte {
	if len(q) < 12 {
		return nil
	}
	var labels []string
	i := 12
	for i < len(q) && q[i] != 0 {
		end := i + 1 + int(q[i])
		if end >= len(q) {
			return nil
		}
		labels = append(labels, strings.ToLower(string(q[i+1:end])))
		i = end
	}
	if i+5 > len(q) {
		return nil
	}
	name, typ := strings.Join(labels, "."), binary.BigEndian.Uint16(q[i+1:])
	question := q[12 : i+5]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, name)
	addrs, ok := s.zone[name]
	if !ok {
		addrs, ok = s.zone["*"]
	}
	fam := map[uint16]string{1: "/4", 28: "/6"}[typ]
	if _, silent := s.zone[name+fam]; silent || ok && addrs == "" {
		return nil
	}
	target, aliased := strings.CutPrefix(addrs, "cname ")
	if aliased {
		addrs = s.zone[target]
	}
	out := append([]byte{}, q[0], q[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0)
	out = append(out, question...)
	if !ok || addrs == "alias" {
		out[3] |= 3 // NXDOMAIN
		if ok {
			out[7]++
			out = append(out, 0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 0, 0, 4, 1, 'x', 0xc0, 12) // CNAME x.<name>
		}
		return out
	}
	owner := []byte{0xc0, 12} // a pointer to the name in the question
	if aliased {
		owner = nil
		for label := range strings.SplitSeq(target, ".") {
			owner = append(append(owner, byte(len(label))), label...)
		}
		owner = append(owner, 0)
		out[7]++
		out = append(out, 0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 0, 0, byte(len(owner)))
		out = append(out, owner...)
	}
	for field := range strings.FieldsSeq(addrs) {
		addr := netip.MustParseAddr(field)
		if addr.Is4() == (typ == 1) && (typ == 1 || typ == 28) {
			out[7]++
			out = append(append(out, owner...), 0, byte(typ), 0, 1, 0, 0, 0, 0, 0, byte(addr.BitLen()/8))
			out = append(out, addr.AsSlice()...)
		}
	}
	return out
}

// resolver returns a resolver that asks the server through pipes. The test is
// skipped where package net asks no server, because nsswitch.conf says so.
func (s *nameServer) resolver(t *testing.T) *net.Resolver {
	t.Helper()
	var (
		mu sync.Mutex // no dial between stop and Wait
		wg sync.WaitGroup
	)
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(func() { // package net gives a query five seconds, whatever its context, and then dials again
		mu.Lock()
		stop()
		mu.Unlock()
		wg.Wait()
	})
	r := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		client, server := net.Pipe()
		wg.Go(func() {
			defer server.Close()
			defer context.AfterFunc(ctx, func() { server.Close() })()
			for { // with a length before each message, as over TCP: RFC 1035, section 4.2.2
				var size [2]byte
				if _, err := io.ReadFull(server, size[:]); err != nil {
					return
				}
				query := make([]byte, binary.BigEndian.Uint16(size[:]))
				if _, err := io.ReadFull(server, query); err != nil {
					return
				}
				if answer := s.answer(query); answer != nil {
					server.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
				}
			}
		})
		return client, nil
	}}
	_, err := r.LookupNetIP(t.Context(), "ip", "is-asked.example.")
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.asked) == 0 {
		t.Skipf("needs a machine that asks DNS: %v", err)
	}
	s.asked = nil
	return r
}
