package merge

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.com/loopback/internal/sockctl"
)

// A message is what recvfrom(2) and recvmsg(2) fill in. The functions of
// package unix would allocate the address of each datagram.
type message struct {
	from    unix.RawSockaddrInet6 // or a RawSockaddrInet4
	iov     unix.Iovec
	header  unix.Msghdr
	control [sockctl.ControlSize]byte
}

// receive receives a datagram from a socket that does not block, and fills in
// r. Of an empty socket the error is EAGAIN.
func (m *message) receive(fd int, b []byte, withInterface bool, r *Result) {
	m.from.Family = unix.AF_UNSPEC
	call, receive := "recvfrom", m.recvfrom
	if withInterface {
		call, receive = "recvmsg", m.recvmsg
	}
	n, errno := receive(fd, b)
	switch errno {
	case 0:
		r.N, r.From = int(n), m.sender()
		if withInterface {
			r.Interface = sockctl.DatagramInterface(m.control[:m.header.Controllen])
		}
	case unix.EAGAIN:
		r.Err = unix.EAGAIN
	default:
		r.Err = os.NewSyscallError(call, errno)
	}
}

// The kernel does not make the caller wait in these calls: the scheduler need
// not know of them.
func (m *message) recvfrom(fd int, b []byte) (uintptr, unix.Errno) {
	size := uint32(unsafe.Sizeof(m.from))
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(&m.from)), uintptr(unsafe.Pointer(&size)))
	return n, errno
}

func (m *message) recvmsg(fd int, b []byte) (uintptr, unix.Errno) {
	m.iov.Base = unsafe.SliceData(b)
	m.iov.SetLen(len(b))
	m.header = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&m.from)), Namelen: uint32(unsafe.Sizeof(m.from)), Iov: &m.iov, Control: &m.control[0]}
	m.header.SetIovlen(1)
	m.header.SetControllen(len(m.control))
	n, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&m.header)), unix.MSG_DONTWAIT)
	m.iov.Base = nil // it is the caller's
	return n, errno
}

// backlog returns how many connections wait in a listening socket, or 0 if that
// is not known. The function of package unix would allocate info.
func backlog(fd uintptr, info *unix.TCPInfo) int {
	size := uint32(unix.SizeofTCPInfo)
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, fd, unix.IPPROTO_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0
	}
	return int(info.Unacked) // of a listening socket it is that
}

// sender returns the address of the sender, in the form of a Result.
func (m *message) sender() netip.AddrPort {
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&m.from.Port))[:])
	switch m.from.Family {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(&m.from)).Addr), port)
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16(m.from.Addr).Unmap().WithZone(zone(m.from.Scope_id)), port)
	}
	return netip.AddrPort{}
}

// zone returns the name of a zone as package net does.
func zone(id uint32) string {
	if id == 0 {
		return ""
	}
	if ifi, err := net.InterfaceByIndex(int(id)); err == nil {
		return ifi.Name
	}
	return strconv.Itoa(int(id))
}
