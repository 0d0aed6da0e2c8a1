//go:build unix

package loopback

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// errnoName returns the name of an error number, as "ECONNREFUSED", or "" for
// one without a name.
func errnoName(errno syscall.Errno) string { return unix.ErrnoName(errno) }
