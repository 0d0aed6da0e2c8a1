package netif

import (
	"os"

	"golang.org/x/sys/unix"

	"example.com/loopback/internal/netlink"
)

// LoopbackIndex is the index of the loopback interface in every network
// namespace of Linux: LOOPBACK_IFINDEX in the kernel's include/net/flow.h.
const LoopbackIndex = 1

func findLoopback() (Loopback, error) {
	if lo, ok := ask(); ok {
		return lo, nil
	}
	lo, err := scan()
	if err == nil && lo.Index == 0 {
		lo = Loopback{Name: "lo", Index: LoopbackIndex, Up: true}
	}
	return lo, err
}

// ask asks for the one interface, which takes microseconds however many there
// are: netdevice(7).
func ask() (Loopback, bool) {
	fd, err := querySocket()
	if err != nil {
		return Loopback{}, false
	}
	defer unix.Close(fd)
	ifr, _ := unix.NewIfreq("")
	ifr.SetUint32(LoopbackIndex)
	if unix.IoctlIfreq(fd, unix.SIOCGIFNAME, ifr) != nil {
		return Loopback{}, false
	}
	name := ifr.Name()
	if unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, ifr) != nil {
		return Loopback{}, false
	}
	flags := ifr.Uint16()
	return Loopback{Name: name, Index: LoopbackIndex, Up: flags&unix.IFF_UP != 0}, flags&unix.IFF_LOOPBACK != 0
}

func namespace() (uint64, error) {
	fd, err := querySocket()
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	return netlink.NamespaceOf(fd)
}

// querySocket makes a socket for questions alone, of the first family that a
// sandbox allows.
func querySocket() (fd int, err error) {
	for _, family := range []int{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6} {
		if fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err == nil {
			break
		}
	}
	return fd, err
}
