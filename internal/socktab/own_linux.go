package socktab

import (
	"encoding/binary"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"example.com/loopback/internal/sockctl"
)

// misses is how many numbers in a row may not be open before a list is faster.
const misses = 64

// eachDescriptor calls visit for every open descriptor, and for others. The
// kernel takes longer to list a descriptor than to say that one is not open, so
// that numbers in a dense table are tried without a list.
func eachDescriptor(visit func(fd int) (open bool)) error {
	var d descriptors
	first, err := d.open()
	if err != nil {
		return bruteForce(visit) // no /proc, or no descriptor left
	}
	defer d.close()
	for next, fds := 0, first; len(fds) > 0; {
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

// descriptors is /proc/self/fd, opened. It is of a size for the stack.
type descriptors struct {
	fd   int
	buf  [4096]byte
	list [4096 / shortestEntry]int // what from returned
}

// shortestEntry is the length of the entry of a name of one digit: getdents(2).
const shortestEntry = 24

// open returns what from(0) returns. It fails where /proc/self/fd is not what
// Linux makes it: a list that has the descriptor that it is read with, at a
// place that follows from the number.
func (d *descriptors) open() (first []int, err error) {
	if d.fd, err = unix.Open("/proc/self/fd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return nil, os.NewSyscallError("open", err)
	}
	first, err = d.read(0)
	if err == nil && (len(first) >= misses || !slices.Contains(first, d.fd)) { // or there is no more to read
		first = slices.Clone(first)
		var fds []int
		if fds, err = d.from(d.fd); err == nil && (len(fds) == 0 || fds[0] != d.fd) {
			err = unix.ENOENT
		}
	}
	if err != nil {
		d.close()
		return nil, err
	}
	return first, nil
}

func (d *descriptors) close() { unix.Close(d.fd) }

// from returns some of the open descriptors, the first that are not less than
// fd. It returns none if there are no more. The next call overwrites them.
func (d *descriptors) from(fd int) ([]int, error) {
	const dots = 2 // the entries . and .. come first
	if _, err := unix.Seek(d.fd, int64(fd)+dots, unix.SEEK_SET); err != nil {
		return nil, os.NewSyscallError("lseek", err)
	}
	return d.read(fd)
}

// read is from, at the place where the last one ended.
func (d *descriptors) read(fd int) ([]int, error) {
	n, err := unix.ReadDirent(d.fd, d.buf[:])
	if err != nil {
		return nil, os.NewSyscallError("getdents64", err)
	}
	fds := d.list[:0]
	for entries := d.buf[:n]; len(entries) >= shortestEntry; {
		const length, name = 16, 19 // offsets in struct linux_dirent64
		size := int(binary.NativeEndian.Uint16(entries[length:]))
		if size < shortestEntry || size > len(entries) {
			break
		}
		if n, ok := number(entries[name:size]); ok && n >= fd {
			fds = append(fds, n)
		}
		entries = entries[size:]
	}
	return fds, nil
}

// number returns the number that name is, up to its zero byte. It is not of
// package strconv, which would take a string.
func number(name []byte) (n int, ok bool) {
	for _, c := range name {
		switch {
		case c == 0:
			return n, ok
		case c < '0' || c > '9':
			return 0, false
		}
		n, ok = 10*n+int(c-'0'), true
	}
	return n, ok
}

// protocol returns the name of the protocol of a socket, or "" if it follows
// from the type.
func protocol(info sockctl.Info) string {
	if info.Type == sockctl.Raw {
		return "" // and the port is the protocol
	}
	switch info.Protocol {
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

// isConnectedRaw reports whether a raw socket is connected. Package net connects
// it to port 0, and the kernel then tells no peer. It tells the path MTU of a
// connected socket alone: ip(7), IP_MTU.
func isConnectedRaw(fd int) bool {
	_, err4 := unix.GetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU)
	_, err6 := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU)
	return err4 == nil || err6 == nil
}

// familyName returns the name of a family of sockets that other machines may
// send to, or "" if none can.
func familyName(domain int) string {
	switch domain {
	case unix.AF_UNIX, unix.AF_NETLINK, unix.AF_ALG, unix.AF_KEY:
		return ""
	case unix.AF_VSOCK:
		return "vsock"
	case unix.AF_PACKET:
		return "packet"
	case unix.AF_BLUETOOTH:
		return "bluetooth"
	case unix.AF_CAN:
		return "can"
	case unix.AF_TIPC:
		return "tipc"
	case unix.AF_XDP:
		return "xdp"
	}
	return "family " + strconv.Itoa(domain)
}

// describeOther completes the description of a socket that is not of the
// internet, and reports whether it takes what other machines may send.
func describeOther(s OwnSocket) (OwnSocket, bool, error) {
	domain, err := unix.GetsockoptInt(s.FD, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return s, false, os.NewSyscallError("getsockopt SO_DOMAIN", err)
	}
	if s.Network = familyName(domain); s.Network == "" {
		return s, false, nil
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
