package loopback_test

import (
	"context"
	"encoding/json"
	"maps"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
)

// Whatever machine the tests run on: a report, in time, that a script can read
// and a person, too.
func TestDiagnoseHere(t *testing.T) {
	r := diagnoseInTime(t)
	t.Logf("%v", r)

	data, err := json.Marshal(r)
	require.NoError(t, err)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(data, &fields))
	assert.Equal(t, []string{"absent", "exposed", "findings", "interfaces", "ipv4", "ipv6", "localhost", "misplaced", "range", "verdict", "wire"},
		slices.Sorted(maps.Keys(fields)))
	absent := make(map[string]string)
	for _, a := range r.Absent {
		absent[a.Part] = a.Reason
	}
	for name, value := range fields {
		if value == nil {
			assert.NotEmpty(t, absent[name], "%s is absent without a reason", name)
		}
	}
	assert.Equal(t, []netip.Addr{loopback.IPv4(), loopback.IPv6()}, []netip.Addr{r.IPv4.Addr, r.IPv6.Addr})
	assert.True(t, r.IPv4.Bind.Tried && r.IPv6.Bind.Tried)
	var samples []netip.Addr
	for _, s := range r.Range {
		samples = append(samples, s.Addr)
		assert.True(t, s.Bind.Tried, "%v", s.Addr)
	}
	assert.Equal(t, parseAddrs("127.0.0.1 127.0.0.2 127.1.2.3 127.255.255.254"), samples)
	if r.Localhost != nil {
		assert.Equal(t, "localhost", r.Localhost.Name)
	}
	_, err = net.Interfaces() // which qemu-user may have failed to emulate
	assert.Equal(t, runtime.GOOS == "linux" && err == nil, r.Wire != nil, "only Linux tells what routing lets in: %v", r.Absent)
}

func TestDiagnoseContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := loopback.Diagnose(ctx)
	assert.Nil(t, r)
	assert.ErrorIs(t, err, context.Canceled)
	assert.ErrorContains(t, err, "loopback: ")

	r, err = loopback.Diagnose(overdue{t.Context()})
	assert.Nil(t, r)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
}
