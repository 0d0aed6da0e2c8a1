//go:build unix

package sockctl

import (
	"io"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// held is the descriptor of a bound socket.
type held int

func (fd held) Close() error { return os.NewSyscallError("close", unix.Close(int(fd))) }

func hold(ap netip.AddrPort) (io.Closer, error) {
	syscall.ForkLock.RLock() // not every system can make a socket that is not inherited
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	return held(fd), nil
}
