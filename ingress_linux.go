package loopback

import (
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"example.com/loopback/internal/pktinfo"
)

// available returns nil: a kernel that lacks a rung says so when it is tried.
func (g gate) available() error { return nil }

// set prepares a socket, not yet bound, for the rung.
func (g gate) set(c syscall.RawConn, datagram bool) error {
	var err error
	if cerr := c.Control(func(fd uintptr) {
		if g.forTrip && !datagram { // nobody comes back to its port: see reservePort
			err = os.NewSyscallError("setsockopt SO_REUSEADDR", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 0))
		}
		switch {
		case err != nil:
		case g.rung == IngressDevice:
			err = os.NewSyscallError("setsockopt SO_BINDTODEVICE", unix.BindToDevice(int(fd), g.loop.Name))
		case g.rung == IngressCheck && datagram:
			err = os.NewSyscallError("setsockopt IP_PKTINFO", pktinfo.Enable(int(fd), g.v6))
		}
	}); cerr != nil {
		return cerr
	}
	return err
}

// ingressOf returns the index of the interface that c came in by.
func ingressOf(c *net.TCPConn, v6 bool) (index int, err error) {
	rc, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	if cerr := rc.Control(func(fd uintptr) { index, err = pktinfo.Accepted(int(fd), v6) }); cerr != nil {
		return 0, cerr
	}
	return index, err
}

// oobSize is the room for the control messages of a datagram.
const oobSize = pktinfo.Size

// datagramIngress returns the index of the interface that a datagram with
// these control messages came in by, or 0.
func datagramIngress(oob []byte) int { return pktinfo.Datagram(oob) }
