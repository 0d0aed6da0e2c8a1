//go:build !linux

package sockctl

import "syscall"

func reservePort() (port uint16, release func()) { return 0, func() {} }

func noReuse(syscall.RawConn) error { return nil }
