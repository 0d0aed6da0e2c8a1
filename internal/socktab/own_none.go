//go:build !unix && !windows

package socktab

import "errors"

func own() ([]OwnSocket, error) { return nil, errors.ErrUnsupported }
