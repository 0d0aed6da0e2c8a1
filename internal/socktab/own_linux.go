package socktab

import (
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// misses is how many numbers in a row may not be open before a list is faster.
const misses = 64

// eachDescriptor calls visit for every open descriptor, and for others. The
// kernel takes longer to list a descriptor than to say that one is not open, so
// that numbers in a dense table are tried without a list.
func eachDescriptor(visit func(fd int) (open bool)) error {
	d, err := openDescriptors()
	if err != nil {
		return bruteForce(visit) // no /proc, or no descriptor left
	}
	defer d.close()
	for next, fds := 0, d.first; len(fds) > 0; {
		for _, fd := range fds {
			visit(fd)
		}
		end := fds[len(fds)-1] + 1
		if len(fds) >= misses && end-next < 2*len(fds) {
			for closed := 0; closed < misses; end++ {
				if visit(end) {
					closed = 0
				} else {
					closed++
				}
			}
		}
		next = end
		if fds, err = d.from(next); err != nil {
			return err
		}
	}
	return nil
}

// descriptors is /proc/self/fd, opened.
type descriptors struct {
	fd    int
	first []int // what from(0) returned
	buf   [4096]byte
}

// openDescriptors fails where /proc/self/fd is not what Linux makes it: a list
// that has the descriptor that it is read with, at a place that follows from the
// number.
func openDescriptors() (*descriptors, error) {
	fd, err := unix.Open("/proc/self/fd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("open", err)
	}
	d := &descriptors{fd: fd}
	fds, err := d.from(0)
	if d.first = fds; err == nil && (len(fds) >= misses || !slices.Contains(fds, fd)) { // or there is no more to read
		if fds, err = d.from(fd); err == nil && (len(fds) == 0 || fds[0] != fd) {
			err = unix.ENOENT
		}
	}
	if err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *descriptors) close() { unix.Close(d.fd) }

// from returns some of the open descriptors, the first that are not less than
// fd. It returns none if there are no more.
func (d *descriptors) from(fd int) ([]int, error) {
	const dots = 2 // the entries . and .. come first
	if _, err := unix.Seek(d.fd, int64(fd)+dots, unix.SEEK_SET); err != nil {
		return nil, os.NewSyscallError("lseek", err)
	}
	n, err := unix.ReadDirent(d.fd, d.buf[:])
	if err != nil {
		return nil, os.NewSyscallError("getdents64", err)
	}
	var fds []int
	_, _, names := unix.ParseDirent(d.buf[:n], -1, nil)
	for _, name := range names {
		if n, err := strconv.Atoi(name); err == nil && n >= fd {
			fds = append(fds, n)
		}
	}
	return fds, nil
}

// protocol returns the name of the protocol of a socket, or "" if it follows
// from the type.
func protocol(fd int) string {
	p, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil {
		return ""
	}
	if typ, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || typ == unix.SOCK_RAW {
		return "" // and the port is the protocol
	}
	switch p {
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		return "icmp"
	case unix.IPPROTO_SCTP:
		return "sctp"
	case unix.IPPROTO_UDPLITE:
		return "udplite"
	case unix.IPPROTO_DCCP:
		return "dccp"
	}
	return ""
}

// describeOther completes the description of a socket that is not of the
// internet, and reports whether it takes what other machines may send.
func describeOther(s OwnSocket) (OwnSocket, bool, error) {
	domain, err := unix.GetsockoptInt(s.FD, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return s, false, os.NewSyscallError("getsockopt SO_DOMAIN", err)
	}
	switch domain {
	case unix.AF_UNIX, unix.AF_NETLINK, unix.AF_ALG, unix.AF_KEY:
		return s, false, nil // of this machine
	case unix.AF_VSOCK:
		s.Network = "vsock"
	case unix.AF_PACKET:
		s.Network = "packet"
	case unix.AF_BLUETOOTH:
		s.Network = "bluetooth"
	case unix.AF_CAN:
		s.Network = "can"
	case unix.AF_TIPC:
		s.Network = "tipc"
	case unix.AF_XDP:
		s.Network = "xdp"
	default:
		s.Network = "family " + strconv.Itoa(domain)
	}
	if v, err := unix.GetsockoptInt(s.FD, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil {
		s.Info.Listening = v != 0
	}
	typ, err := unix.GetsockoptInt(s.FD, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return s, false, os.NewSyscallError("getsockopt SO_TYPE", err)
	}
	if s.Info.Listening || hasConnections(typ) {
		return s, s.Info.Listening, nil
	}
	_, err = unix.Getpeername(s.FD)
	return s, err != nil && err != unix.EAFNOSUPPORT, nil // a peer of a family that package unix does not know is one
}
