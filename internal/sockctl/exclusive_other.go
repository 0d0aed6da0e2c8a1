//go:build !windows

package sockctl

import "syscall"

const exclusiveOnRequest = false

func exclusive(syscall.RawConn) error { return nil }
