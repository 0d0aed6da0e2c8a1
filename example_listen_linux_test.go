package loopback_test

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback/internal/netnstest"
)

// The client that the documentation shows is not held up by a family that is
// filtered, whichever it is, and reports both where neither answers.
func TestExampleClientRacesFamilies(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.NeedNFT(t)
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	ln := listening(t, ":"+servicePort)
	go answer(ln)
	for _, dropped := range []string{"ip6 daddr ::1", "ip daddr 127.0.0.1"} {
		netnstest.Run(t, "nft", "table inet drops { chain in { type filter hook input priority 0; "+dropped+" tcp dport "+servicePort+" drop; }; }")
		start := time.Now()
		c, err := dialFirst(t.Context(), "tcp", net.JoinHostPort("app.localhost", servicePort))
		require.NoError(t, err)
		assert.Less(t, time.Since(start), 2*time.Second)
		c.Close()
		netnstest.Run(t, "nft", "delete table inet drops")
	}
	ln.Close()
	_, err := dialFirst(t.Context(), "tcp", net.JoinHostPort("localhost", servicePort))
	for _, addr := range both {
		assert.ErrorContains(t, err, addr)
	}
}
