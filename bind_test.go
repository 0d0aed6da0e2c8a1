package loopback_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
)

// listenTable is what may be handed to Listen and, with udp for tcp, to
// ListenPacket.
var listenTable = []struct {
	network, address string
	want             []string // what is bound, where this machine has both families
}{
	{"tcp", "", both},
	{"tcp", ":", both},
	{"tcp", ":0", both},
	{"tcp", "[]:0", both},
	{"tcp", "localhost:0", both},
	{"tcp", "localhost:", both},
	{"tcp", "LocalHost.:0", both},
	{"tcp", "[localhost]:0", both},
	{"tcp", "db.localhost:0", both},
	{"tcp4", ":0", both[:1]},
	{"tcp4", "localhost:0", both[:1]},
	{"tcp6", ":0", both[1:]},
	{"tcp6", "localhost:0", both[1:]},
	{"tcp", "127.0.0.1:0", both[:1]},
	{"tcp", "127.0.0.1:+0", both[:1]},
	{"tcp4", "127.0.0.1:0", both[:1]},
	{"tcp", "[::1]:0", both[1:]},
	{"tcp", "[0:0:0:0:0:0:0.0.0.1]:0", both[1:]},
	{"tcp6", "[::1]:0", both[1:]},
	{"tcp", "[::1%lo]:0", both[1:]},
	{"tcp", "[::1%nosuch]:0", both[1:]},
	{"tcp", "[::ffff:127.0.0.1]:0", both[:1]},
	{"tcp4", "[::ffff:127.0.0.1]:0", both[:1]},
	{"tcp", "[::ffff:7f00:1%lo]:0", both[:1]},
}

var both = []string{"127.0.0.1", "::1"}

func TestListen(t *testing.T) {
	skipWithoutSockets(t)
	if !hasIPv6() {
		t.Skip("this machine has no ::1")
	}
	for _, tt := range listenTable {
		t.Run(tt.network+" "+tt.address, func(t *testing.T) {
			ln, err := loopback.Listen(tt.network, tt.address)
			require.NoError(t, err)
			defer ln.Close()
			assert.Equal(t, tt.want, addrs(ln.AddrPorts()))
			assert.NotZero(t, ln.Port())
			for _, ap := range ln.AddrPorts() {
				assert.Equal(t, ln.Port(), ap.Port(), "one port")
			}
			assert.Equal(t, ln.AddrPorts()[0].String(), ln.Addr().String())
			assert.IsType(t, (*net.TCPAddr)(nil), ln.Addr())
			assert.Equal(t, "http://"+ln.AddrPorts()[0].String(), ln.URL("http"))
			for i, b := range ln.Bindings() {
				assert.True(t, b.Bound())
				assert.Equal(t, ln.AddrPorts()[i], b.Addr)
				assert.Contains(t, []string{"tcp4", "tcp6"}, b.Network)
				assert.Equal(t, b.Addr.Addr().Is4(), b.Network == "tcp4")
				assert.NotEqual(t, loopback.IngressAuto, b.Ingress)
			}

			pc, err := loopback.ListenPacket("udp"+strings.TrimPrefix(tt.network, "tcp"), tt.address)
			require.NoError(t, err)
			defer pc.Close()
			assert.Equal(t, tt.want, addrs(pc.AddrPorts()))
		})
	}
}

func TestListenWholeRange(t *testing.T) {
	skipWithoutSockets(t)
	if runtime.GOOS != "linux" && runtime.GOOS != "windows" {
		t.Skipf("%s configures 127.0.0.1 alone", runtime.GOOS)
	}
	for _, host := range []string{"127.0.0.2", "127.1.2.3", "127.255.255.254"} {
		ln, err := loopback.Listen("tcp", host+":0")
		require.NoError(t, err)
		assert.Equal(t, host, ln.AddrPorts()[0].Addr().String())
		ln.Close()
	}
}

// refusedTable holds what must be refused as not loopback.
var refusedTable = []struct{ network, address string }{
	// wildcards
	{"tcp", "0.0.0.0:0"}, {"tcp", "[::]:0"}, {"tcp", "[::0]:80"}, {"tcp", "[0:0:0:0:0:0:0:0]:0"}, {"tcp", "[::%lo]:0"},
	{"tcp", "[::ffff:0.0.0.0]:0"}, {"tcp", "[::ffff:0:0]:0"}, {"tcp4", "0.0.0.0:0"}, {"tcp6", "[::]:0"}, {"tcp", "*:80"}, {"tcp", "0:80"},
	// nil IPs, as they print
	{"tcp", "<nil>:80"}, {"tcp", "invalid IP:80"},
	// without a port
	{"tcp", "0.0.0.0"}, {"tcp", "::"}, {"tcp", "[::]"}, {"tcp", "*"}, {"tcp", "invalid AddrPort"}, {"tcp", "192.0.2.1"},
	// other addresses
	{"tcp", "192.0.2.1:80"}, {"tcp", "126.255.255.255:80"}, {"tcp", "128.0.0.0:80"}, {"tcp", "[::2]:80"}, {"tcp", "[fe80::1%lo]:80"},
	{"tcp", "169.254.169.254:80"}, {"tcp", "[2001:db8::1]:80"}, {"tcp", "255.255.255.255:80"},
	{"tcp", "127.255.255.255:0"}, {"tcp", "[::ffff:127.255.255.255]:0"},
	// multicast
	{"tcp", "224.0.0.1:80"}, {"tcp", "[ff01::1]:80"}, {"tcp", "[ff02::1%lo]:80"},
	// embedded
	{"tcp", "[::127.0.0.1]:80"}, {"tcp", "[::ffff:0:127.0.0.1]:80"}, {"tcp", "[64:ff9b::7f00:1]:80"}, {"tcp", "[2002:7f00:1::]:80"},
	// legacy forms
	{"tcp", "127.1:80"}, {"tcp", "0x7f.1:80"}, {"tcp", "0177.0.0.1:80"}, {"tcp", "2130706433:80"}, {"tcp", "127.0.0.1.:80"},
	{"tcp", "127.0.0.01:80"}, {"tcp", "[127.1]:80"}, {"tcp", "127。0。0。1:80"}, {"tcp", "127.0.0.1%lo:80"}, {"tcp", "[::1%]:80"},
	// names
	{"tcp", "example.com:80"}, {"tcp", "localhost6:80"}, {"tcp", "ip6-localhost:80"}, {"tcp", "localhost.localdomain:80"},
	{"tcp", "notlocalhost:80"}, {"tcp", "localhost..:80"}, {"tcp", "-.localhost:80"}, {"tcp", "localhoſt:80"}, {"tcp", " localhost:80"},
	{"tcp", "localhost\x00:80"}, {"tcp", strings.Repeat("a", 1<<20) + ":80"},
	// of the other family
	{"tcp6", "127.0.0.1:80"}, {"tcp6", "[::ffff:127.0.0.1]:80"}, {"tcp4", "[::1]:80"},
	// other networks
	{"unix", "/tmp/socket"}, {"unix", "127.0.0.1:80"}, {"unixpacket", "@x"}, {"udp", "127.0.0.1:80"}, {"ip4:icmp", "127.0.0.1"},
	{"", "127.0.0.1:80"}, {"tcp5", "127.0.0.1:80"}, {"TCP", "127.0.0.1:80"}, {"tcp4:1", ":80"}, {"tcp64", ":80"}, {"tcp46", ":80"}, {"4", ":80"},
}

func TestListenRefuses(t *testing.T) {
	control := func(string, string, syscall.RawConn) error { t.Error("a socket was made"); return nil }
	lc := &loopback.ListenConfig{Control: control}
	for _, tt := range refusedTable {
		check := func(c any, err error) {
			t.Helper()
			require.Error(t, err, "%s %.80q", tt.network, tt.address)
			assert.ErrorIs(t, err, loopback.ErrNotLoopback)
			op, ok := err.(*net.OpError)
			require.True(t, ok, "%T", err)
			assert.Equal(t, "listen", op.Op)
			if strings.HasPrefix(tt.network, "tcp") && len(tt.network) < 5 && tt.network != "tcp5" {
				assert.Contains(t, err.Error(), short(tt.address), "the error names the input")
			} else {
				assert.Contains(t, err.Error(), tt.network)
			}
			assert.Less(t, len(err.Error()), 1000)
		}
		ln, err := lc.Listen(t.Context(), tt.network, tt.address)
		assert.Nil(t, ln)
		check(ln, err)
		network := strings.Replace(strings.Replace(tt.network, "udp", "tcp!", 1), "tcp", "udp", 1)
		if network == "udp!" {
			continue
		}
		pc, err := lc.ListenPacket(t.Context(), network, tt.address)
		assert.Nil(t, pc)
		tt.network = network
		if strings.HasPrefix(network, "udp") && len(network) < 5 && network != "udp5" {
			assert.Contains(t, err.Error(), short(tt.address))
		}
		require.ErrorIs(t, err, loopback.ErrNotLoopback)
	}
}

// short is as much of an address as an error has to show, without what
// quoting changes.
func short(address string) string {
	host, _, _ := strings.Cut(address, "\x00")
	return host[:min(len(host), 20)]
}

func TestListenBadInput(t *testing.T) {
	for _, tt := range []struct{ address, want string }{
		{"127.0.0.1", "127.0.0.1"},
		{"localhost", "localhost"},
		{"::1", "::1"},
		{"[::1", "[::1"},
		{"[::1]", "[::1]"},
		{"localhost:80:80", "localhost:80:80"},
		{"127.0.0.1:65536", "65536"},
		{"127.0.0.1:-1", "-1"},
		{"127.0.0.1:99999999999999999999", "99999999999999999999"},
		{":no-such-service", "no-such-service"},
		{":8 0", "8 0"},
	} {
		for _, network := range []string{"tcp", "tcp4", "tcp6"} {
			ln, err := loopback.Listen(network, tt.address)
			require.Nil(t, ln)
			op, ok := err.(*net.OpError)
			require.True(t, ok, "%T %v", err, err)
			assert.Equal(t, "listen", op.Op)
			assert.Equal(t, network, op.Net)
			assert.Contains(t, err.Error(), tt.want)
		}
		_, err := loopback.ListenPacket("udp", tt.address)
		_, ok := err.(*net.OpError)
		require.True(t, ok, "%T %v", err, err)
	}
}

// An address of which the port alone is wrong is not called another machine's.
func TestListenWithoutPort(t *testing.T) {
	for _, address := range []string{"127.0.0.1", "localhost", "::1", "[::1]"} {
		_, err := loopback.Listen("tcp", address)
		require.Error(t, err, address)
		assert.NotErrorIs(t, err, loopback.ErrNotLoopback)
	}
}

func TestListenServiceName(t *testing.T) {
	skipWithoutSockets(t)
	ln, err := loopback.Listen("tcp", "127.0.0.1:http-alt")
	if err != nil {
		other, err := net.Listen("tcp", "127.0.0.1:http-alt")
		if err != nil {
			t.Skipf("package net cannot have it here: %v", err)
		}
		other.Close()
	}
	require.NoError(t, err)
	defer ln.Close()
	assert.EqualValues(t, 8080, ln.Port())
}

func TestListenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := new(loopback.ListenConfig).Listen(ctx, "tcp", ":0")
	require.ErrorIs(t, err, context.Canceled)
	require.IsType(t, (*net.OpError)(nil), err)
	_, err = new(loopback.ListenConfig).ListenPacket(ctx, "udp", ":0")
	require.ErrorIs(t, err, context.Canceled)
}

// The context bounds the call, not the listener.
func TestListenContextAfterwards(t *testing.T) {
	skipWithoutSockets(t)
	ctx, cancel := context.WithCancel(t.Context())
	ln, err := new(loopback.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	cancel()
	c, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	s, err := ln.Accept()
	require.NoError(t, err)
	s.Close()
}

func TestListenInUse(t *testing.T) {
	skipWithoutSockets(t)
	if !hasIPv6() {
		t.Skip("this machine has no ::1")
	}
	for _, taken := range both {
		other, err := net.Listen("tcp", net.JoinHostPort(taken, "0"))
		require.NoError(t, err)
		defer other.Close()
		_, port, _ := net.SplitHostPort(other.Addr().String())
		var bound []*net.TCPAddr
		lc := &loopback.ListenConfig{Control: func(_, address string, _ syscall.RawConn) error {
			a, err := net.ResolveTCPAddr("tcp", address)
			bound = append(bound, a)
			return err
		}}
		ln, err := lc.Listen(t.Context(), "tcp", ":"+port)
		require.Error(t, err, "%s has it", taken)
		assert.Nil(t, ln)
		op, ok := err.(*net.OpError)
		require.True(t, ok)
		assert.Equal(t, net.JoinHostPort(taken, port), op.Addr.String())
		assert.Equal(t, "tcp", op.Net, "what was asked for")

		// Nothing of the failed attempt is left.
		for _, a := range bound {
			c, err := net.Dial("tcp", a.String())
			if a.IP.String() != taken {
				assert.Error(t, err, "something listens on %v", a)
			}
			if err == nil {
				c.Close()
			}
		}

		c, err := net.ListenPacket("udp", net.JoinHostPort(taken, "0"))
		require.NoError(t, err)
		defer c.Close()
		_, port, _ = net.SplitHostPort(c.LocalAddr().String())
		_, err = loopback.ListenPacket("udp", ":"+port)
		require.Error(t, err, "%s has it", taken)
	}
}

func TestListenRequireBoth(t *testing.T) {
	lc := &loopback.ListenConfig{RequireBoth: true}
	for _, tt := range []struct{ network, address string }{
		{"tcp", "127.0.0.1:0"}, {"tcp", "[::1]:0"}, {"tcp4", ":0"}, {"tcp6", "localhost:0"},
	} {
		_, err := lc.Listen(t.Context(), tt.network, tt.address)
		require.ErrorContains(t, err, "RequireBoth")
		require.IsType(t, (*net.OpError)(nil), err)
	}
	skipWithoutSockets(t)
	if !hasIPv6() {
		t.Skip("this machine has no ::1")
	}
	ln, err := lc.Listen(t.Context(), "tcp", ":0")
	require.NoError(t, err)
	assert.Len(t, ln.AddrPorts(), 2)
	ln.Close()
}

func TestListenControl(t *testing.T) {
	skipWithoutSockets(t)
	type call struct{ network, host string }
	var calls []call
	lc := &loopback.ListenConfig{Control: func(network, address string, c syscall.RawConn) error {
		host, _, err := net.SplitHostPort(address)
		require.NoError(t, err)
		calls = append(calls, call{network, host})
		require.NotNil(t, c)
		return nil
	}}
	for _, lc.Ingress = range []loopback.Ingress{loopback.IngressAuto, loopback.IngressRemote, loopback.IngressAny} {
		calls = nil
		ln, err := lc.Listen(t.Context(), "tcp4", ":0")
		require.NoError(t, err)
		ln.Close()
		pc, err := lc.ListenPacket(t.Context(), "udp4", ":0")
		require.NoError(t, err)
		pc.Close()
		assert.Equal(t, []call{{"tcp4", "127.0.0.1"}, {"udp4", "127.0.0.1"}}, calls, "once for each socket handed out, not for the proofs")
	}
	lc.Ingress = loopback.IngressAuto

	failure := errors.New("not today")
	lc.Control = func(string, string, syscall.RawConn) error { return failure }
	_, err := lc.Listen(t.Context(), "tcp", ":0")
	require.ErrorIs(t, err, failure)
	assert.Regexp(t, `^listen tcp (127\.0\.0\.1|\[::1\]):\d+: not today$`, err.Error())
	_, err = lc.ListenPacket(t.Context(), "udp", ":0")
	require.ErrorIs(t, err, failure)
	assert.Regexp(t, `^listen udp (127\.0\.0\.1|\[::1\]):\d+: not today$`, err.Error())
}

func TestIngressByName(t *testing.T) {
	for _, ingress := range []loopback.Ingress{loopback.IngressDevice, loopback.IngressCheck, loopback.IngressRemote, loopback.IngressAny} {
		lc := &loopback.ListenConfig{Ingress: ingress}
		ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
		pc, perr := lc.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
		if runtime.GOOS != "linux" && ingress < loopback.IngressRemote {
			require.ErrorIs(t, err, errors.ErrUnsupported)
			require.ErrorIs(t, perr, errors.ErrUnsupported)
			continue
		}
		if errors.Is(err, errors.ErrUnsupported) && os.Getenv("LOOPBACK_TEST_EMULATED") != "" {
			t.Skipf("the emulator does not have it: %v", err)
		}
		require.NoError(t, err)
		require.NoError(t, perr)
		assert.Equal(t, ingress, ln.Bindings()[0].Ingress)
		assert.NoError(t, ln.Bindings()[0].Err)
		assert.Equal(t, ingress, pc.Bindings()[0].Ingress)
		ln.Close()
		pc.Close()
	}
}

func TestIngressUnknown(t *testing.T) {
	lc := &loopback.ListenConfig{Ingress: loopback.IngressAny + 1}
	_, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.EqualError(t, err, "listen tcp: loopback: unknown Ingress(5)")
}

func TestIngressText(t *testing.T) {
	for i, want := range []string{"auto", "device", "check", "remote", "any", "Ingress(5)"} {
		text, err := loopback.Ingress(i).MarshalText()
		require.NoError(t, err)
		assert.Equal(t, want, string(text))
	}
}

func TestBindingZeroIsNotBound(t *testing.T) {
	assert.False(t, loopback.Binding{}.Bound())
	assert.Equal(t, " invalid AddrPort (not bound)", loopback.Binding{}.String())
	for text, want := range map[string]string{
		`{"network":"tcp6","addr":"[::1]:80","ingress":"device","bound":false,"error":"why"}`:   "tcp6 [::1]:80 (not bound): why",
		`{"network":"tcp4","addr":"127.0.0.1:80","ingress":"check","bound":true,"error":"why"}`: "tcp4 127.0.0.1:80 (ingress check): why",
		`{"network":"udp4","addr":"127.0.0.1:80","ingress":"any","bound":true}`:                 "udp4 127.0.0.1:80 (ingress any)",
	} {
		var b loopback.Binding
		require.NoError(t, b.UnmarshalJSON([]byte(text)))
		assert.Equal(t, want, b.String())
	}
}

// A Binding comes back from JSON as it was, with an error of the same text and
// error number, and gives the same bytes again.
func TestBindingIsReadBack(t *testing.T) {
	ln := listening(t, ":0")
	taken := ln.AddrPorts()[0]
	_, inUse := loopback.Listen("tcp", taken.String())
	require.Error(t, inUse)
	bindings := append(ln.Bindings(), loopback.Binding{},
		loopback.Binding{Network: "udp6", Addr: netip.MustParseAddrPort("[::1]:53"), Ingress: loopback.IngressRemote, Err: inUse},
		loopback.Binding{Network: "tcp4", Addr: taken, Err: errors.New("<why> & \"how\"")},
		loopback.Binding{Network: "tcp4", Addr: taken, Err: errors.New("")})
	for _, b := range bindings {
		text, err := json.Marshal(b)
		require.NoError(t, err)
		var got loopback.Binding
		require.NoError(t, json.Unmarshal(text, &got))
		again, err := json.Marshal(got)
		require.NoError(t, err)
		assert.Equal(t, string(text), string(again))
		assert.Equal(t, b.String(), got.String())
		assert.Equal(t, b.Bound(), got.Bound())
		inUse := got.Err != nil && strings.Contains(string(text), `"errno":"EADDRINUSE"`) // Windows has a number of its own for it
		assert.Equal(t, inUse, errors.Is(got.Err, syscall.EADDRINUSE))
	}
	text, err := json.Marshal(loopback.Binding{Network: "tcp6", Addr: netip.MustParseAddrPort("[::1]:80"), Ingress: loopback.IngressCheck,
		Err: os.NewSyscallError("bind", syscall.EADDRINUSE)})
	require.NoError(t, err)
	assert.JSONEq(t, `{"network":"tcp6","addr":"[::1]:80","ingress":"check","bound":false,
		"error":"bind: `+syscall.EADDRINUSE.Error()+`","errno":"EADDRINUSE"}`, string(text))

	was := loopback.Binding{Network: "tcp4"}
	for _, bad := range []string{`[]`, `{"addr":"localhost:80"}`, `{"ingress":"strong"}`, `{"bound":"yes"}`} {
		assert.Error(t, json.Unmarshal([]byte(bad), &was), bad)
		assert.Equal(t, loopback.Binding{Network: "tcp4"}, was, "unchanged")
	}
}

func TestIngressIsReadBack(t *testing.T) {
	for i := loopback.IngressAuto; i <= loopback.IngressAny; i++ {
		got := loopback.Ingress(9)
		require.NoError(t, got.UnmarshalText([]byte(i.String())))
		assert.Equal(t, i, got)
	}
	i := loopback.IngressCheck
	for _, bad := range []string{"", "Check", "check ", "Ingress(9)", "1"} {
		assert.ErrorContains(t, i.UnmarshalText([]byte(bad)), strconv.Quote(bad))
		assert.Equal(t, loopback.IngressCheck, i)
	}
}

// The text of an error names what was given and what is wrong with it.
func TestListenErrorTexts(t *testing.T) {
	for _, tt := range []struct {
		network, address, want string
		notLoopback            bool
	}{
		{"tcp", "8080", `listen tcp: address "8080": missing port`, false},
		{"tcp", "localhost", `listen tcp: address "localhost": missing port`, false},
		{"tcp4", "127.0.0.1", `listen tcp4: address "127.0.0.1": missing port`, false},
		{"tcp", "::1", `listen tcp: address "::1": too many colons`, false},
		{"tcp", "example.com", `listen tcp: loopback: not a loopback address: address "example.com": missing port`, true},
		{"tcp", "0.0.0.0:80", `listen tcp: "0.0.0.0:80": loopback: not a loopback address: the address means every interface`, true},
		{"udp", ":80", `listen udp: "udp" is for ListenPacket, not for Listen: loopback: not a loopback address: unknown network udp`, true},
		{"udp6", ":80", `listen udp6: "udp6" is for ListenPacket, not for Listen: loopback: not a loopback address: unknown network udp6`, true},
		{"tcp44", ":80", `listen tcp44: loopback: not a loopback address: unknown network tcp44`, true},
	} {
		_, err := loopback.Listen(tt.network, tt.address)
		assert.EqualError(t, err, tt.want)
		assert.Equal(t, tt.notLoopback, errors.Is(err, loopback.ErrNotLoopback), tt.address)
	}
	_, err := loopback.ListenPacket("tcp", ":80")
	assert.EqualError(t, err, `listen tcp: "tcp" is for Listen, not for ListenPacket: loopback: not a loopback address: unknown network tcp`)
	for _, c := range []syscall.Conn{nil, (*net.TCPListener)(nil), new(net.UDPConn), (*os.File)(nil)} {
		assert.EqualError(t, loopback.Verify(c), "verify socket: there is no socket: "+syscall.EINVAL.Error(), "%T", c)
	}
	assert.ErrorContains(t, loopback.Verify((*net.TCPConn)(nil)), "verify socket: there is no socket: a method of *net.TCPConn panics: ")
}

// The network and the address of an error are those of package net, before
// Close and after.
func TestErrorsHaveOneNetwork(t *testing.T) {
	for _, address := range []string{":0", "127.0.0.1:0"} {
		ln := listening(t, address)
		pc := packetConn(t, new(loopback.ListenConfig), address)
		check := func() {
			t.Helper()
			_, err := ln.Accept()
			op, ok := errors.AsType[*net.OpError](err)
			require.True(t, ok)
			assert.Equal(t, []any{"accept", "tcp", ln.Addr()}, []any{op.Op, op.Net, op.Addr})
			_, _, err = pc.ReadFrom(make([]byte, 1))
			op, ok = errors.AsType[*net.OpError](err)
			require.True(t, ok)
			assert.Equal(t, []any{"read", "udp", pc.LocalAddr()}, []any{op.Op, op.Net, op.Source})
			_, err = pc.WriteTo(nil, pc.LocalAddr())
			op, ok = errors.AsType[*net.OpError](err)
			require.True(t, ok)
			assert.Equal(t, []any{"write", "udp", pc.LocalAddr()}, []any{op.Op, op.Net, op.Source})
			_, err = pc.WriteTo(nil, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
			op, ok = errors.AsType[*net.OpError](err)
			require.True(t, ok)
			assert.Equal(t, "udp", op.Net)
		}
		require.NoError(t, ln.SetDeadline(time.Unix(1, 0)))
		require.NoError(t, pc.SetDeadline(time.Unix(1, 0)))
		check()
		require.NoError(t, ln.Close())
		require.NoError(t, pc.Close())
		check()
		files, err := ln.Files()
		assert.Empty(t, files)
		more, err2 := pc.Files()
		assert.Empty(t, more)
		local, remote := "udp "+pc.LocalAddr().String(), pc.AddrPorts()[0]
		_, _, readErr := pc.ReadFrom(make([]byte, 1))
		_, writeErr := pc.WriteToUDPAddrPort(nil, remote)
		_, acceptErr := ln.Accept()
		for want, err := range map[string]error{
			"close tcp": ln.Close(), "set tcp": ln.SetDeadline(time.Time{}), "file tcp": err, "accept tcp": acceptErr,
			"close udp": pc.Close(), "set udp": pc.SetDeadline(time.Time{}), "file udp": err2,
		} {
			assert.ErrorIs(t, err, net.ErrClosed)
			if strings.HasSuffix(want, "tcp") {
				assert.EqualError(t, err, want+" "+ln.Addr().String()+": use of closed network connection")
			} else {
				assert.EqualError(t, err, strings.Replace(want, "udp", local, 1)+": use of closed network connection")
			}
		}
		for _, err := range []error{pc.SetReadDeadline(time.Time{}), pc.SetWriteDeadline(time.Time{}), pc.SetReadBuffer(1), pc.SetWriteBuffer(1)} {
			assert.EqualError(t, err, "set "+local+": use of closed network connection")
		}
		assert.EqualError(t, readErr, "read "+local+": use of closed network connection")
		assert.EqualError(t, writeErr, "write "+local+"->"+remote.String()+": use of closed network connection")
	}
}

// A socket that something else has closed already is an error of Close, which
// closes the others.
func TestCloseSaysWhatFailed(t *testing.T) {
	skipWithoutSockets(t)
	given, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	other, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	ln, err := new(loopback.ListenConfig).Adopt(given, other)
	require.NoError(t, err)
	require.NoError(t, given.Close())
	assert.EqualError(t, ln.Close(), "close tcp "+given.Addr().String()+": use of closed network connection")
	assert.ErrorIs(t, other.Close(), net.ErrClosed)

	u, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	pc, err := new(loopback.ListenConfig).AdoptPacket(u)
	require.NoError(t, err)
	require.NoError(t, u.Close())
	assert.EqualError(t, pc.Close(), "close udp "+u.LocalAddr().String()+": use of closed network connection")
}

// What Bindings returns is the caller's.
func TestListenerBindingsAreACopy(t *testing.T) {
	ln := listening(t, ":0")
	ln.Bindings()[0] = loopback.Binding{}
	assert.True(t, ln.Bindings()[0].Bound())
}

// Some systems bind another address than they were asked to: a FreeBSD jail
// makes its public address of 127.0.0.1.
func TestListenBoundElsewhere(t *testing.T) {
	asked := netip.MustParseAddrPort("127.0.0.1:80")
	assert.NoError(t, loopback.Confirm(asked, asked))
	for _, got := range []string{"192.0.2.1:80", "0.0.0.0:80", "127.0.0.2:80", "[::1]:80"} {
		err := loopback.Confirm(netip.MustParseAddrPort(got), asked)
		assert.ErrorIs(t, err, loopback.ErrNotLoopback, got)
	}
}
