package loopback

import (
	"errors"
	"strconv"
)

// Errors that callers tell apart with [errors.Is]. What wraps them names the
// input, mostly inside a [net.OpError].
var (
	// ErrNotLoopback is wrapped by the refusal of an address, a name, a
	// network or a socket that is not loopback and nothing else.
	ErrNotLoopback = errors.New("loopback: not a loopback address")

	// ErrRefused is wrapped by the errors that ListenConfig.OnReject is
	// called with: a peer that was turned away after it had reached the socket.
	ErrRefused = errors.New("loopback: connection refused by policy")
)

// quoted returns a text from outside as errors show it; a long one is cut.
func quoted(text string) string {
	const enough = 300
	if len(text) > enough {
		return strconv.Quote(text[:enough]) + "..."
	}
	return strconv.Quote(text)
}
