package loopback

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"example.com/loopback/internal/hostsfile"
	"example.com/loopback/internal/hosttext"
	"example.com/loopback/internal/netif"
	"example.com/loopback/internal/page"
	"example.com/loopback/internal/sockctl"
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

// usualLo returns the name that the system gives to the loopback interface.
func usualLo() string { return cmp.Or(command("lo", ""), "lo0") }

// fixDown is for a loopback interface that is down.
func fixDown(name string) string {
	return cmp.Or(command("ip link set dev "+name+" up", "ifconfig "+name+" up"), "bring up the interface "+name)
}

const fixFilter = "look for a packet filter that drops what passes the loopback interface"

// fixProcess returns what to do about the first of errs that comes from a limit
// of this process or from a lack of memory or ports, and says nothing about
// loopback; "" if there is none.
func fixProcess(errs ...error) string {
	for _, err := range errs {
		switch {
		case syserr.Is(err, "EMFILE"):
			return with("let this process open more files", command("ulimit -n", "ulimit -n"))
		case syserr.Is(err, "ENFILE"):
			return with("end what has many files open, or let all programs have more", command("fs.file-max", "kern.maxfiles"))
		case syserr.Is(err, "EADDRINUSE"):
			return with("close what has so many ports, or let the system choose from more", command("net.ipv4.ip_local_port_range", ""))
		case syserr.Exhausted(err):
			return "free some memory: the kernel has none for another socket"
		case isForbidden(err), errors.Is(err, sockctl.ErrNoName):
			return "let this process make sockets: a sandbox forbids it"
		}
	}
	return ""
}

// with returns advice with the means of this system behind it, if there is one.
func with(advice, means string) string {
	if means == "" {
		return advice
	}
	return advice + ": " + means
}

// isForbidden reports whether err is of a process that may not make a listening
// socket, or any. The same error of a connection is a packet filter's.
func isForbidden(err error) bool {
	if !syserr.Is(err, "EPERM") {
		return false
	}
	op, _ := errors.AsType[*net.OpError](err)
	call, _ := errors.AsType[*os.SyscallError](err)
	return op != nil && op.Op == "listen" || call != nil && call.Syscall == "socket"
}

// whyAbsent returns what keeps addr, for which bind failed with err, off the
// loopback interface, where that is known, and what to do about it.
func whyAbsent(addr netip.Addr, err error, lo net.Interface) (cause, fix string) {
	if fix = fixProcess(err); fix != "" {
		return "", fix
	}
	if addr.Is6() {
		if cause, fix = netif.IPv6Off(lo); cause != "" {
			return cause, fix
		}
	}
	if syserr.Is(err, "EADDRNOTAVAIL") {
		_, fix = howToAdd(addr, lo)
	}
	return "", fix
}

// howToAdd returns what keeps addr off the loopback interface, where that is
// known, and how that interface gets ::1 or all of 127.0.0.0/8.
func howToAdd(addr netip.Addr, lo net.Interface) (cause, fix string) {
	if addr.Is6() {
		if cause, fix = netif.IPv6Off(lo); cause != "" {
			return cause, fix
		}
	}
	return "", cmp.Or(addAddrCommand(addr, lo.Name), "give the loopback interface the address")
}

// addAddrCommand returns the command that gives the loopback interface ::1, or
// all of 127.0.0.0/8.
func addAddrCommand(addr netip.Addr, lo string) string {
	if addr.Is6() {
		return command("ip addr add ::1/128 dev "+lo, "ifconfig "+lo+" inet6 ::1 prefixlen 128 alias")
	}
	return command("ip addr add 127.0.0.1/8 dev "+lo, "ifconfig "+lo+" inet 127.0.0.1/8 alias")
}

// delAddrCommand returns the command that takes an address from an interface.
func delAddrCommand(addr netip.Prefix, from string) string {
	inet := "inet "
	if addr.Addr().Is6() {
		inet = "inet6 "
	}
	return command("ip addr del "+addr.String()+" dev "+from, "ifconfig "+from+" "+inet+addr.Addr().String()+" -alias")
}

// addRangeCommand returns the command that gives the loopback interface the
// addresses of 127.0.0.0/8. Only Linux takes all of them at once.
func addRangeCommand(lo string) string {
	return command("ip addr add 127.0.0.1/8 dev "+lo, "ifconfig "+lo+" alias ADDRESS, for each that is needed")
}

// localRouteCommand returns the command that gives ::1 or all of 127.0.0.0/8,
// which the loopback interface of Linux has, its local route back.
func localRouteCommand(addr netip.Addr, lo string) string {
	if addr.Is6() {
		return command("ip -6 route replace local ::1 dev "+lo+" table local", "")
	}
	return command("ip route replace local 127.0.0.0/8 dev "+lo+" table local scope host", "")
}

// renameCommand returns the command that gives the loopback interface of Linux
// its usual name. Kernels before 6.3 rename an interface only while it is down.
func renameCommand(lo string) string {
	set := "ip link set dev " + lo + " "
	return set + "name lo || { " + set + "down; " + set + "name lo; " + set + "up || ip link set dev lo up; }" +
		" # rules that name lo hold from then on; where it has to be down, routes and IPv6 addresses that were added to it are lost"
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

// loopbackDown returns the name of the loopback interface, if there is one and it
// is down; otherwise "".
func loopbackDown() string {
	if lo, err := netif.FindLoopback(); err == nil && !lo.Up {
		return lo.Name
	}
	return ""
}

// orUnclaim adds to fix another way, behind a # if fix is a command: a machine need
// not have addr. That way is put, if the name would have no address without addr.
func orUnclaim(fix string, addr netip.Addr, put string) string {
	if fix != "" {
		fix += cmp.Or(command(" # or ", " # or "), ", or ")
	}
	if put != "" {
		return fix + put
	}
	return fix + "take " + addr.String() + " out of the hosts file, if this machine is to have no " + familyName(addr)
}

// familyName returns "IPv4" or "IPv6".
func familyName(addr netip.Addr) string {
	if addr.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// families are some of the two address families.
type families struct{ v4, v6 bool }

// set sets whether the family of addr is one of them.
func (f *families) set(addr netip.Addr, is bool) {
	if addr.Is4() {
		f.v4 = is
	} else {
		f.v6 = is
	}
}

// addrs returns the loopback address of each family.
func (f families) addrs() (addrs []netip.Addr) {
	if f.v4 {
		addrs = append(addrs, IPv4())
	}
	if f.v6 {
		addrs = append(addrs, IPv6())
	}
	return addrs
}

// hostsAdvice is what to do about a hosts file that does not give a name the
// loopback addresses that it should have.
type hostsAdvice struct {
	hosts   *hostsfile.File
	libc    hostsfile.Reader
	sources hostsfile.Sources
	name    string
	want    families
	process string // what to do about a fault of this process; "" if it has none
}

const fixTooBig = "make it smaller"

// have returns how the name gets the addresses that are wanted.
func (h hostsAdvice) have() string {
	switch {
	case h.process != "":
		return h.process
	case isAddress(h.name): // no resolver looks it up
		return "use 127.0.0.1 or ::1, if it is to be loopback"
	case h.hosts.TooBig:
		return fixTooBig
	}
	put := h.put()
	if h.sources.FilesFirst() || put != "" && !h.sources.DNSFirst() {
		return put
	}
	return then("name files first in the hosts line of /etc/nsswitch.conf", put)
}

// haveBoth is have for a name that the hosts file has in one family.
func (h hostsAdvice) haveBoth() string {
	if h.put() == "" && runtime.GOOS == "linux" && h.libc == hostsfile.ByGlibc && !h.sources.DNSFirst() {
		return "put `multi on` into /etc/host.conf" // or the GNU C library reads one line of a name: host.conf(5)
	}
	return h.have()
}

// replace returns how to get the name out of lines of the hosts file, and what to
// have instead. Without lines it is have.
func (h hostsAdvice) replace(lines []string) string {
	if len(lines) == 0 {
		return h.have()
	}
	return h.edit(lines)
}

// put returns what to put into the hosts file, and what to mend first. It returns
// "" if all is there.
func (h hostsAdvice) put() string { return h.edit(nil) }

// edit returns how to get the name out of lines of the hosts file and how to have
// the addresses that are wanted. A line that is added must be one that is read, and
// what is mended must not bring back a line that is not loopback.
func (h hostsAdvice) edit(lines []string) string {
	mend := h.hosts.Problem.Fix
	if h.hosts.Err != nil && !errors.Is(h.hosts.Err, fs.ErrNotExist) {
		mend = "make " + h.hosts.Path + " a file that every user can read"
	}
	missing, lost := h.missing()
	put := ""
	if len(missing) > 0 {
		put = "put " + strings.Join(missing, " and ") + " into " + h.hosts.Path
		if h.hosts.Unended {
			put += ", on a line of its own"
		}
	}
	if put == "" && !lost {
		mend = ""
	}
	if mend != "" {
		for _, e := range h.hosts.Entries {
			if n := strconv.Itoa(e.Line); h.afterMend(e) && isForeign(e) && !slices.Contains(lines, n) {
				lines = append(lines, n)
			}
		}
	}
	all := then(h.takeOut(lines), then(mend, put))
	if put != "" || len(lines) > 0 {
		all += h.reservation()
	}
	return all
}

// missing returns the lines that the hosts file lacks, and whether it has one that
// package net would read if the problem of the whole file were mended.
func (h hostsAdvice) missing() (lines []string, lost bool) {
	for _, addr := range h.want.addrs() {
		var read, mended bool
		for _, e := range h.hosts.Entries {
			if e.Addr == addr {
				read = read || e.ReadBy(hostsfile.ByGo) && e.ReadBy(h.libc)
				mended = mended || h.afterMend(e)
			}
		}
		if !read && !mended {
			lines = append(lines, fmt.Sprintf("`%v %s`", addr, h.name))
		}
		lost = lost || !read && mended
	}
	return lines, lost
}

// afterMend reports whether package net would read e if the problem of the whole
// file were mended.
func (h hostsAdvice) afterMend(e hostsfile.Entry) bool {
	return e.Problem != (hostsfile.Problem{}) && e.Problem == h.hosts.Problem
}

// takeOut returns how to get the name out of lines of the hosts file; "" without
// lines.
func (h hostsAdvice) takeOut(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return fmt.Sprintf("take %s out of %s of %s", h.name, lineList(lines), h.hosts.Path)
}

// isForeign reports whether the address of e is one that a localhost name must not
// have. A link-local address with a zone may stay.
func isForeign(e hostsfile.Entry) bool {
	return e.Addr.IsValid() && (!Is(e.Addr) || e.Addr == broadcast4) && !(e.Addr.IsLinkLocalUnicast() && e.Addr.Zone() != "")
}

// reservation is for names that need not be loopback.
func (h hostsAdvice) reservation() string {
	if IsName(h.name) {
		return ""
	}
	return ", if it is to be loopback"
}

// then joins two things to do, of which each may be "".
func then(first, second string) string {
	if first == "" || second == "" {
		return first + second
	}
	return first + "; " + second
}

// lineList returns "line 1" or "lines 1, 2", with no more than a few of them.
func lineList(numbers []string) string {
	if len(numbers) == 1 {
		return "line " + numbers[0]
	}
	return "lines " + page.List(numbers, ", ", strings.Clone)
}

// isAddress reports whether name is an address to package net or, as 127.1 is,
// to a C library.
func isAddress(name string) bool {
	_, err := netip.ParseAddr(name)
	_, legacy := hosttext.Legacy4(name, hosttext.Common)
	return err == nil || legacy
}
