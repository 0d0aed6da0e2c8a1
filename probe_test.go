package loopback_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
	"example.com/loopback/internal/socktab"
)

// Of the sockets that take connections to an address the kernel chooses by the
// address, then by the family.
func TestListenerOf(t *testing.T) {
	socket := func(network, local string) socktab.Socket {
		return socktab.Socket{Network: network, Local: netip.MustParseAddrPort(local)}
	}
	exact, any4, both := socket("tcp4", "127.0.0.1:1"), socket("tcp4", "0.0.0.0:1"), socket("tcp6", "[::]:1")
	udp, exact6, elsewhere := socket("udp4", "127.0.0.1:1"), socket("tcp6", "[::1]:1"), socket("tcp4", "127.0.0.2:1")
	const none = -1
	for _, tt := range []struct {
		name    string
		sockets []socktab.Socket
		v4, v6  int
	}{
		{"none", nil, none, none},
		{"UDP and another address", []socktab.Socket{udp, elsewhere}, none, none},
		{"exact", []socktab.Socket{udp, exact}, 1, none},
		{"of both families", []socktab.Socket{both}, 0, 0},
		{"the family first", []socktab.Socket{any4, both}, 0, 1},
		{"the family last", []socktab.Socket{both, any4}, 1, 0},
		{"exact first", []socktab.Socket{exact, any4, both}, 0, 2},
		{"exact last", []socktab.Socket{both, any4, exact}, 2, 0},
		{"exact in between", []socktab.Socket{any4, exact, both, exact6}, 1, 3},
		{"two of a kind", []socktab.Socket{exact, exact, exact6, exact6}, 0, 2},
	} {
		for addr, want := range map[string]int{"127.0.0.1:1": tt.v4, "[::1]:1": tt.v6} {
			got := loopback.ListenerOf(tt.sockets, netip.MustParseAddrPort(addr))
			if want == none {
				assert.Nil(t, got, "%s: %s", tt.name, addr)
			} else {
				assert.Same(t, &tt.sockets[want], got, "%s: %s", tt.name, addr)
			}
		}
	}
}

// Where the kernel has no list of sockets, a report says nothing about other
// addresses than the two.
func TestProbeOfAPortThatAnotherAddressHas(t *testing.T) {
	skipWithoutSockets(t)
	ln, err := net.Listen("tcp4", "127.0.0.2:0")
	if err != nil {
		t.Skipf("needs 127.0.0.2: %v", err)
	}
	defer ln.Close()
	r, err := loopback.Probe(t.Context(), ln.Addr().(*net.TCPAddr).AddrPort().Port())
	require.NoError(t, err)
	require.NotEmpty(t, r.Findings)
	assert.Contains(t, r.Findings[0].Message, "nothing listens on port")
	assert.Contains(t, r.Findings[0].Message, "of 127.0.0.1 and ::1")
}

func TestPortSocketText(t *testing.T) {
	uid := uint32(7)
	s := loopback.PortSocket{Network: "tcp4", Addr: netip.MustParseAddrPort("127.0.1.1:3000")}
	assert.Equal(t, "tcp4 127.0.1.1:3000", s.String())
	s.UID = &uid
	assert.Equal(t, "tcp4 127.0.1.1:3000 of user 7", s.String())
	s.Process = "node (123)"
	assert.Equal(t, "tcp4 127.0.1.1:3000 of node (123)", s.String())
}
