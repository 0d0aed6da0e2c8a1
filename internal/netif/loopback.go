// Package netif reads the interfaces of this network namespace: which one is
// the loopback interface, and the kernel parameters that decide what it does.
package netif

import (
	"net"

	"example.com/loopback/internal/syserr"
)

// Loopback is the loopback interface. The zero value is that of a machine that
// shows none.
type Loopback struct {
	Name  string
	Index int
	Up    bool
}

// FindLoopback returns the loopback interface, found by its flag, as it may
// have any name. Its error is a lack of descriptors or memory. The interface is
// then unknown, and nothing may be decided without it.
//
// On Linux, where a sandbox forbids to ask, it is taken to be lo.
func FindLoopback() (Loopback, error) { return findLoopback() }

// Namespace returns a number that tells the network namespace of the calling
// thread from others, or 0 where the system does not say. Linux has it since
// 5.14. The error says why the kernel could not be asked.
func Namespace() (uint64, error) { return namespace() }

// scan returns the first interface with the loopback flag.
func scan() (Loopback, error) {
	ifs, err := net.Interfaces()
	if syserr.Exhausted(err) {
		return Loopback{}, err
	}
	for _, i := range ifs {
		if i.Flags&net.FlagLoopback != 0 {
			return Loopback{Name: i.Name, Index: i.Index, Up: i.Flags&net.FlagUp != 0}, nil
		}
	}
	return Loopback{}, nil
}
