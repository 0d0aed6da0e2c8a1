package socktab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"example.com/loopback/internal/netlink"
)

// peers is the zero value if a socket is to be made for each question.
type peers struct {
	conn      *netlink.Conn
	namespace uint64
}

func openPeers() (*Peers, error) {
	c, err := netlink.Open(unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	namespace, err := c.Namespace()
	if err != nil {
		_ = c.Close() // the first error is the one to report
		return nil, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return &Peers{peers{conn: c, namespace: namespace}}, nil
}

func (p *peers) close() error { return p.conn.Close() }

func (p *peers) uid(c syscall.Conn) (uid uint32, err error) {
	rc, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	err = errors.ErrUnsupported // of a RawConn of another package, which need not call the function
	if cerr := rc.Control(func(fd uintptr) { uid, err = p.uidOf(int(fd)) }); cerr != nil {
		return 0, cerr
	}
	return uid, err
}

func (p *peers) uidOf(fd int) (uint32, error) {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return 0, os.NewSyscallError("getsockopt SO_DOMAIN", err)
	}
	if domain == unix.AF_UNIX {
		return uidOfUnix(fd)
	}
	protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil {
		return 0, os.NewSyscallError("getsockopt SO_PROTOCOL", err)
	}
	if domain != unix.AF_INET && domain != unix.AF_INET6 || protocol != unix.IPPROTO_TCP && protocol != unix.IPPROTO_MPTCP {
		return 0, errors.ErrUnsupported
	}
	if p.conn == nil {
		p, err := openPeers()
		if err != nil {
			return 0, err
		}
		defer p.close()
		return p.uidOf(fd)
	}
	switch ns, err := netlink.NamespaceOf(fd); {
	case err != nil:
		return 0, fmt.Errorf("%w: %w", ErrUnknown, err)
	case ns != p.namespace:
		return 0, fmt.Errorf("%w: the connection is of another network namespace", ErrUnknown)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	here := addrPortOf(sa)
	sa, err = unix.Getpeername(fd)
	if err == unix.ENOTCONN {
		return 0, ErrGone
	}
	if err != nil {
		return 0, os.NewSyscallError("getpeername", err)
	}
	return p.uidOfTCP(fd, here, addrPortOf(sa))
}

// States of TCP: include/net/tcp_states.h.
const (
	established = 1
	finWait1    = 4 // this end has closed its direction
	finWait2    = 5
	closed      = 7 // it has been closed or reset since the kernel found it
	closeWait   = 8 // the other end has closed its direction
)

// uidOfTCP asks for the socket at the other end, and then looks at the state of
// the one at hand. If that is not connected any more, the answer may be about a
// later connection from the same port.
func (p *peers) uidOfTCP(fd int, here, there netip.AddrPort) (uint32, error) {
	s, err := p.conn.TCP(there, here)
	info, stateErr := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	switch {
	case stateErr != nil:
		return 0, fmt.Errorf("%w: %w", ErrUnknown, os.NewSyscallError("getsockopt TCP_INFO", stateErr))
	case info.State != established && info.State != finWait1 && info.State != finWait2 && info.State != closeWait:
		return 0, ErrGone
	case err != nil && err != unix.ENOENT:
		return 0, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	found := s.Local == there && s.Remote == here // or there is none, or it is the socket that listens there
	switch {
	case found && s.Inode == 0 && s.State != established:
		return 0, ErrGone // what the kernel keeps of a closed socket has no owner, and says user 0
	case (!found || s.Inode == 0 || s.State == closed) && hangsUp(fd):
		return 0, ErrGone
	case !found:
		return 0, fmt.Errorf("%w: this machine has no socket at the other end", ErrUnknown)
	case s.Inode == 0:
		return 0, fmt.Errorf("%w: no process has the socket at the other end", ErrUnknown)
	case s.State != established && s.State != finWait1 && s.State != finWait2 && s.State != closeWait:
		return 0, fmt.Errorf("%w: the socket at the other end is in state %d", ErrUnknown, s.State)
	}
	return known(s.UID)
}

// hangUpTimeout bounds the wait for the last packet of a socket that is being
// closed. It is already gone from the table then, and the packet on its way.
const hangUpTimeout = 10 // milliseconds

// hangsUp reports whether the other end of a connection has closed or reset it,
// or does so at this moment.
func hangsUp(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, _ := unix.Poll(fds, hangUpTimeout) // -1 on an error
	return n > 0
}

// uidOfUnix returns the credentials that the kernel kept at connect(2):
// unix(7), SO_PEERCRED.
func uidOfUnix(fd int) (uint32, error) {
	typ, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return 0, os.NewSyscallError("getsockopt SO_TYPE", err)
	}
	if typ != unix.SOCK_STREAM && typ != unix.SOCK_SEQPACKET {
		return 0, errors.ErrUnsupported
	}
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, os.NewSyscallError("getsockopt SO_PEERCRED", err)
	}
	return known(cred.Uid)
}

// known returns uid, unless it may stand for several users or for none.
func known(uid uint32) (uint32, error) {
	if uid == ^uint32(0) || !named(uid) {
		return 0, fmt.Errorf("%w: the user has no id here", ErrUnknown)
	}
	return uid, nil
}

func addrPortOf(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}
