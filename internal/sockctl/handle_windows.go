package sockctl

import "syscall"

// What package syscall names otherwise on other systems, or lacks: winsock2.h.
type handle = syscall.Handle

const (
	soType       = 0x1008
	soAcceptConn = 0x0002
)
