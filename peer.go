package loopback

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"example.com/loopback/internal/socktab"
)

// PeerUID returns the user at the other end of c, which is a TCP connection
// within this machine or a connected unix socket. For a connection that wraps
// another, such as a [crypto/tls.Conn], the one that its NetConn method returns
// is asked.
//
// The user is the effective one of the process that made the socket, when it
// made it (TCP) or connected it (unix). A descriptor that was handed on, and a
// setuid after that, do not change it. Behind a forwarder, such as ssh -L, it is
// the user of the forwarder.
//
// The error wraps [ErrPeerGone] if the other end has closed or reset the
// connection. A TCP socket that has closed only its sending direction is not
// gone. It wraps [ErrPeerUnknown] where the kernel cannot be asked, or does not
// tell: for a peer on another machine or behind an address translation, for a
// connection of another network namespace, and for a user who has no id in the
// user namespace of this process. It is [errors.ErrUnsupported] for every other
// kind of connection, and on systems other than Linux.
//
// The answer takes the same time however many sockets the machine has. It does
// not replace authentication: any process of that user may be the peer.
func PeerUID(c net.Conn) (uint32, error) {
	sc, err := innermost(c)
	if err != nil {
		return 0, fmt.Errorf("loopback: user of the peer: %w", err)
	}
	uid, err := socktab.PeerUID(sc)
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
	tcp, isTCP := c.(*net.TCPConn)
	unix, isUnix := c.(*net.UnixConn)
	if c == nil || isTCP && tcp == nil || isUnix && unix == nil {
		return nil, errors.New("there is no connection")
	}
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("%w: a %T is no socket", errors.ErrUnsupported, c)
	}
	return sc, nil
}
