package socktab_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/loopback/internal/socktab"
)

func TestCovers(t *testing.T) {
	v4, v6 := netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()
	for _, tt := range []struct {
		name           string
		socket         socktab.Socket
		covers4, other bool
	}{
		{"exact IPv4", socktab.Socket{Local: netip.MustParseAddrPort("127.0.0.1:1")}, true, false},
		{"exact IPv6", socktab.Socket{Local: netip.MustParseAddrPort("[::1]:1")}, false, true},
		{"another address", socktab.Socket{Local: netip.MustParseAddrPort("127.0.1.1:1")}, false, false},
		{"IPv4 wildcard", socktab.Socket{Local: netip.MustParseAddrPort("0.0.0.0:1")}, true, false},
		{"both families", socktab.Socket{Local: netip.MustParseAddrPort("[::]:1")}, true, true},
		{"IPv6 wildcard", socktab.Socket{Local: netip.MustParseAddrPort("[::]:1"), Only6: true}, false, true},
	} {
		assert.Equal(t, tt.covers4, tt.socket.Covers(v4), tt.name)
		assert.Equal(t, tt.other, tt.socket.Covers(v6), tt.name)
	}
}

func TestSharesProgram(t *testing.T) {
	owner := func(ps ...socktab.Process) socktab.Owner { return socktab.Owner{Processes: ps} }
	a, b := socktab.Process{PID: 1, Image: "a"}, socktab.Process{PID: 2, Image: "b"}
	fork, unknown := socktab.Process{PID: 3, Image: "a"}, socktab.Process{PID: 4}
	for _, tt := range []struct {
		name   string
		x, y   socktab.Owner
		shares bool
	}{
		{"one process", owner(a), owner(a), true},
		{"two programs", owner(a), owner(b), false},
		{"a fork", owner(a), owner(fork), true},
		{"one of several", owner(a, b), owner(b), true},
		{"a program that cannot be seen", owner(a), owner(unknown), true},
		{"no process can be seen", owner(a), owner(), true},
	} {
		assert.Equal(t, tt.shares, tt.x.SharesProgram(tt.y), tt.name)
		assert.Equal(t, tt.shares, tt.y.SharesProgram(tt.x), tt.name)
	}
	assert.Equal(t, "nginx (12)", socktab.Process{PID: 12, Name: "nginx"}.String())
}
