//go:build unix

package socktab

import (
	"cmp"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"example.com/loopback/internal/sockctl"
)

func own() ([]OwnSocket, error) { return audited(eachDescriptor) }

// audited returns the sockets that each visits. A datagram socket that is being
// connected is bound to every interface for a moment, so that those are looked
// at twice.
func audited(each func(visit func(fd int) (open bool)) error) ([]OwnSocket, error) {
	var a audit
	err := each(a.visit)
	first := a.found
	a.found = nil
	for _, s := range first {
		if s.Info.Type == sockctl.Datagram && s.Info.Local.Addr().IsUnspecified() {
			a.visit(s.FD)
		} else {
			a.found = append(a.found, s)
		}
	}
	if err = cmp.Or(a.err, err); err != nil {
		return nil, err
	}
	// The walk may come to a descriptor twice.
	slices.SortStableFunc(a.found, func(a, b OwnSocket) int { return a.FD - b.FD })
	return slices.CompactFunc(a.found, func(a, b OwnSocket) bool { return a.FD == b.FD }), nil
}

// An audit is the state of Own.
type audit struct {
	found []OwnSocket
	err   error // the first socket that could not be told
}

// visit looks at one descriptor, and reports whether it is open.
func (a *audit) visit(fd int) bool {
	switch listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); {
	case err == unix.EBADF:
		return false
	case err == unix.ENOTSOCK:
		return true
	case err == nil && listening == 0:
		if typ, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err == nil && hasConnections(typ) {
			return true
		}
	}
	// Another socket may take the place of this one between two questions.
	for range 100 {
		before, beforeErr := inode(fd)
		s, hears, err := describe(fd)
		after, afterErr := inode(fd)
		if beforeErr != nil || afterErr != nil {
			if cmp.Or(beforeErr, afterErr) != unix.EBADF {
				a.fail(fd, cmp.Or(beforeErr, afterErr))
			}
			return false
		}
		if before != after {
			continue
		}
		if err != nil {
			a.fail(fd, err)
		} else if hears {
			a.found = append(a.found, s)
		}
		return true
	}
	a.fail(fd, unix.EAGAIN)
	return true
}

func (a *audit) fail(fd int, err error) {
	if a.err == nil {
		a.err = fmt.Errorf("descriptor %d: %w", fd, err)
	}
}

// hasConnections reports whether a socket of the type receives nothing unless it
// listens or is connected.
func hasConnections(typ int) bool { return typ == unix.SOCK_STREAM || typ == unix.SOCK_SEQPACKET }

// inode tells a socket from the one that had its descriptor before.
func inode(fd int) (uint64, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	return uint64(st.Ino), err
}

// describe returns the socket fd, and whether it takes what any peer sends.
func describe(fd int) (s OwnSocket, hears bool, err error) {
	s.FD = fd
	if s.Info, err = sockctl.Inspect(uintptr(fd)); err != nil {
		return s, false, err
	}
	switch s.Info.Type {
	case sockctl.NotSocket:
		return s, false, nil
	case sockctl.NotInternet:
		return describeOther(s)
	case sockctl.Stream:
		s.Network = "tcp"
		hears = s.Info.Listening
	case sockctl.Raw:
		s.Network = "ip"
		hears = !s.Info.Peer.IsValid() && !isConnectedRaw(fd)
	default:
		s.Network = "udp"
		hears = s.Info.Listening || !s.Info.Peer.IsValid() && s.Info.Local.Port() != 0
	}
	if hears {
		s.Network = cmp.Or(protocol(s.Info), s.Network)
	}
	return s, hears, nil
}

// bruteForce visits every descriptor that this process may have.
func bruteForce(visit func(fd int) bool) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return os.NewSyscallError("getrlimit", err)
	}
	n, err := countUnder(limit)
	for fd := range n {
		visit(fd)
	}
	return err
}

// countUnder returns how many descriptors a process may have under a limit. More
// than most are an error.
func countUnder(limit unix.Rlimit) (int, error) {
	const most = 1 << 22                           // beyond that it takes a second and more
	n := max(uint64(limit.Cur), uint64(limit.Max)) // who lowers the first keeps what is open beyond it
	if n > most {
		return 0, fmt.Errorf("the descriptors of this process cannot be listed, and up to %d are too many to try", n)
	}
	return int(n), nil
}
