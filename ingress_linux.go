package loopback

import (
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"example.com/loopback/internal/pktinfo"
)

// loopbackIndex is the index of the loopback interface in every network
// namespace: LOOPBACK_IFINDEX in the kernel's include/net/flow.h.
const loopbackIndex = 1

// findLoop returns the loopback interface. Its name is not always lo; in a
// sandbox that lets nobody ask it is taken to be, as nothing but IngressDevice
// needs it, which is proved.
func findLoop() (loop, error) {
	if lo, ok := askForLoop(); ok {
		return lo, nil
	}
	lo, err := scanForLoop()
	if err == nil && lo.index == 0 {
		lo = loop{"lo", loopbackIndex, true}
	}
	return lo, err
}

// askForLoop asks for the one interface, which takes microseconds however
// many there are: netdevice(7).
func askForLoop() (loop, bool) {
	fd, err := anySocket()
	if err != nil {
		return loop{}, false
	}
	defer unix.Close(fd)
	ifr, _ := unix.NewIfreq("")
	ifr.SetUint32(loopbackIndex)
	if unix.IoctlIfreq(fd, unix.SIOCGIFNAME, ifr) != nil {
		return loop{}, false
	}
	name := ifr.Name()
	if unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, ifr) != nil {
		return loop{}, false
	}
	flags := ifr.Uint16()
	return loop{name, loopbackIndex, flags&unix.IFF_UP != 0}, flags&unix.IFF_LOOPBACK != 0
}

// anySocket makes a socket that is good for questions only, of a family that a
// sandbox has left.
func anySocket() (fd int, err error) {
	for _, family := range []int{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6} {
		if fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err == nil {
			break
		}
	}
	return fd, err
}

// namespace returns what socketInfo has as netns, for the calling thread.
func namespace() uint64 {
	fd, err := anySocket()
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	cookie, _ := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	return cookie
}

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
			err = os.NewSyscallError("setsockopt SO_BINDTODEVICE", unix.BindToDevice(int(fd), g.loop.name))
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
