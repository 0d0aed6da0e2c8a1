package loopback_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/loopback"
)

// An attempt is what comes of connecting to an address.
type attempt struct {
	takes time.Duration
	fails error
}

// raced is a connection of a race.
type raced struct {
	net.Conn
	to     string
	closed bool
}

func (c *raced) Close() error {
	c.closed = true
	return nil
}

// The first address that answers wins. Where one is slow, or fails, the next is
// tried, TCP beside it. What connects too late is closed, and nothing goes on.
func TestRace(t *testing.T) {
	const six, four = "[::1]:80", "127.0.0.1:80"
	const delay = 100 * time.Millisecond
	refused, other := errors.New("refused"), errors.New("other")
	for _, tt := range []struct {
		name     string
		network  string
		attempts map[string]attempt
		winner   string
		takes    time.Duration
		started  map[string]time.Duration
		errs     []error // if there is no winner
	}{
		{"at once", "tcp", map[string]attempt{six: {}, four: {}}, six, 0, map[string]time.Duration{six: 0}, nil},
		{"just in time", "tcp", map[string]attempt{six: {takes: delay - 1}, four: {}}, six, delay - 1, map[string]time.Duration{six: 0}, nil},
		{"slow", "tcp", map[string]attempt{six: {takes: time.Hour}, four: {takes: 1}}, four, delay + 1,
			map[string]time.Duration{six: 0, four: delay}, nil},
		{"the other is slower", "tcp6", map[string]attempt{six: {takes: 2 * delay}, four: {takes: time.Hour}}, six, 2 * delay,
			map[string]time.Duration{six: 0, four: delay}, nil},
		{"refused", "tcp", map[string]attempt{six: {takes: 1, fails: refused}, four: {takes: 2}}, four, 3,
			map[string]time.Duration{six: 0, four: 1}, nil},
		{"refused, by UDP", "udp4", map[string]attempt{six: {takes: 1, fails: refused}, four: {takes: 2}}, four, 3,
			map[string]time.Duration{six: 0, four: 1}, nil},
		{"refused late", "tcp", map[string]attempt{six: {takes: 2 * delay, fails: refused}, four: {takes: 2 * delay}}, four, 3 * delay,
			map[string]time.Duration{six: 0, four: delay}, nil},
		{"both fail", "tcp", map[string]attempt{six: {takes: time.Hour, fails: refused}, four: {fails: other}}, "", time.Hour,
			map[string]time.Duration{six: 0, four: delay}, []error{refused, other}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				started := map[string]time.Duration{}
				addrs := []netip.AddrPort{netip.MustParseAddrPort(six), netip.MustParseAddrPort(four)}
				var mu sync.Mutex
				running := 0
				count := func(n int) {
					mu.Lock()
					defer mu.Unlock()
					running += n
				}
				won, errs := loopback.Race(t.Context(), tt.network, addrs, func(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
					assert.Equal(t, tt.network, network)
					mu.Lock()
					started[to.String()] = time.Since(begin)
					mu.Unlock()
					count(1)
					defer count(-1)
					a := tt.attempts[to.String()]
					select {
					case <-ctx.Done():
						return nil, ctx.Err()
					case <-time.After(a.takes):
					}
					if a.fails != nil {
						return nil, a.fails
					}
					return &raced{to: to.String()}, nil
				})
				if tt.winner == "" {
					assert.Nil(t, won)
					assert.Equal(t, tt.errs, errs)
				} else if c, ok := won.(*raced); assert.True(t, ok) {
					assert.Equal(t, tt.winner, c.to)
					assert.False(t, c.closed)
				}
				assert.Equal(t, tt.takes, time.Since(begin))
				assert.Equal(t, tt.started, started)
				assert.Zero(t, running, "an attempt goes on")
			})
		})
	}
}

// Of two connections at the same time, one is closed.
func TestRaceClosesWhatIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var conns []*raced
		addrs := []netip.AddrPort{netip.MustParseAddrPort("[::1]:80"), netip.MustParseAddrPort("127.0.0.1:80")}
		won, _ := loopback.Race(t.Context(), "tcp", addrs, func(context.Context, string, netip.AddrPort) (net.Conn, error) {
			c := &raced{}
			mu.Lock()
			conns = append(conns, c)
			first := len(conns) == 1
			mu.Unlock()
			if first {
				time.Sleep(time.Hour) // and does not look at its context
			}
			return c, nil
		})
		if assert.Len(t, conns, 2) {
			assert.Same(t, conns[1], won)
			assert.False(t, conns[1].closed)
			assert.True(t, conns[0].closed)
		}
	})
}
