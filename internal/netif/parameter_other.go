//go:build !linux

package netif

import (
	"net"
	"net/netip"
)

func nonZero(string, string, string) []string { return nil }

func ipv6Off(net.Interface) (cause, fix string) { return "", "" }

func nonlocalBind(netip.Addr) string { return "" }
