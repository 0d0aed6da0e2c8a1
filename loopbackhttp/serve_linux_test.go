package loopbackhttp_test

import (
	"net/http"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
	"example.com/loopback/loopbackhttp"
)

// serves reports whether a socket is that of a server of HTTP, and not a temporary
// one of the proofs.
func serves(s loopback.Socket) bool {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + s.Addr.String())
	if err != nil {
		return false
	}
	resp.Body.Close()
	return true
}

// A server that cannot accept any more says so.
func TestListenAndServeSaysWhyItEnds(t *testing.T) {
	if os.Getenv("LOOPBACK_TEST_EMULATED") != "" {
		t.Skip("needs a listener that shutdown(2) ends")
	}
	before, err := loopback.Sockets()
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- loopbackhttp.ListenAndServe("127.0.0.1:0", nil) }()
	for start := time.Now(); ; time.Sleep(time.Millisecond) { // until it listens
		sockets, err := loopback.Sockets()
		require.NoError(t, err)
		if i := slices.IndexFunc(sockets, func(s loopback.Socket) bool { return s.Network == "tcp" && !slices.Contains(before, s) && serves(s) }); i >= 0 {
			require.NoError(t, syscall.Shutdown(sockets[i].FD, syscall.SHUT_RDWR)) // then accept(2) fails
			select {
			case err := <-ended:
				assert.EqualError(t, err, "accept tcp "+sockets[i].Addr.String()+": accept4: invalid argument")
				return
			case <-time.After(10 * time.Second):
				require.FailNow(t, "it goes on")
			}
		}
		require.Less(t, time.Since(start), 10*time.Second, "it never listened")
	}
}
