package loopback_test

import (
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
)

// audited returns the sockets of this process that have the port, in every
// network, without their descriptors.
func audited(t *testing.T, port uint16) []loopback.Socket {
	t.Helper()
	all, err := loopback.Sockets()
	require.NoError(t, err)
	exposed, err := loopback.Exposed()
	require.NoError(t, err)
	all = slices.DeleteFunc(all, func(s loopback.Socket) bool { return s.Addr.Port() != port })
	for i, s := range all {
		assert.Equal(t, s.Exposed, slices.Contains(exposed, s), "%v", s)
		assert.Equal(t, runtime.GOOS == "windows", s.FD == -1, "%v", s)
		all[i].FD = 0
	}
	return all
}

func TestSocketsOfPackageNet(t *testing.T) {
	for _, tt := range []struct {
		network, address string
		exposed          bool
	}{
		{"tcp", "127.0.0.1:0", false},
		{"tcp", "[::1]:0", false},
		{"tcp4", "0.0.0.0:0", true},
		{"tcp", "[::]:0", true},
		{"udp", "127.0.0.1:0", false},
		{"udp", "[::1]:0", false},
		{"udp4", "0.0.0.0:0", true},
		{"udp", "[::]:0", true},
	} {
		t.Run(tt.network+" "+tt.address, func(t *testing.T) {
			var bound netip.AddrPort
			var closeSocket func() error
			if tt.network[0] == 't' {
				ln, err := net.Listen(tt.network, tt.address)
				if err != nil {
					t.Skipf("needs the family: %v", err)
				}
				bound, closeSocket = ln.Addr().(*net.TCPAddr).AddrPort(), ln.Close
			} else {
				pc, err := net.ListenPacket(tt.network, tt.address)
				if err != nil {
					t.Skipf("needs the family: %v", err)
				}
				bound, closeSocket = pc.LocalAddr().(*net.UDPAddr).AddrPort(), pc.Close
			}
			bound = netip.AddrPortFrom(bound.Addr().Unmap(), bound.Port())
			got := audited(t, bound.Port())
			assert.Contains(t, got, loopback.Socket{Network: tt.network[:3], Addr: bound, Exposed: tt.exposed})
			require.NoError(t, closeSocket())
			assert.NotContains(t, audited(t, bound.Port()), got[0])
		})
	}
}

func TestSocketsAreThoseOfListen(t *testing.T) {
	ln, err := loopback.Listen("tcp", ":0")
	require.NoError(t, err)
	defer ln.Close()
	pc, err := loopback.ListenPacket("udp", ":0")
	require.NoError(t, err)
	defer pc.Close()
	for _, ap := range ln.AddrPorts() {
		assert.Contains(t, audited(t, ap.Port()), loopback.Socket{Network: "tcp", Addr: ap})
	}
	for _, ap := range pc.AddrPorts() {
		assert.Contains(t, audited(t, ap.Port()), loopback.Socket{Network: "udp", Addr: ap})
	}
}

func TestSocketsLeaveOutConnections(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	defer client.Close()
	server, err := ln.Accept()
	require.NoError(t, err)
	defer server.Close()
	require.NoError(t, ln.Close())
	assert.Empty(t, audited(t, client.LocalAddr().(*net.TCPAddr).AddrPort().Port()))
	assert.Empty(t, audited(t, client.RemoteAddr().(*net.TCPAddr).AddrPort().Port()))
	if runtime.GOOS == "windows" {
		t.Skip("Windows lists connected UDP sockets, too")
	}
	udp, err := net.Dial("udp", "127.0.0.1:9")
	require.NoError(t, err)
	defer udp.Close()
	assert.Empty(t, audited(t, udp.LocalAddr().(*net.UDPAddr).AddrPort().Port()))
}

func TestSocketString(t *testing.T) {
	any6 := netip.MustParseAddrPort("[::]:8080")
	for _, tt := range []struct {
		socket loopback.Socket
		want   string
	}{
		{loopback.Socket{Network: "tcp", Addr: any6, FD: 7, Exposed: true}, "tcp [::]:8080 (descriptor 7, exposed)"},
		{loopback.Socket{Network: "tcp", Addr: any6, FD: -1, Exposed: true}, "tcp [::]:8080 (exposed)"},
		{loopback.Socket{Network: "udp", Addr: netip.MustParseAddrPort("127.0.0.1:53"), FD: 0}, "udp 127.0.0.1:53 (descriptor 0)"},
		{loopback.Socket{Network: "udp", Addr: netip.MustParseAddrPort("127.0.0.1:53"), FD: -1}, "udp 127.0.0.1:53"},
		{loopback.Socket{Network: "vsock", FD: 3, Exposed: true}, "vsock (descriptor 3, exposed)"},
	} {
		assert.Equal(t, tt.want, tt.socket.String())
		requireReadBack(t, tt.socket)
	}
	data, err := json.Marshal(loopback.Socket{Network: "tcp", Addr: any6, FD: 7, Exposed: true})
	require.NoError(t, err)
	assert.Equal(t, `{"network":"tcp","addr":"[::]:8080","fd":7,"exposed":true}`, string(data))
}

// Descriptors are opened and closed, and their numbers used again, while the
// audit asks about them. What stays open is listed each time, and nothing that is
// not exposed is called so.
func TestSocketsWhileDescriptorsChange(t *testing.T) {
	stay, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer stay.Close()
	want := stay.Addr().(*net.TCPAddr).AddrPort()
	before, err := loopback.Exposed()
	require.NoError(t, err)
	stop := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
			}
			f, _ := os.Open(os.DevNull)
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if f != nil {
				f.Close()
			}
			if err != nil {
				continue
			}
			c, err := net.Dial("tcp", ln.Addr().String())
			ln.Close()
			if err == nil {
				c.Close()
			}
		}
	}()
	rounds := 200
	if testing.Short() {
		rounds = 20
	}
	for range rounds {
		all, err := loopback.Sockets()
		if !assert.NoError(t, err) {
			break
		}
		assert.True(t, slices.ContainsFunc(all, func(s loopback.Socket) bool { return s.Addr == want }))
		for _, s := range all {
			if s.Exposed && s.Addr.Addr() == want.Addr() {
				t.Errorf("called exposed: %v (before: %v)", s, before)
			}
		}
	}
	close(stop)
	<-ended
}

func TestDiagnoseTellsExposedSockets(t *testing.T) {
	ln, err := net.Listen("tcp4", "0.0.0.0:0")
	require.NoError(t, err)
	defer ln.Close()
	r, err := loopback.Diagnose(t.Context())
	require.NoError(t, err)
	i := slices.IndexFunc(r.Exposed, func(s loopback.Socket) bool { return s.Addr.String() == ln.Addr().String() })
	require.GreaterOrEqual(t, i, 0, "%v", r.Exposed)
	i = slices.IndexFunc(r.Findings, func(f loopback.Finding) bool { return f.Verdict == loopback.VerdictExposed })
	require.GreaterOrEqual(t, i, 0, "%v", r.Findings)
	assert.Equal(t, loopback.LevelInfo, r.Findings[i].Level)
	assert.Contains(t, r.Findings[i].Evidence, ln.Addr().String())
	assert.Contains(t, r.String(), "tcp "+ln.Addr().String())
	requireReadBack(t, r)
}
