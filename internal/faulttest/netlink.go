//go:build linux

package faulttest

import (
	"encoding/binary"
	"net/netip"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// A Kernel answers the requests that are written to one netlink socket: with
// any number of datagrams, of any content.
type Kernel func(request []byte) (answers [][]byte)

// Netlink returns the one netlink socket of a protocol, such as
// unix.NETLINK_ROUTE, that this process has.
func Netlink(t *testing.T, protocol int) (fd int) {
	t.Helper()
	fd = -1
	for i := range 1024 {
		domain, err := unix.GetsockoptInt(i, unix.SOL_SOCKET, unix.SO_DOMAIN)
		if err != nil || domain != unix.AF_NETLINK {
			continue
		}
		if p, err := unix.GetsockoptInt(i, unix.SOL_SOCKET, unix.SO_PROTOCOL); err == nil && p == protocol {
			if fd >= 0 {
				t.Fatalf("there are several netlink sockets of the protocol %d", protocol)
			}
			fd = i
		}
	}
	if fd < 0 {
		t.Fatalf("there is no netlink socket of the protocol %d", protocol)
	}
	return fd
}

// Imitate puts k in the place of the kernel at the other end of the netlink
// socket fd, for as long as that is open.
func Imitate(t *testing.T, fd int, k Kernel) {
	t.Helper()
	if os.Getenv("LOOPBACK_TEST_EMULATED") != "" {
		t.Skip("needs a netlink socket that is one: emulators translate what goes over it")
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := pair[0], pair[1]
	if err := unix.SetNonblock(theirs, true); err != nil {
		t.Fatal(err)
	}
	if err := unix.Dup3(theirs, fd, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	unix.Close(theirs)
	go func() {
		defer unix.Close(ours)
		request := make([]byte, 1<<16)
		for {
			n, err := unix.Read(ours, request)
			switch {
			case err == unix.EINTR:
				continue
			case err != nil || n == 0:
				return
			}
			for _, answer := range k(slices.Clone(request[:n])) {
				if _, err := unix.Write(ours, answer); err != nil {
					return // fd is closed
				}
			}
		}
	}()
}

// Message returns a netlink message that answers a request.
func Message(request []byte, typ uint16, body []byte) []byte {
	b := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+len(body))
	binary.NativeEndian.PutUint32(b, uint32(len(b)+len(body)))
	binary.NativeEndian.PutUint16(b[4:], typ)
	copy(b[8:12], request[8:12]) // the sequence number
	return append(b, body...)
}

// ErrorMessage returns the netlink message that answers a request with an error
// number: NLMSG_ERROR.
func ErrorMessage(request []byte, errno unix.Errno) []byte {
	return Message(request, unix.NLMSG_ERROR, binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno))))
}

// A Diag is what the kernel tells of a TCP socket of IPv4.
type Diag struct {
	State         byte
	Local, Remote netip.AddrPort
	UID, Inode    uint32
}

// Message returns d as a struct inet_diag_msg: sock_diag(7).
func (d Diag) Message() []byte {
	b := make([]byte, 72)
	b[0], b[1] = unix.AF_INET, d.State
	binary.BigEndian.PutUint16(b[4:], d.Local.Port())
	binary.BigEndian.PutUint16(b[6:], d.Remote.Port())
	copy(b[8:], d.Local.Addr().AsSlice())
	copy(b[24:], d.Remote.Addr().AsSlice())
	binary.NativeEndian.PutUint32(b[64:], d.UID)
	binary.NativeEndian.PutUint32(b[68:], d.Inode)
	return b
}
