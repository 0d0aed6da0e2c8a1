package netif_test

import (
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback/internal/netif"
)

// Every address of every interface of this machine is its own.
func TestIsLocalOfEveryInterfaceAddress(t *testing.T) {
	if os.Getenv("LOOPBACK_TEST_EMULATED") != "" {
		t.Skip("qemu-user lacks part of netlink")
	}
	for _, addr := range interfaceAddrs(t) {
		got, err := netif.IsLocal(addr)
		require.NoError(t, err)
		assert.True(t, got, "%v", addr)
	}
}

// interfaceAddrs returns the addresses of the interfaces that are up.
func interfaceAddrs(t *testing.T) (addrs []netip.Addr) {
	t.Helper()
	ifs, err := net.Interfaces()
	if err != nil {
		t.Skipf("package net cannot ask: %v", err)
	}
	for _, ifi := range ifs {
		as, err := ifi.Addrs()
		require.NoError(t, err)
		for _, a := range as {
			p, err := netip.ParsePrefix(a.String())
			if err == nil && ifi.Flags&net.FlagUp != 0 {
				addrs = append(addrs, p.Addr().Unmap())
			}
		}
	}
	return addrs
}
