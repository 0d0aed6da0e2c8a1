package sockctl

import (
	"io"
	"net/netip"
	"os"

	"golang.org/x/sys/windows"
)

// held is the handle of a bound socket.
type held windows.Handle

func (h held) Close() error {
	return os.NewSyscallError("closesocket", windows.Closesocket(windows.Handle(h)))
}

func hold(ap netip.AddrPort) (io.Closer, error) {
	var data windows.WSAData
	if err := windows.WSAStartup(0x202, &data); err != nil { // it counts, and package net may not have called it yet
		return nil, os.NewSyscallError("wsastartup", err)
	}
	h, err := windows.WSASocket(windows.AF_INET, windows.SOCK_STREAM, 0, nil, 0, windows.WSA_FLAG_OVERLAPPED|windows.WSA_FLAG_NO_HANDLE_INHERIT)
	if err != nil {
		return nil, os.NewSyscallError("wsasocket", err)
	}
	err = os.NewSyscallError("setsockopt SO_EXCLUSIVEADDRUSE", windows.SetsockoptInt(h, windows.SOL_SOCKET, ^windows.SO_REUSEADDR, 1))
	if err == nil {
		err = os.NewSyscallError("bind", windows.Bind(h, &windows.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}))
	}
	if err != nil {
		windows.Closesocket(h)
		return nil, err
	}
	return held(h), nil
}
