package loopbacktest_test

import (
	"net"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/loopback/internal/netnstest"
	"example.com/loopback/loopbacktest"
)

// The resolver of package net puts a loopback address before all but the IPv6
// addresses of a machine that has such an address.
func TestTestForbidFindsACheckOfTheFirstAnswerAlone(t *testing.T) {
	if !netnstest.In(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	netnstest.Run(t, "ip", "addr", "add", "2001:db8::1/128", "dev", "lo", "nodad")
	first := checkThenDial(func(ips []net.IP) bool { return !isLocal(ips[0]) }, byIP)
	assert.ErrorContains(t, loopbacktest.TestForbid(t.Context(), first), "tcp own6.loopbacktest.test")
	assert.NoError(t, loopbacktest.TestForbid(t.Context(), checkThenDial(all(isLocal), byIP)))
}
