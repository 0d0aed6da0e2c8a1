package sockctl

import (
	"os"
	"syscall"

	"golang.org/x/sys/windows"
)

// soExclusiveAddrUse is SO_EXCLUSIVEADDRUSE, ((int)(~SO_REUSEADDR)): winsock2.h.
const soExclusiveAddrUse = ^windows.SO_REUSEADDR

const exclusiveOnRequest = true

func exclusive(c syscall.RawConn) error {
	return rawControl(c, func(fd uintptr) error {
		err := windows.SetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, soExclusiveAddrUse, 1)
		return os.NewSyscallError("setsockopt SO_EXCLUSIVEADDRUSE", err)
	})
}
