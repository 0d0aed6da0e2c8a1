package main

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// doctor runs the program.
func doctor(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"-nonsense"}, {"argument"}, {"-json=maybe"}} {
		code, stdout, stderr := doctor(t, args...)
		assert.Equal(t, 2, code, "%q", args)
		assert.Empty(t, stdout, "%q", args)
		assert.Contains(t, stderr, "usage: doctor", "%q", args)
	}
	code, _, stderr := doctor(t, "-h")
	assert.Equal(t, 0, code)
	assert.Contains(t, stderr, "exit status")
}

func TestReport(t *testing.T) {
	code, stdout, stderr := doctor(t)
	assert.Equal(t, 0, code)
	assert.Empty(t, stderr)
	assert.Contains(t, stdout, "loopback interfaces\n")
}

func TestJSON(t *testing.T) {
	code, stdout, stderr := doctor(t, "-json")
	assert.Equal(t, 0, code)
	assert.Empty(t, stderr)
	var got map[string]any
	require.NoError(t, json.Unmarshal([]byte(stdout), &got))
	assert.Contains(t, got, "interfaces")
	assert.Contains(t, got, "localhost")
}
