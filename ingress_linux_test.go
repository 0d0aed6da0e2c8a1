package loopback_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/loopback"
	"example.com/loopback/internal/netnstest"
)

// servicePort is where the service of these tests listens; what belongs to the
// test itself is elsewhere.
const servicePort = "4000"

// A service answers "served" to every connection and every datagram that the
// package lets through to it.
type service struct {
	tcp    *loopback.Listener
	udp    *loopback.PacketConn
	events chan string // what was let through: "tcp", or "udp" and what it said
}

// newService starts a service of ln and pc.
func newService(ln *loopback.Listener, pc *loopback.PacketConn) *service {
	sv := &service{tcp: ln, udp: pc, events: make(chan string, 100)}
	sv.run()
	return sv
}

func (sv *service) run() {
	go func() {
		for {
			c, err := sv.tcp.Accept()
			if err != nil {
				return
			}
			sv.events <- "tcp"
			c.Write([]byte("served"))
			c.Close()
		}
	}()
	go func() {
		b := make([]byte, 16)
		for {
			n, from, err := sv.udp.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			sv.events <- "udp " + string(b[:n])
			sv.udp.WriteToUDPAddrPort([]byte("served"), from)
		}
	}()
}

func (sv *service) close() {
	if sv.tcp != nil {
		sv.tcp.Close()
	}
	if sv.udp != nil {
		sv.udp.Close()
	}
}

// service4 and service6 are where the service is.
const (
	service4 = "127.0.0.1:" + servicePort
	service6 = "[::1]:" + servicePort
)

// An attack is one way to send something to the service from outside.
type attack struct {
	network  string // tcp or udp
	from, to string // addresses
	at       string // the address of the service that is meant: 127.0.0.1 or ::1
	reaches  reach
}

// TestIngress tries to get at a service on 127.0.0.1 and ::1 from another
// machine, in every topology that is known to let the wire into loopback, and
// some that look so. IngressAuto, IngressDevice and IngressCheck must stop all
// of it and serve local clients; the column reaches is what happens without.
func TestIngress(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	for _, tt := range []struct {
		name    string
		setup   func(t *testing.T, s *stage)
		attacks []attack
		auto4   loopback.Ingress // what is left of IngressAuto for IPv4; Device if zero
	}{
		{
			name: "ordinary host",
			setup: func(t *testing.T, s *stage) {
				s.aim(t)
			},
			attacks: []attack{
				{"tcp", "10.0.0.2", "127.0.0.1", "127.0.0.1", nobody},
				{"udp", "10.0.0.2", "127.0.0.1", "127.0.0.1", nobody},
				{"tcp", "10.0.0.2", "10.0.0.1", "127.0.0.1", nobody},
				{"udp", "10.0.0.2", "10.0.0.1", "127.0.0.1", nobody},
				{"tcp", "fd00::2", "::1", "::1", nobody},
				{"udp", "fd00::2", "::1", "::1", nobody},
				{"tcp", "fd00::2", "fd00::1", "::1", nobody},
				{"udp", "fd00::2", "fd00::1", "::1", nobody},
			},
		},
		{
			name: "route_localnet on all",
			setup: func(t *testing.T, s *stage) {
				s.aim(t)
				routeLocalnet(t, s.host, "all")
			},
			attacks: []attack{
				{"tcp", "10.0.0.2", "127.0.0.1", "127.0.0.1", anyOnly},
				{"udp", "10.0.0.2", "127.0.0.1", "127.0.0.1", anyOnly},
				{"tcp", "fd00::2", "::1", "::1", nobody},
				{"udp", "fd00::2", "::1", "::1", nobody},
			},
		},
		{
			name: "route_localnet on the device",
			setup: func(t *testing.T, s *stage) {
				s.aim(t)
				routeLocalnet(t, s.host, "wire")
			},
			attacks: []attack{
				{"tcp", "10.0.0.2", "127.0.0.1", "127.0.0.1", anyOnly},
				{"udp", "10.0.0.2", "127.0.0.1", "127.0.0.1", anyOnly},
			},
		},
		{
			name: "a spoofed 127.0.0.5",
			setup: func(t *testing.T, s *stage) {
				s.aim(t)
				routeLocalnet(t, s.host, "wire")
				s.outside.Run(t, "ip", "addr", "add", "127.0.0.5/32", "dev", "wire")
			},
			attacks: []attack{
				{"udp", "127.0.0.5", "127.0.0.1", "127.0.0.1", remoteToo},
				{"tcp", "127.0.0.5", "127.0.0.1", "127.0.0.1", nobody}, // the answer stays on the host
			},
		},
		{
			name: "a spoofed address of the host",
			setup: func(t *testing.T, s *stage) {
				s.aim(t)
				routeLocalnet(t, s.host, "wire")
				s.host.Sysctl(t, "net/ipv4/conf/wire/accept_local", "1")
				s.host.Run(t, "ip", "addr", "add", "203.0.113.5/32", "dev", "lo")
				s.host.Run(t, "ip", "addr", "add", "fd05::5/128", "dev", "lo", "nodad")
				s.outside.Run(t, "ip", "addr", "add", "203.0.113.5/32", "dev", "wire")
				s.outside.Run(t, "ip", "addr", "add", "fd05::5/128", "dev", "wire", "nodad")
				s.rewrite(t, "ip daddr set 127.0.0.1", "ip6 daddr set ::1")
			},
			attacks: []attack{
				{"udp", "203.0.113.5", "127.0.0.1", "127.0.0.1", anyOnly},
				{"udp", "203.0.113.5", "10.0.0.1", "127.0.0.1", anyOnly},
				{"udp", "fd05::5", "fd00::1", "::1", anyOnly},
				{"tcp", "203.0.113.5", "127.0.0.1", "127.0.0.1", nobody}, // the answer stays on the host
			},
		},
		{
			name: "127.5.0.0/24 on the link",
			setup: func(t *testing.T, s *stage) {
				s.aim(t)
				routeLocalnet(t, s.host, "wire")
				s.host.Run(t, "ip", "-4", "addr", "flush", "dev", "lo")
				s.host.Run(t, "ip", "addr", "add", "127.0.0.1/16", "dev", "lo")
				s.host.Run(t, "ip", "addr", "add", "127.5.0.1/24", "dev", "wire")
				s.outside.Run(t, "ip", "addr", "add", "127.5.0.2/24", "dev", "wire")
			},
			attacks: []attack{
				{"tcp", "127.5.0.2", "127.0.0.1", "127.0.0.1", remoteToo},
				{"udp", "127.5.0.2", "127.0.0.1", "127.0.0.1", remoteToo},
				{"tcp", "127.5.0.2", "127.5.0.1", "127.0.0.1", nobody},
			},
		},
		{
			name: "DNAT",
			setup: func(t *testing.T, s *stage) {
				routeLocalnet(t, s.host, "wire")
				s.nat(t, "ip", "meta l4proto { tcp, udp } th dport "+servicePort+" dnat to 127.0.0.1", "")
				s.nat(t, "ip6", "meta l4proto { tcp, udp } th dport "+servicePort+" dnat to ::1", "")
			},
			attacks: []attack{
				{"tcp", "10.0.0.2", "10.0.0.1", "127.0.0.1", anyOnly},
				{"udp", "10.0.0.2", "10.0.0.1", "127.0.0.1", anyOnly},
				{"tcp", "fd00::2", "fd00::1", "::1", nobody},
				{"udp", "fd00::2", "fd00::1", "::1", nobody},
			},
		},
		{
			name: "DNAT and SNAT",
			setup: func(t *testing.T, s *stage) {
				routeLocalnet(t, s.host, "wire")
				s.nat(t, "ip", "meta l4proto { tcp, udp } th dport "+servicePort+" dnat to 127.0.0.1",
					"iifname wire ip daddr 127.0.0.1 snat to 127.0.0.1")
				s.nat(t, "ip6", "meta l4proto { tcp, udp } th dport "+servicePort+" dnat to ::1",
					"iifname wire ip6 daddr ::1 snat to ::1")
			},
			attacks: []attack{
				{"tcp", "10.0.0.2", "10.0.0.1", "127.0.0.1", remoteToo},
				{"udp", "10.0.0.2", "10.0.0.1", "127.0.0.1", remoteToo},
				{"tcp", "fd00::2", "fd00::1", "::1", nobody},
				{"udp", "fd00::2", "fd00::1", "::1", nobody},
			},
		},
		{
			name: "rewritten after routing", // which so has no say
			setup: func(t *testing.T, s *stage) {
				s.rewrite(t, "ip daddr set 127.0.0.1", "ip6 daddr set ::1")
			},
			attacks: []attack{ // TCP fails, as its answers find no way back
				{"udp", "10.0.0.2", "10.0.0.1", "127.0.0.1", anyOnly},
				{"udp", "fd00::2", "fd00::1", "::1", anyOnly},
			},
		},
		{
			name: "rewritten after routing, the source too",
			setup: func(t *testing.T, s *stage) {
				s.rewrite(t, "ip daddr set 127.0.0.1 ip saddr set 127.0.0.5", "ip6 daddr set ::1 ip6 saddr set ::1")
			},
			attacks: []attack{
				{"udp", "10.0.0.2", "10.0.0.1", "127.0.0.1", remoteToo},
				{"udp", "fd00::2", "fd00::1", "::1", remoteToo},
			},
		},
		{
			name: "another address on lo", // reaches wildcards that are bound to lo, not 127.0.0.1
			setup: func(t *testing.T, s *stage) {
				s.host.Run(t, "ip", "addr", "add", "203.0.113.5/32", "dev", "lo")
				s.host.Run(t, "ip", "addr", "add", "fd05::5/128", "dev", "lo", "nodad")
				s.outside.Run(t, "ip", "route", "add", "203.0.113.5", "via", "10.0.0.1")
				s.outside.Run(t, "ip", "route", "add", "fd05::5", "via", "fd00::1")
			},
			attacks: []attack{
				{"tcp", "10.0.0.2", "203.0.113.5", "127.0.0.1", nobody},
				{"udp", "10.0.0.2", "203.0.113.5", "127.0.0.1", nobody},
				{"tcp", "fd00::2", "fd05::5", "::1", nobody},
				{"udp", "fd00::2", "fd05::5", "::1", nobody},
			},
		},
		{
			name: "an AnyIP route",
			setup: func(t *testing.T, s *stage) {
				s.host.Run(t, "ip", "route", "add", "local", "203.0.113.0/24", "dev", "lo")
				s.host.Run(t, "ip", "route", "add", "local", "fd05::/64", "dev", "lo")
				s.outside.Run(t, "ip", "route", "add", "203.0.113.0/24", "via", "10.0.0.1")
				s.outside.Run(t, "ip", "route", "add", "fd05::/64", "via", "fd00::1")
			},
			attacks: []attack{
				{"tcp", "10.0.0.2", "203.0.113.9", "127.0.0.1", nobody},
				{"udp", "10.0.0.2", "203.0.113.9", "127.0.0.1", nobody},
				{"tcp", "fd00::2", "fd05::9", "::1", nobody},
				{"udp", "fd00::2", "fd05::9", "::1", nobody},
			},
		},
		{
			name: "127.0.0.1 on the wire, then on lo",
			setup: func(t *testing.T, s *stage) {
				s.aim(t)
				s.host.Run(t, "ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
				s.host.Run(t, "ip", "addr", "add", "127.0.0.1/8", "dev", "wire")
				s.host.Run(t, "ip", "addr", "add", "127.0.0.1/8", "dev", "lo")
			},
			attacks: []attack{
				{"tcp", "10.0.0.2", "127.0.0.1", "127.0.0.1", nobody},
				{"udp", "10.0.0.2", "127.0.0.1", "127.0.0.1", nobody},
			},
			auto4: loopback.IngressRemote,
		},
		{
			name: "127.0.0.1 on the wire alone, route_localnet",
			setup: func(t *testing.T, s *stage) {
				s.aim(t)
				routeLocalnet(t, s.host, "wire")
				s.host.Run(t, "ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
				s.host.Run(t, "ip", "addr", "add", "127.0.0.1/8", "dev", "wire")
			},
			attacks: []attack{
				{"tcp", "10.0.0.2", "127.0.0.1", "127.0.0.1", anyOnly},
				{"udp", "10.0.0.2", "127.0.0.1", "127.0.0.1", anyOnly},
			},
			auto4: loopback.IngressRemote,
		},
		{
			name: "::1 routed by the wire, DNAT",
			setup: func(t *testing.T, s *stage) {
				s.host.Run(t, "ip", "-6", "route", "add", "local", "::1", "dev", "wire", "table", "local", "metric", "1")
				s.nat(t, "ip6", "meta l4proto { tcp, udp } th dport "+servicePort+" dnat to ::1", "")
			},
			attacks: []attack{
				{"tcp", "fd00::2", "fd00::1", "::1", anyOnly},
				{"udp", "fd00::2", "fd00::1", "::1", anyOnly},
			},
		},
		{
			name: "::1 routed by the wire, DNAT and SNAT",
			setup: func(t *testing.T, s *stage) {
				s.host.Run(t, "ip", "-6", "route", "add", "local", "::1", "dev", "wire", "table", "local", "metric", "1")
				s.nat(t, "ip6", "meta l4proto { tcp, udp } th dport "+servicePort+" dnat to ::1",
					"iifname wire ip6 daddr ::1 snat to ::1")
			},
			attacks: []attack{
				{"tcp", "fd00::2", "fd00::1", "::1", remoteToo},
				{"udp", "fd00::2", "fd00::1", "::1", remoteToo},
			},
		},
		{
			name: "lo renamed",
			setup: func(t *testing.T, s *stage) {
				s.aim(t)
				routeLocalnet(t, s.host, "wire")
				s.host.Run(t, "ip", "link", "set", "lo", "down")
				s.host.Run(t, "ip", "link", "set", "lo", "name", "inner")
				s.host.Run(t, "ip", "link", "set", "inner", "up")
			},
			attacks: []attack{
				{"tcp", "10.0.0.2", "127.0.0.1", "127.0.0.1", anyOnly},
				{"udp", "10.0.0.2", "127.0.0.1", "127.0.0.1", anyOnly},
			},
		},
		{
			name: "lo renamed, and the wire called lo",
			setup: func(t *testing.T, s *stage) {
				s.aim(t)
				s.host.Run(t, "ip", "link", "set", "lo", "down")
				s.host.Run(t, "ip", "link", "set", "lo", "name", "inner")
				s.host.Run(t, "ip", "link", "set", "inner", "up")
				s.host.Run(t, "ip", "link", "set", "wire", "down")
				s.host.Run(t, "ip", "link", "set", "wire", "name", "lo")
				s.host.Run(t, "ip", "link", "set", "lo", "up")
				s.host.Run(t, "ip", "addr", "replace", "fd00::1/64", "dev", "lo", "nodad")
				routeLocalnet(t, s.host, "lo")
			},
			attacks: []attack{
				{"tcp", "10.0.0.2", "127.0.0.1", "127.0.0.1", anyOnly},
				{"udp", "10.0.0.2", "127.0.0.1", "127.0.0.1", anyOnly},
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t)
			tt.setup(t, s)
			for _, ingress := range []loopback.Ingress{
				loopback.IngressAny, loopback.IngressRemote, loopback.IngressCheck, loopback.IngressDevice, loopback.IngressAuto,
			} {
				sv, err := s.serve(t, ingress)
				if tt.auto4 != 0 && (ingress == loopback.IngressCheck || ingress == loopback.IngressDevice) {
					require.ErrorIs(t, err, errors.ErrUnsupported)
					assert.ErrorContains(t, err, "ingress "+ingress.String()+": ")
					continue
				}
				require.NoError(t, err, "%v", ingress)
				for _, a := range tt.attacks {
					want := a.reaches.through(ingress)
					assert.Equal(t, want, s.reached(t, sv, a, want), "ingress %v: reached by %+v", ingress, a)
				}
				for _, at := range both {
					s.local(t, "tcp", at)
					s.local(t, "udp", at)
				}
				for _, b := range append(sv.tcp.Bindings(), sv.udp.Bindings()...) {
					want := ingress
					if want == loopback.IngressAuto {
						want = loopback.IngressDevice
					}
					if ingress == loopback.IngressAuto && tt.auto4 != 0 && b.Addr.Addr().Is4() {
						want = tt.auto4
						assert.ErrorContains(t, b.Err, "ingress device: ")
						assert.ErrorContains(t, b.Err, "ingress check: ")
						assert.ErrorContains(t, b.Err, "forge")
					} else {
						assert.NoError(t, b.Err)
					}
					assert.Equal(t, want, b.Ingress, "%v", b)
				}
				sv.close()
			}
		})
	}
}

// Local clients are served whatever address of the host they have: one that a
// packet filter gave them, or one that they are bound to. What comes in by the
// loopback interface from no address of the host is refused.
func TestIngressServesLocalClients(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.NeedNFT(t)
	for _, tt := range []struct {
		name     string
		rule     string            // of postrouting, in both families
		from     map[string]string // what clients bind to, by the address of the service
		foreign  bool              // they are to be refused
		noRemote bool              // IngressRemote serves nothing
	}{
		{name: "masquerade without an interface", rule: "masquerade", noRemote: true},
		{name: "masquerade on lo", rule: "oifname lo ip saddr 127.0.0.0/8 masquerade; oifname lo ip6 saddr ::1 masquerade", noRemote: true},
		{name: "bound to an address of the wire", from: map[string]string{"127.0.0.1": "10.0.0.1", "::1": "fd00::1"}},
		{name: "bound to an address of lo", from: map[string]string{"127.0.0.1": "203.0.113.5", "::1": "fd05::5"}},
		{name: "with a foreign address", rule: "ip saddr 203.0.113.5 snat ip to 203.0.113.9; ip6 saddr fd05::5 snat ip6 to fd05::9",
			from: map[string]string{"127.0.0.1": "203.0.113.5", "::1": "fd05::5"}, foreign: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t)
			s.host.Run(t, "ip", "addr", "add", "203.0.113.5/32", "dev", "lo")
			s.host.Run(t, "ip", "addr", "add", "fd05::5/128", "dev", "lo", "nodad")
			s.host.Run(t, "ip", "route", "add", "203.0.113.9", "dev", "lo")
			s.host.Run(t, "ip", "route", "add", "fd05::9", "dev", "lo")
			if tt.rule != "" {
				s.host.Run(t, "nft", "table inet nat { chain post { type nat hook postrouting priority 100; "+tt.rule+"; }; }")
			}
			check := func(sv *service, ingress loopback.Ingress) {
				t.Helper()
				for network, bindings := range map[string][]loopback.Binding{"tcp": sv.tcp.Bindings(), "udp": sv.udp.Bindings()} {
					for _, b := range bindings {
						at := b.Addr.Addr().String()
						timeout := 5 * time.Second
						if tt.foreign || at == "::1" && tt.from[at] == "fd00::1" {
							timeout = 200 * time.Millisecond // datagrams are dropped
						}
						assert.NoError(t, b.Err, "%v", b)
						var got string
						var err error
						s.host.Do(func() { got, err = call(network, tt.from[at], b.Addr.String(), "local", timeout) })
						if tt.foreign || at == "::1" && tt.from[at] == "fd00::1" && b.Ingress == loopback.IngressDevice { // see IngressDevice
							assert.Error(t, err, "%v %v", ingress, b)
							assert.Empty(t, got)
							if tt.foreign && network == "tcp" {
								assert.ErrorIs(t, err, unix.ECONNRESET, "%v %v", ingress, b)
							}
							continue
						}
						assert.NoError(t, err, "%v %v", ingress, b)
						assert.Equal(t, "served", got, "%v %v", ingress, b)
					}
				}
			}
			for _, ingress := range []loopback.Ingress{loopback.IngressAuto, loopback.IngressDevice, loopback.IngressCheck} {
				sv, err := s.serve(t, ingress)
				require.NoError(t, err, "%v", ingress)
				check(sv, ingress)
				sv.close()
			}
			for _, ingress := range []loopback.Ingress{loopback.IngressAuto, loopback.IngressCheck} {
				ln, pc, err := s.adopted(t, ingress)
				require.NoError(t, err, "%v", ingress)
				sv := newService(ln, pc)
				check(sv, ingress)
				sv.close()
			}
			sv, err := s.serve(t, loopback.IngressRemote)
			if tt.noRemote {
				require.ErrorIs(t, err, errors.ErrUnsupported)
				return
			}
			require.NoError(t, err)
			sv.close()
		})
	}
}

// TestIngressRoutingChanges lets the wire in after Listen, which must not
// matter: nothing that was found out at Listen is relied on.
func TestIngressRoutingChanges(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	for _, ingress := range []loopback.Ingress{
		loopback.IngressAny, loopback.IngressCheck, loopback.IngressDevice, loopback.IngressAuto,
	} {
		t.Run(ingress.String(), func(t *testing.T) {
			s := newStage(t)
			s.aim(t)
			sv, err := s.serve(t, ingress)
			require.NoError(t, err)
			defer sv.close()
			routeLocalnet(t, s.host, "all")
			for _, network := range []string{"tcp", "udp"} {
				a := attack{network, "10.0.0.2", "127.0.0.1", "127.0.0.1", anyOnly}
				want := a.reaches.through(ingress)
				assert.Equal(t, want, s.reached(t, sv, a, want), network)
				s.local(t, network, "127.0.0.1")
			}
		})
	}
}

// A sandbox that leaves nothing but internet sockets, as that of a service often
// does, does not cost a rung.
func TestIngressInternetSocketsOnly(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "name", "loop") // not to be guessed
	netnstest.Run(t, "ip", "link", "set", "loop", "up")
	for _, family := range []uint32{unix.AF_UNIX, unix.AF_NETLINK, unix.AF_INET} {
		filterSyscall(t, unix.SYS_SOCKET, 0, family, unix.EAFNOSUPPORT)
		for name, listen := range listenFuncs {
			c, err := listen(new(loopback.ListenConfig), t.Context(), "6", ":0")
			require.NoError(t, err, name)
			assert.Equal(t, loopback.IngressDevice, c.Bindings()[0].Ingress)
			assert.NoError(t, c.Bindings()[0].Err)
			c.Close()
		}
	}
}

// TestIngressFallback takes from the kernel what the rungs need, one after the
// other: an older one, or a sandbox.
func TestIngressFallback(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	rungs := []loopback.Ingress{loopback.IngressDevice, loopback.IngressCheck, loopback.IngressRemote, loopback.IngressAny}
	want := func(lacking int) {
		t.Helper()
		for name, listen := range listenFuncs {
			c, err := listen(new(loopback.ListenConfig), t.Context(), "", ":0")
			require.NoError(t, err)
			for _, b := range c.Bindings() {
				assert.Equal(t, rungs[lacking], b.Ingress, "%v", b)
				for _, rung := range rungs[:lacking] {
					assert.ErrorContains(t, b.Err, "ingress "+rung.String()+": ")
				}
				assert.Equal(t, lacking == 0, b.Err == nil)
			}
			c.Close()
			for i, rung := range rungs {
				c, err := listen(&loopback.ListenConfig{Ingress: rung}, t.Context(), "", ":0")
				if i < lacking {
					assert.ErrorIs(t, err, errors.ErrUnsupported, "%s %v", name, rung)
					assert.ErrorContains(t, err, "ingress "+rung.String()+": ")
					continue
				}
				if assert.NoError(t, err) {
					assert.Equal(t, rung, c.Bindings()[0].Ingress)
					c.Close()
				}
			}
		}
	}
	want(0)
	filterSyscall(t, unix.SYS_SETSOCKOPT, 2, unix.SO_BINDTODEVICE, unix.EPERM)
	want(1)
	filterSyscall(t, unix.SYS_SETSOCKOPT, 2, unix.IP_PKTINFO, unix.ENOPROTOOPT)
	filterSyscall(t, unix.SYS_SETSOCKOPT, 2, unix.IPV6_RECVPKTINFO, unix.ENOPROTOOPT)
	filterSyscall(t, unix.SYS_GETSOCKOPT, 2, unix.IPV6_MULTICAST_IF, unix.ENOPROTOOPT)
	want(2)
	_, err := (&loopback.ListenConfig{Ingress: loopback.IngressCheck}).Listen(t.Context(), "tcp", "[::1]:0")
	assert.ErrorContains(t, err, "getsockopt IPV6_MULTICAST_IF: ")
}
