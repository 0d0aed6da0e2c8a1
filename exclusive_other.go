//go:build !windows

package loopback

import "syscall"

// setExclusive does nothing: a port that is bound is another's here.
func setExclusive(syscall.RawConn) error { return nil }
