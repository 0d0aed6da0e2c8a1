package loopback_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
)

// deaf returns a resolver that must not be asked.
func deaf(t *testing.T) *loopback.Resolver {
	return &loopback.Resolver{Net: &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		t.Error("a server was asked")
		return nil, errors.New("deaf")
	}}}
}

func TestLookupNetIPAnswersLocalhostItself(t *testing.T) {
	done, cancel := context.WithCancel(t.Context())
	cancel()
	for _, host := range []string{
		"localhost", "LOCALHOST", "LocalHost", "localhost.", "LOCALHOST.", "app.localhost", "a.b.localhost", "app.localhost.",
		"x_y.localhost", strings.Repeat("a", 63) + ".localhost",
	} {
		for _, r := range []*loopback.Resolver{nil, {}, deaf(t)} {
			for network, want := range map[string]string{"ip": "::1 127.0.0.1", "ip4": "127.0.0.1", "ip6": "::1"} {
				for _, ctx := range []context.Context{t.Context(), done} {
					got, err := r.LookupNetIP(ctx, network, host)
					require.NoError(t, err, "%s %s", network, host)
					assert.Equal(t, parseAddrs(want), got, "%s %s", network, host)
				}
			}
		}
	}
	got, err := loopback.LookupNetIP(t.Context(), "ip", "localhost")
	require.NoError(t, err)
	got[0] = netip.Addr{}
	again, err := loopback.LookupNetIP(t.Context(), "ip", "localhost")
	require.NoError(t, err)
	assert.Equal(t, parseAddrs("::1 127.0.0.1"), again, "the caller may change what it got")
}

func TestLookupNetIPRefusesOtherNetworks(t *testing.T) {
	for _, network := range []string{"", "tcp", "tcp4", "udp", "ip5", "IP", "ip:icmp", "ip4:1", "unix"} {
		for _, host := range []string{"localhost", "127.0.0.1", "db.internal"} {
			got, err := deaf(t).LookupNetIP(t.Context(), network, host)
			assert.Nil(t, got)
			assert.Equal(t, net.UnknownNetworkError(network), err, "%s %s", network, host)
		}
	}
}

func TestLookupNetIPAsksForOtherNames(t *testing.T) {
	dns := new(nameServer)
	dns.set(map[string]string{
		"db.internal":           "192.0.2.1 2001:db8::1",
		"twice.internal":        "192.0.2.1 192.0.2.1 ::1 ::1 192.0.2.2",
		"mapped.internal":       "127.0.0.1 ::ffff:127.0.0.1",
		"notlocalhost":          "192.0.2.3",
		"localhost.internal":    "192.0.2.4",
		"localhost.localdomain": "192.0.2.5",
	})
	r := &loopback.Resolver{Net: dns.resolver(t)}
	for _, tt := range []struct{ network, host, want string }{
		{"ip", "db.internal.", "192.0.2.1 2001:db8::1"},
		{"ip4", "db.internal.", "192.0.2.1"},
		{"ip6", "db.internal.", "2001:db8::1"},
		{"ip", "twice.internal.", "192.0.2.1 ::1 192.0.2.2"},
		{"ip4", "twice.internal.", "192.0.2.1 192.0.2.2"},
		{"ip", "mapped.internal.", "127.0.0.1"},
		{"ip", "notlocalhost.", "192.0.2.3"},
		{"ip", "localhost.internal.", "192.0.2.4"},
		{"ip", "localhost.localdomain.", "192.0.2.5"},
		{"ip", "127.0.0.1", "127.0.0.1"},
		{"ip", "::ffff:127.0.0.1", "127.0.0.1"},
		{"ip4", "::ffff:192.0.2.1", "192.0.2.1"},
		{"ip", "::1", "::1"},
		{"ip6", "::1", "::1"},
		{"ip6", "fe80::1%lo", "fe80::1"},
	} {
		got, err := r.LookupNetIP(t.Context(), tt.network, tt.host)
		require.NoError(t, err, "%s %s", tt.network, tt.host)
		assert.ElementsMatch(t, parseAddrs(tt.want), got, "%s %s", tt.network, tt.host)
	}

	for _, tt := range []struct{ network, host string }{
		{"ip", ""}, {"ip", "none.internal."}, {"ip", "local host"}, {"ip", "localhost\x00"}, {"ip", "localhost.."},
		{"ip", strings.Repeat("a", 300)}, {"ip", strings.Repeat("a", 64) + ".localhost"},
		{"ip4", "::1"}, {"ip6", "127.0.0.1"}, {"ip6", "::ffff:127.0.0.1"},
	} {
		got, err := r.LookupNetIP(t.Context(), tt.network, tt.host)
		assert.Error(t, err, "%s %q", tt.network, tt.host)
		assert.Nil(t, got)
	}
	_, err := r.LookupNetIP(t.Context(), "ip", "none.internal.")
	dnsErr, ok := errors.AsType[*net.DNSError](err)
	require.True(t, ok, "%T", err)
	assert.True(t, dnsErr.IsNotFound)
	assert.Contains(t, err.Error(), "none.internal")
}

func TestLookupNetIPEndsWithContext(t *testing.T) {
	dns := new(nameServer)
	dns.set(map[string]string{"silent.internal": ""})
	r := &loopback.Resolver{Net: dns.resolver(t)}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := r.LookupNetIP(ctx, "ip", "silent.internal.")
	dnsErr, ok := errors.AsType[*net.DNSError](err)
	require.True(t, ok, "%T", err)
	assert.True(t, dnsErr.IsTimeout)
	assert.Less(t, time.Since(start), 2*time.Second)
}

func TestLookupNetIPAllocatesOnce(t *testing.T) {
	for _, network := range []string{"ip", "ip4", "ip6"} {
		for _, host := range []string{"localhost", "LOCALHOST.", "app.localhost"} {
			n := allocs(100, func() {
				if _, err := loopback.LookupNetIP(t.Context(), network, host); err != nil {
					t.Error(err)
				}
			})
			assert.LessOrEqual(t, n, 1.0, "%s %s", network, host)
		}
	}
}

func TestResolverServesGoroutines(t *testing.T) {
	dns := new(nameServer)
	dns.set(map[string]string{"db.internal": "192.0.2.1"})
	r := &loopback.Resolver{Net: dns.resolver(t)}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_, err := r.LookupNetIP(t.Context(), "ip", "db.internal.")
			assert.NoError(t, err)
			res, err := r.Resolve(t.Context(), "db.internal.")
			assert.NoError(t, err)
			assert.Equal(t, loopback.VerdictNotLoopback, res.Verdict)
		})
	}
	wg.Wait()
}

func TestResolveRefusesWhatIsNoName(t *testing.T) {
	const part = " is not part of a host name"
	for name, why := range map[string]string{
		"":                                  "the name is empty",
		".":                                 "the name is empty",
		" ":                                 "' '" + part,
		"local host":                        "' '" + part,
		" localhost":                        "' '" + part,
		"localhost\n":                       `'\n'` + part,
		"local\x00host":                     `'\x00'` + part,
		"localhost\u00a0":                   `'\u00a0'` + part,
		"localhost\xff":                     "the name is not valid UTF-8",
		"localhost:80":                      "':'" + part,
		"[::1]":                             "'['" + part,
		"http://localhost/":                 "':'" + part,
		"127.0.0.1/8":                       "'/'" + part,
		"a@localhost":                       "'@'" + part,
		`a"b`:                               `'"'` + part,
		"a#b":                               "'#'" + part,
		"a%b":                               "'%'" + part,
		"a?b":                               "'?'" + part,
		`a\b`:                               `'\\'` + part,
		"a]b":                               "']'" + part,
		"localhost..":                       "a label of 0 bytes; 1 to 63 are allowed",
		".localhost":                        "a label of 0 bytes; 1 to 63 are allowed",
		strings.Repeat("a", 64):             "a label of 64 bytes; 1 to 63 are allowed",
		strings.Repeat("a", 300):            "a name of 300 bytes; 253 is the limit",
		strings.Repeat("b.", 126) + "cc":    "a name of 254 bytes; 253 is the limit",
		strings.Repeat("abcdefghi.", 26):    "a name of 259 bytes; 253 is the limit",
		strings.Repeat("localhost.", 1<<20): "a name of 10485759 bytes; 253 is the limit",
	} {
		res, err := loopback.Resolve(t.Context(), name)
		assert.Nil(t, res)
		require.Error(t, err, "%.64q", name)
		assert.True(t, strings.HasPrefix(err.Error(), "loopback: resolve \""), err.Error())
		assert.True(t, strings.HasSuffix(err.Error(), ": "+why), err.Error())
		assert.Less(t, len(err.Error()), 400)
	}
	long := strings.Repeat("abcdefghi.", 25) + "abc" // 253 bytes
	res, err := (&loopback.Resolver{Net: new(nameServer).resolver(t)}).Resolve(t.Context(), long)
	require.NoError(t, err)
	assert.Equal(t, loopback.VerdictMissing, res.Verdict)

	label := strings.Repeat("a", 63) + ".localhost." // the final dot leaves the search list out
	res, err = (&loopback.Resolver{Net: new(nameServer).resolver(t)}).Resolve(t.Context(), label)
	require.NoError(t, err)
	assert.Equal(t, label, res.Name)

	done, cancel := context.WithCancel(t.Context())
	cancel()
	res, err = loopback.Resolve(done, "localhost")
	assert.Nil(t, res)
	assert.ErrorIs(t, err, context.Canceled)
	assert.EqualError(t, err, `loopback: resolve "localhost": context canceled`)
	past, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancel()
	_, err = loopback.Resolve(past, "localhost")
	assert.ErrorIs(t, err, context.DeadlineExceeded)
}

// A connection that the context leaves no time for is no sign that all is well.
func TestResolveEndsWithContextBeforeConnecting(t *testing.T) {
	skipWithoutSockets(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	res, err := loopback.Resolve(endsOnceAsked{ctx, cancel}, "127.0.0.1")
	require.NoError(t, err)
	assert.Equal(t, loopback.VerdictUnreachable, res.Verdict)
	assert.ErrorIs(t, res.Answers[0].Connect.Err, context.Canceled)
	assert.Contains(t, res.Findings[0].Fix, "give Resolve more time; ")
}

// With less time than all of it may take, the fix does not blame the machine alone.
func TestResolveInAHurry(t *testing.T) {
	ln, err := loopback.Listen("tcp", ":0")
	if err != nil || len(ln.AddrPorts()) < 2 {
		t.Skipf("needs both families: %v", err)
	}
	ln.Close()
	for after := time.Duration(0); after < 2*time.Millisecond; after += 20 * time.Microsecond {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		res, err := loopback.Resolve(ctx, "127.0.0.1")
		cancel()
		if err != nil {
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			continue
		}
		for _, f := range res.Findings {
			assert.Equal(t, loopback.VerdictUnreachable, f.Verdict)
			assert.Equal(t, "give Resolve more time; if that does not help, let the firewall pass what goes through the loopback interface", f.Fix)
		}
	}
}

// endsOnceAsked is a context that ends when it has said that it has not.
type endsOnceAsked struct {
	context.Context
	end context.CancelFunc
}

func (c endsOnceAsked) Err() error {
	defer c.end()
	return c.Context.Err()
}

func TestProbeBadInput(t *testing.T) {
	r, err := loopback.Probe(t.Context(), 0)
	assert.Nil(t, r)
	assert.EqualError(t, err, "loopback: probe port 0: nothing can listen there")
	done, cancel := context.WithCancel(t.Context())
	cancel()
	r, err = loopback.Probe(done, 80)
	assert.Nil(t, r)
	assert.ErrorIs(t, err, context.Canceled)
	assert.EqualError(t, err, "loopback: probe port 80: context canceled")
}

func TestResolutionAsJSON(t *testing.T) {
	dns := new(nameServer)
	dns.set(map[string]string{"db.internal": "192.0.2.1"})
	res, err := (&loopback.Resolver{Net: dns.resolver(t)}).Resolve(t.Context(), "db.internal.")
	require.NoError(t, err)
	res.Findings = res.Findings[:1] // there may be remarks on this machine's hosts file
	assert.Regexp(t, "^put `127\\.0\\.0\\.1 db\\.internal\\.`.* into .*hosts, if it is to be loopback$", res.Findings[0].Fix)
	res.Findings[0].Fix = "..." // which has the path of that file, and only the addresses that this machine has
	data, err := json.Marshal(res)
	require.NoError(t, err)
	assert.JSONEq(t, `{"name":"db.internal.","verdict":"NOT-LOOPBACK",
		"answers":[{"addr":"192.0.2.1","source":"resolver","bind":null,"connect":null}],
		"dial":["192.0.2.1"],"listen":"",
		"findings":[{"verdict":"NOT-LOOPBACK","level":"error","message":"db.internal. is 192.0.2.1, not loopback","evidence":"resolver",
			"fix":"..."}]}`, string(data))

	res, err = (&loopback.Resolver{Net: new(nameServer).resolver(t)}).Resolve(t.Context(), "none.internal.")
	require.NoError(t, err)
	res.Findings = res.Findings[:0]
	data, err = json.Marshal(res)
	require.NoError(t, err)
	assert.JSONEq(t, `{"name":"none.internal.","verdict":"MISSING","answers":[],"dial":[],"listen":"","findings":[]}`, string(data),
		"lists are never null")
}

// More answers than anyone would try.
func TestResolveTriesNoMoreThan64Answers(t *testing.T) {
	var zone strings.Builder
	for i := range 200 {
		zone.WriteString(netip.AddrFrom4([4]byte{127, 1, 0, byte(i)}).String() + " ")
	}
	dns := new(nameServer)
	dns.set(map[string]string{"many.internal": zone.String()})
	res, err := (&loopback.Resolver{Net: dns.resolver(t)}).Resolve(t.Context(), "many.internal.")
	require.NoError(t, err)
	require.Len(t, res.Answers, 200)
	tried := 0
	for _, a := range res.Answers {
		if a.Bind.Tried {
			tried++
		}
	}
	assert.Equal(t, 64, tried)
}

// A server that cannot be dialled is a lookup that failed, and the error is in
// the report.
func TestResolveWhereNoServerCanBeDialled(t *testing.T) {
	var r loopback.Resolver
	var asked atomic.Bool
	r.Net = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		asked.Store(true)
		return nil, errors.New("the cable is cut")
	}}
	res, err := r.Resolve(t.Context(), "app.example")
	require.NoError(t, err)
	if !asked.Load() {
		t.Skip("package net asks no server here")
	}
	assert.Equal(t, loopback.VerdictLookupFailed, res.Verdict)
	require.NotEmpty(t, res.Findings)
	assert.Contains(t, res.Findings[0].Message, "the cable is cut", "%v", res)
	assert.Empty(t, res.Answers)
}

// The order of net.Dial and the choice of net.Listen, of any answer.
func TestDialAndListenTakeAddressesAsPackageNet(t *testing.T) {
	for _, tt := range []struct {
		name, found string
		repeats     bool
		dial        string
		listen      string
	}{
		{"localhost", "127.0.0.1", false, "127.0.0.1", "127.0.0.1"},
		{"localhost", "::1", false, "::1", "::1"},
		{"localhost", "::1 127.0.0.1", false, "::1 127.0.0.1", "127.0.0.1"},
		{"localhost", "127.0.0.1 ::1 127.0.0.2 ::2", false, "127.0.0.1 127.0.0.2 ::1 ::2", "127.0.0.1"},
		{"localhost", "::2 127.0.0.2 ::1 127.0.0.1", false, "::2 ::1 127.0.0.2 127.0.0.1", "127.0.0.2"},
		{"::1", "::1", false, "::1", "::1"},
		{"fe80::1%1", "127.0.0.1 ::1", false, "127.0.0.1 ::1", "::1"},
		{"::", "::", false, ":: 0.0.0.0", "::"},
		{"any", "::", false, ":: 0.0.0.0", "0.0.0.0"},
		{"any", "::%1", false, "::%1 0.0.0.0", "0.0.0.0"},
		{"any", "::", true, "::", "::"},
		{"any", ":: ::1", false, ":: ::1", "::"},
		{"any", "0.0.0.0", false, "0.0.0.0", "0.0.0.0"},
	} {
		order := loopback.DialOrder(parseAddrs(tt.found), tt.repeats)
		assert.Equal(t, parseAddrs(tt.dial), order, "%s: %s", tt.name, tt.found)
		assert.Equal(t, netip.MustParseAddr(tt.listen), loopback.ListenAddr(order, tt.name), "%s: %s", tt.name, tt.found)
	}
}

func TestAttemptsLeaveTimeForWhatFollows(t *testing.T) {
	assert.Equal(t, time.Second, loopback.Within(t.Context(), time.Second))
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	assert.Equal(t, time.Second, loopback.Within(ctx, time.Second))
	d := loopback.Within(ctx, 2*time.Hour)
	assert.LessOrEqual(t, d, 45*time.Minute, "three quarters of what is left")
	assert.Greater(t, d, 40*time.Minute)
}

func TestStubIsThatOfSystemd(t *testing.T) {
	_, err := os.Stat("/run/systemd/resolve/stub-resolv.conf")
	for server, want := range map[string]bool{
		"": true, "127.0.0.53:53": err == nil, "127.0.0.54:53": err == nil,
		"127.0.0.55:53": false, "127.0.0.53:54": false, "127.0.0.53": false, "192.0.2.1:53": false,
	} {
		assert.Equal(t, want, loopback.IsStub(server), "%q", server)
	}
}
