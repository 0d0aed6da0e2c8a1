package loopback

import (
	"errors"
	"strconv"
	"unicode/utf8"
)

// Errors that callers tell apart with [errors.Is]. What wraps them names the
// input, mostly inside a [net.OpError].
var (
	// ErrNotLoopback is wrapped by the refusal of an address, a name, a
	// network or a socket that is not loopback and nothing else.
	ErrNotLoopback = errors.New("loopback: not a loopback address")

	// ErrSelf is wrapped by the refusals of Forbid and ForbidSelf.
	ErrSelf = errors.New("loopback: the address is, or may be, one of this machine")

	// ErrFewAddrs is wrapped by the error of Acquire if this machine has fewer
	// addresses to lease than were asked for.
	ErrFewAddrs = errors.New("loopback: not enough addresses")

	// ErrPeerGone is wrapped by the error of PeerUID if the other end has
	// closed or reset a TCP connection.
	ErrPeerGone = errors.New("loopback: the peer is gone")

	// ErrPeerUnknown is wrapped by the error of PeerUID if the user at the
	// other end cannot be told for certain.
	ErrPeerUnknown = errors.New("loopback: the user of the peer is not known")

	// ErrRefused is wrapped by the errors that ListenConfig.OnReject is
	// called with: a peer that was turned away after it had reached the socket.
	ErrRefused = errors.New("loopback: connection refused by policy")
)

// quote quotes s, which came from outside, and shortens it if it is long: no
// error grows with its input.
func quote(s string) string {
	const most = 64
	if len(s) <= most {
		return strconv.Quote(s)
	}
	cut := most
	for cut > most-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return strconv.Quote(s[:cut]) + "..."
}

// A controlError is what a Control function of the caller returned. It has no
// Unwrap, so that no error number in it decides anything.
type controlError struct{ error }
