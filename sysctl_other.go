//go:build !linux

package loopback

import "net"

func ipv6Off(net.Interface) (cause, fix string) { return "", "" }
