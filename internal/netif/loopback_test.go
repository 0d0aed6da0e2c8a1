package netif_test

import (
	"net"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback/internal/netif"
)

func TestFindLoopbackAgreesWithNet(t *testing.T) {
	lo, err := netif.FindLoopback()
	require.NoError(t, err)
	ifi, err := net.InterfaceByIndex(lo.Index)
	if err != nil {
		t.Skipf("package net shows no interface %+v: %v", lo, err)
	}
	assert.Equal(t, ifi.Name, lo.Name)
	assert.Equal(t, ifi.Flags&net.FlagUp != 0, lo.Up)
	assert.NotZero(t, ifi.Flags&net.FlagLoopback)
}

func TestParameterWritesDotsAsSlashes(t *testing.T) {
	assert.Equal(t, "net.ipv4.conf.lo.route_localnet", netif.Parameter("ipv4", "lo", "route_localnet"))
	assert.Equal(t, "net.ipv6.conf.eth0/7.disable_ipv6", netif.Parameter("ipv6", "eth0.7", "disable_ipv6"))
}

func TestIPv6OffNamesASmallMTU(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("kernel parameters are those of Linux")
	}
	lo, err := netif.FindLoopback()
	require.NoError(t, err)
	if cause, _ := netif.IPv6Off(net.Interface{Name: lo.Name, MTU: 65536}); cause != "" {
		t.Skipf("IPv6 is off here: %s", cause)
	}
	for mtu, want := range map[int]string{1279: "the MTU of " + lo.Name + " is 1279, and IPv6 needs 1280", 1280: ""} { // RFC 8200, section 5
		cause, fix := netif.IPv6Off(net.Interface{Name: lo.Name, MTU: mtu})
		assert.Equal(t, want, cause)
		assert.Equal(t, want != "", fix != "")
	}
}
