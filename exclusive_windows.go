package loopback

import (
	"os"
	"syscall"

	"golang.org/x/sys/windows"
)

// soExclusiveAddrUse is SO_EXCLUSIVEADDRUSE, ((int)(~SO_REUSEADDR)): winsock2.h.
const soExclusiveAddrUse = ^windows.SO_REUSEADDR

// setExclusive keeps others from binding the port of a socket that is about to
// be bound: on Windows SO_REUSEADDR would let any process do so.
func setExclusive(c syscall.RawConn) error {
	var err error
	if cerr := c.Control(func(fd uintptr) {
		err = windows.SetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, soExclusiveAddrUse, 1)
	}); cerr != nil {
		return cerr
	}
	return os.NewSyscallError("setsockopt SO_EXCLUSIVEADDRUSE", err)
}
