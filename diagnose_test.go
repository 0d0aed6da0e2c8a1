package loopback_test

import (
	"context"
	"encoding/json"
	"maps"
	"net"
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
}
