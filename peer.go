package loopback

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"

	"example.com/loopback/internal/sockctl"
	"example.com/loopback/internal/socktab"
)

// PeerUID returns the user at the other end of c, which is a TCP connection
// within this machine or a connected unix socket. For a connection that wraps
// another, such as a [crypto/tls.Conn], the one that its NetConn method returns
// is asked. A wrapper without NetConn, such as that of golang.org/x/net/netutil,
// is not looked into. SameUser of [ListenConfig] asks before anything wraps the
// connection.
//
// The user is the effective one of the process that made the socket, when it
// made it (TCP), or when it connected it or listened on it (unix). A descriptor
// that was handed on, and a setuid after that, do not change it. Behind a
// forwarder, such as ssh -L, it is the user of the forwarder.
//
// The error wraps [ErrPeerGone] if the other end has closed or reset a TCP
// connection. A socket that has closed only its sending direction is not gone,
// nor is one of multipath TCP that has closed, as long as this end has not. The
// kernel keeps the user of a unix socket after it is closed. The error wraps
// [net.ErrClosed] if c itself is closed.
//
// The error wraps [ErrPeerUnknown] if the kernel cannot be asked, or does not
// tell: for a peer on another machine or behind an address translation, for one
// whose socket is bound to an interface other than the loopback interface, for a
// connection of another network namespace, and for a user who has no id in the
// user namespace of this process. It wraps [errors.ErrUnsupported] for every
// other kind of connection, and on systems other than Linux.
//
// The answer takes the same time however many sockets the machine has. It does
// not replace authentication: any process of that user may be the peer.
func PeerUID(c net.Conn) (uid uint32, err error) {
	defer func() {
		if r := recover(); r != nil { // in a method of c, such as that of a nil tls.Conn
			uid, err = 0, fmt.Errorf("loopback: user of the peer: a method of %T panics: %v", c, r)
		}
	}()
	sc, err := innermost(c)
	if err != nil {
		return 0, fmt.Errorf("loopback: user of the peer: %w", err)
	}
	uid, err = socktab.PeerUID(sc)
	return uid, peerError(err)
}

// peerError gives an error of socktab the form of PeerUID's.
func peerError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, socktab.ErrGone):
		return fmt.Errorf("%w: %w", ErrPeerGone, err)
	case errors.Is(err, socktab.ErrUnknown):
		return fmt.Errorf("%w: %w", ErrPeerUnknown, err)
	}
	return fmt.Errorf("loopback: user of the peer: %w", err)
}

// maxWraps bounds how many wrappers innermost follows: one may return itself.
const maxWraps = 16

// innermost returns the connection that c wraps, if it is a socket.
func innermost(c net.Conn) (syscall.Conn, error) {
	for range maxWraps {
		w, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = w.NetConn()
	}
	if c == nil || slices.Contains([]net.Conn{(*net.TCPConn)(nil), (*net.UnixConn)(nil), (*net.UDPConn)(nil), (*net.IPConn)(nil)}, c) {
		return nil, errors.New("there is no connection")
	}
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("%w: a %T is no socket", errors.ErrUnsupported, c)
	}
	return sc, nil
}

// A userCheck admits the connections of some users. It is nil where all are
// admitted.
type userCheck struct {
	peers *socktab.Peers
	uids  []uint32
}

// newUserCheck returns a check for listeners on the addresses. On each it
// proves that the kernel tells the user of a connection, or the check would
// refuse everything.
func newUserCheck(ctx context.Context, uids []uint32, addrs []netip.AddrPort) (*userCheck, error) {
	peers, err := socktab.OpenPeers()
	if err != nil {
		return nil, peerError(err)
	}
	u := &userCheck{peers: peers, uids: uids}
	for _, at := range addrs {
		if err := u.prove(ctx, at.Addr()); err != nil {
			_ = peers.Close() // the first error is the one to report
			if ended := sockctl.Ended(ctx); ended != nil {
				return nil, ended
			}
			return nil, fmt.Errorf("loopback: SameUser or AllowUIDs is set, and the users of connections are not told: %w", err)
		}
	}
	return u, nil
}

// prove connects to addr and expects the answer to be this process's user.
func (u *userCheck) prove(ctx context.Context, addr netip.Addr) error {
	return sockctl.RoundTrip(ctx, addr, func(_, server *net.TCPConn) error {
		uid, err := u.peers.UID(server)
		switch {
		case err != nil:
			return peerError(err)
		case uid != uint32(os.Geteuid()):
			return fmt.Errorf("%w: the user %d is said to be %d", ErrPeerUnknown, os.Geteuid(), uid)
		}
		return nil
	})
}

// admit returns nil if a connection is that of an admitted user, and else an
// error that wraps ErrRefused.
func (u *userCheck) admit(c *net.TCPConn) error {
	if u == nil {
		return nil
	}
	uid, err := u.peers.UID(c)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrRefused, peerError(err))
	case !slices.Contains(u.uids, uid):
		return fmt.Errorf("%w: user %d is not admitted", ErrRefused, uid)
	}
	return nil
}

func (u *userCheck) close() error {
	if u == nil {
		return nil
	}
	return u.peers.Close()
}
