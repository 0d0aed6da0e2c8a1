//go:build !linux

package netif

import "net"

func nonZero(string, string, string) []string { return nil }

func ipv6Off(net.Interface) (cause, fix string) { return "", "" }
