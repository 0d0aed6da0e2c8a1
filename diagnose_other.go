//go:build !linux

package loopback

import "errors"

func wire([]iface) ([]WireReport, error) {
	return nil, errors.New("only Linux can be asked how it would route a packet")
}

func ipv6Off([]InterfaceReport) (cause, fix string) { return "", "" }
