package socktab

import "example.com/loopback/internal/sockctl"

// OwnSocket is a socket of this process that takes what any peer sends: it
// listens, or it is of datagrams or raw, bound to a port, and not connected.
type OwnSocket struct {
	Network string // "tcp", "udp", "ip" for a raw socket, or the name of another protocol or family
	FD      int    // its descriptor, or -1 where the system lists sockets without
	Info    sockctl.Info
}

// Own returns the sockets of this process that take what any peer sends, of
// every family that can leave a machine, in the order of their descriptors. It
// asks the descriptors themselves. A socket that is open during the whole call
// is listed, whatever else is opened and closed meanwhile.
//
// Windows has a list of the sockets of each process instead. It does not tell
// connected datagram sockets from others, and lists both. The error is
// [errors.ErrUnsupported] where neither is to be had.
func Own() ([]OwnSocket, error) { return own() }
