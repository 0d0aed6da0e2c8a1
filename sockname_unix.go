//go:build unix

package loopback

import "syscall"

// What package syscall calls otherwise on other systems.
type handle = int

const (
	soType       = syscall.SO_TYPE
	soAcceptConn = syscall.SO_ACCEPTCONN
)
