//go:build !linux

package socktab

import "errors"

const loopbackIndex = 0

func onPort(uint16) ([]Socket, error) { return nil, errors.ErrUnsupported }
