package loopback

import (
	"cmp"
	"math"
	"net"
	"net/netip"
	"runtime"

	"example.com/loopback/internal/netif"
	"example.com/loopback/internal/syserr"
)

// What is advised where loopback is broken: a command, if that is all it takes.

// command chooses what to do on this system. Nothing is advised where it takes
// more than a command.
func command(linux, bsd string) string {
	switch runtime.GOOS {
	case "linux", "android":
		return linux
	case "darwin", "ios", "freebsd", "netbsd", "openbsd", "dragonfly":
		return bsd
	}
	return ""
}

// usualLo returns what the loopback interface is called, if nobody renamed it.
func usualLo() string { return cmp.Or(command("lo", ""), "lo0") }

// fixDown is for a loopback interface that is down.
func fixDown(name string) string {
	return cmp.Or(command("ip link set dev "+name+" up", "ifconfig "+name+" up"), "bring up the interface "+name)
}

// fixExhausted is for what exhausted reports: it says nothing about loopback.
const fixExhausted = "let this process open more files: ulimit -n"

// whyAbsent returns what keeps addr, for which bind failed with err, off the
// loopback interface, where that is known, and what to do about it.
func whyAbsent(addr netip.Addr, err error, lo net.Interface) (cause, fix string) {
	switch {
	case syserr.Exhausted(err):
		return "", fixExhausted
	case addr.Is6():
		if cause, fix = netif.IPv6Off(lo); cause != "" {
			return cause, fix
		}
	}
	if syserr.Is(err, "EADDRNOTAVAIL") {
		fix = cmp.Or(assign(addr, lo.Name), "give the loopback interface the address")
	}
	return "", fix
}

// assign returns the command that gives the loopback interface ::1, or all of
// 127.0.0.0/8.
func assign(addr netip.Addr, lo string) string {
	if addr.Is6() {
		return command("ip addr add ::1/128 dev "+lo, "ifconfig "+lo+" inet6 ::1 prefixlen 128 alias")
	}
	return command("ip addr add 127.0.0.1/8 dev "+lo, "ifconfig "+lo+" inet 127.0.0.1/8 alias")
}

// loopInterface returns the name and the MTU of the loopback interface, or the
// usual ones if it cannot be asked for them.
func loopInterface() net.Interface {
	ifi := net.Interface{Name: usualLo(), MTU: math.MaxInt}
	if lo, err := netif.FindLoopback(); err == nil && lo.Index != 0 {
		ifi.Name = lo.Name
		if i, err := net.InterfaceByName(lo.Name); err == nil {
			ifi = *i
		}
	}
	return ifi
}

// orUnclaim adds to fix the other way, behind a # if fix is a command: a machine
// need not have addr.
func orUnclaim(fix string, addr netip.Addr) string {
	if fix != "" {
		fix += cmp.Or(command(" # or ", " # or "), ", or ")
	}
	return fix + "take " + addr.String() + " out of the hosts file"
}
