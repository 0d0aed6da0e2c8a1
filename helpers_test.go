package loopback_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// requireReadBack reads v back from its JSON, and expects the same JSON and the
// same text of what it reads.
func requireReadBack[T interface{ String() string }](t *testing.T, v T) {
	t.Helper()
	data, err := json.Marshal(v)
	require.NoError(t, err)
	back := new(T)
	require.NoError(t, json.Unmarshal(data, back))
	again, err := json.Marshal(back)
	require.NoError(t, err)
	require.JSONEq(t, string(data), string(again))
	require.Equal(t, string(data), string(again))
	assert.Equal(t, v.String(), (*back).String())
}
