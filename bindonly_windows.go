package loopback

import "syscall"

// bindFD binds the socket fd and returns the address it then has.
func bindFD(fd uintptr, sa syscall.Sockaddr) (syscall.Sockaddr, error) {
	if err := syscall.Bind(syscall.Handle(fd), sa); err != nil {
		return nil, err
	}
	return syscall.Getsockname(syscall.Handle(fd))
}
