package socktab

import (
	"errors"
	"syscall"
)

// Errors of Peers.UID.
var (
	ErrGone    = errors.New("the connection is closed at the other end")
	ErrUnknown = errors.New("the kernel does not tell")
)

// Peers asks the kernel who is at the other end of a connection. It comes from
// OpenPeers and keeps the socket that it asks with. Its methods may be called
// from several goroutines.
type Peers struct{ peers }

// OpenPeers returns a Peers for connections of the network namespace of the
// calling thread. The error is [errors.ErrUnsupported] on systems other than
// Linux.
func OpenPeers() (*Peers, error) { return openPeers() }

// UID returns the user who owns the other end of c: the effective user of the
// process that connected, when it made the socket. c is a connection of TCP on
// this machine, or a unix socket with connections.
//
// The error is ErrGone if the other end has closed or reset the connection, and
// ErrUnknown if the other end is not known for certain: on another machine,
// behind an address translation, in another network namespace, or with a user
// who has no id here. For any other socket it is [errors.ErrUnsupported].
func (p *Peers) UID(c syscall.Conn) (uint32, error) { return p.uid(c) }

// PeerUID is Peers.UID for one connection, with a socket of its own.
func PeerUID(c syscall.Conn) (uint32, error) { return new(Peers).uid(c) }

// Close closes the socket.
func (p *Peers) Close() error { return p.close() }
