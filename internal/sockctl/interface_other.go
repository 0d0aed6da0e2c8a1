//go:build !linux

package sockctl

import (
	"errors"
	"net/netip"
	"syscall"
)

func bindToDevice(syscall.RawConn, string) error { return errors.ErrUnsupported }

func reportInterface(syscall.RawConn, netip.Addr) error { return errors.ErrUnsupported }

const controlSize = 0

func datagramInterface([]byte) int { return 0 }

func connInterface(uintptr, netip.Addr) (int, error) { return 0, errors.ErrUnsupported }
