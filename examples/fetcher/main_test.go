package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
)

// fetch runs the program and returns what it prints.
func fetch(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, err strings.Builder
	status = run(t.Context(), args, &out, &err)
	return status, out.String(), err.String()
}

func TestFetcherRefusesThisMachine(t *testing.T) {
	var reached atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer srv.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(srv.URL, "http://"), ":")
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::]", "0.0.0.0", "", "127。0。0。1", "localhoſt"} {
		status, out, _ := fetch(t, "http://"+host+":"+port+"/hook")
		assert.Equal(t, 1, status, host)
		assert.NotContains(t, out, "delivered", host)
	}
	assert.Zero(t, reached.Load())
}

func TestFetcherSaysWhatIsWrong(t *testing.T) {
	for _, args := range [][]string{nil, {"-nonsense", "http://192.0.2.1/"}} {
		status, _, stderr := fetch(t, args...)
		assert.Equal(t, 2, status)
		assert.Contains(t, stderr, "usage: fetcher")
	}
	status, out, _ := fetch(t, "-h")
	assert.Equal(t, 0, status)
	assert.Contains(t, out, "usage: fetcher")
	status, out, _ = fetch(t, "nonsense")
	assert.Equal(t, 1, status)
	assert.Contains(t, out, "failed     nonsense: ")
}
