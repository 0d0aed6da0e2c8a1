//go:build unix

package syserr

import (
	"syscall"

	"golang.org/x/sys/unix"
)

func name(errno syscall.Errno) string { return unix.ErrnoName(errno) }
