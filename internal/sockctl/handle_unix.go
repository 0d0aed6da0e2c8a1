//go:build unix

package sockctl

import "syscall"

// What package syscall names otherwise on other systems.
type handle = int

const (
	soType       = syscall.SO_TYPE
	soAcceptConn = syscall.SO_ACCEPTCONN
)
