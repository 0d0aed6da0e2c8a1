//go:build unix

package syserr

import (
	"syscall"

	"golang.org/x/sys/unix"
)

func name(errno syscall.Errno) string { return unix.ErrnoName(errno) }

// ranges holds the numbers that name may know.
var ranges = []struct{ first, last syscall.Errno }{{1, 4095}} // MAX_ERRNO of Linux
