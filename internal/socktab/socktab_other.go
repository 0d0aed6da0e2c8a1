//go:build !linux

package socktab

import (
	"errors"
	"syscall"
)

const loopbackIndex = 0

func onPort(uint16) ([]Socket, error) { return nil, errors.ErrUnsupported }

type peers struct{}

func openPeers() (*Peers, error) { return nil, errors.ErrUnsupported }

func (*peers) uid(syscall.Conn) (uint32, error) { return 0, errors.ErrUnsupported }

func (*peers) close() error { return nil }
