//go:build linux

// Package netnstest runs a test in network namespaces of its own: on a machine
// that it may break, with neighbours that try to get in. It needs no privilege
// where user namespaces are allowed.
package netnstest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// In runs the calling test again in a process of its own, which is
// root in a new user, network and mount namespace: lo is down, nothing is
// mounted that the test did not mount, no other interface exists, and the
// kernel parameters are those of a machine that nobody has set up. Where that
// cannot be had, the test is skipped.
//
// It reports whether the caller is that process. In the parent it waits for
// the child, hands on its verdict, and returns false: the test then returns.
//
//	if !netnstest.In(t) {
//		return
//	}
//	netnstest.Run(t, "ip", "link", "set", "lo", "up")
//
// Call it in a top-level test, before anything else.
func In(t *testing.T) bool {
	t.Helper()
	return in(t, &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	})
}

// InWithUsers is In without a user namespace: the users are those of the
// machine, so processes of several can be started. The test must run as root.
func InWithUsers(t *testing.T) bool {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, to start processes of several users")
	}
	inside := in(t, &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
	})
	if inside { // a root who may be root over nobody else, as in some containers
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^$")
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Skipf("needs to start processes of several users: %v\n%s", err, out)
		}
	}
	return inside
}

func in(t *testing.T, attr *syscall.SysProcAttr) bool {
	t.Helper()
	const marker = "LOOPBACK_TEST_NAMESPACE"
	if os.Getenv(marker) == t.Name() {
		// Mounts of the test must not reach the machine. AppArmor and the like
		// may let a process make the namespaces, and do nothing in them.
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Skipf("needs to mount: %v", err)
		}
		if err := reset(); err != nil {
			t.Skipf("needs IPv6, netlink and to set kernel parameters: %v", err)
		}
		return true
	}
	if version, err := exec.CommandContext(t.Context(), "ip", "-V").CombinedOutput(); !strings.Contains(string(version), "iproute2") {
		t.Skipf("needs the ip command of iproute2: %v\n%s", err, version)
	}
	t.Parallel() // the child has a machine to itself
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-test.run=^" + t.Name() + "$", "-test.v", "-test.count=1", fmt.Sprintf("-test.short=%v", testing.Short())}
	if d, ok := t.Deadline(); ok {
		args = append(args, "-test.timeout="+time.Until(d).String())
	}
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cmd.Env = append(os.Environ(), marker+"="+t.Name(),
		"GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE")) // or a race detector sleeps for a second
	cmd.SysProcAttr = attr
	runtime.LockOSThread() // Pdeathsig is about the thread
	out, err := cmd.CombinedOutput()
	runtime.UnlockOSThread()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Skipf("needs user and network namespaces: %v", err)
	}
	text := string(out)
	switch {
	case err != nil:
		t.Fatalf("in the namespace: %v\n%s", err, text)
	case strings.Contains(text, "--- SKIP: "+t.Name()+" "):
		t.Skipf("in the namespace:\n%s", text)
	case !strings.Contains(text, "--- PASS: "+t.Name()+" "):
		t.Fatalf("in the namespace: the test did not run\n%s", text)
	}
	t.Logf("in the namespace:\n%s", text)
	return false
}

// reset gives a new namespace the kernel parameters that it would have on a new
// machine: IPv4 has inherited those of this one.
func reset() error {
	for family, typ := range map[int]int{unix.AF_INET6: unix.SOCK_STREAM, unix.AF_NETLINK: unix.SOCK_RAW} {
		fd, err := unix.Socket(family, typ|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		unix.Close(fd)
	}
	for _, conf := range []string{"all", "default", "lo"} {
		names := []string{"ipv6/conf/" + conf + "/disable_ipv6"}
		for _, name := range []string{"accept_local", "arp_announce", "arp_filter", "arp_ignore", "forwarding", "route_localnet", "rp_filter"} {
			names = append(names, "ipv4/conf/"+conf+"/"+name)
		}
		for _, name := range names {
			if err := os.WriteFile("/proc/sys/net/"+name, []byte("0"), 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// Run runs a command that must succeed, and returns its output. The test is
// skipped if it makes a device that this kernel does not have.
func Run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := output(name, args)
	mustSucceed(t, err, out, name, args)
	return string(out)
}

// output runs a command. After "ip addr add" with an IPv6 address it waits for
// the route to the address, which the kernel makes in the background, but for no
// longer than a second: with its interface down there is none.
func output(name string, args []string) ([]byte, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	at := slices.Index(args, "addr") + 2
	if err != nil || name != "ip" || at < 2 || at >= len(args) || args[at-1] != "add" && args[at-1] != "replace" {
		return out, err
	}
	addr, _, _ := strings.Cut(args[at], "/")
	for start := time.Now(); strings.Contains(addr, ":") && time.Since(start) < time.Second; time.Sleep(time.Millisecond) {
		routes, err := exec.Command("ip", "-6", "route", "show", "table", "local").Output()
		if err != nil || strings.Contains(string(routes), "local "+addr+" ") {
			break
		}
	}
	return out, nil
}

func mustSucceed(t *testing.T, err error, out []byte, name string, args []string) {
	t.Helper()
	command := name + " " + strings.Join(args, " ")
	switch {
	case err == nil:
	case strings.HasPrefix(command, "ip link add "):
		t.Skipf("needs a kernel with this device: %s: %v\n%s", command, err, out)
	default:
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

// NeedNFT skips the test where rules for packets cannot be made.
func NeedNFT(t *testing.T) {
	t.Helper()
	const rules = "table ip probe { chain n { type nat hook prerouting priority -100; }; chain f { type filter hook input priority 0; }; }; delete table ip probe"
	if out, err := exec.CommandContext(t.Context(), "nft", rules).CombinedOutput(); err != nil {
		t.Skipf("needs nft, and nf_tables in the kernel: %v %s", err, out)
	}
}

// Sysctl sets a kernel parameter of the namespace: Sysctl(t, "net/ipv4/conf/all/route_localnet", "1").
func Sysctl(t *testing.T, name, value string) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}

// A Neighbour is another network namespace: another machine, as far as
// sockets can tell. It lives on an operating system thread of its own.
type Neighbour struct {
	Path string // of the namespace, for ip link set DEV netns PATH

	work chan func()
}

// NewNeighbour makes an empty namespace with lo up; see In.
func NewNeighbour(t *testing.T) *Neighbour {
	t.Helper()
	n := &Neighbour{work: make(chan func())}
	ready := make(chan error)
	go onThread(func() {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			ready <- os.NewSyscallError("unshare", err)
			return
		}
		n.Path = fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())
		ready <- reset()
		for f := range n.work {
			f()
		}
		if home, err := unix.Open("/proc/self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
			_ = unix.Setns(home, unix.CLONE_NEWNET) // and the neighbour is gone
			unix.Close(home)
		}
	})
	if err := <-ready; err != nil {
		t.Fatalf("a neighbour: %v", err)
	}
	t.Cleanup(func() { close(n.work) })
	n.Run(t, "ip", "link", "set", "lo", "up")
	return n
}

// onThread runs f on a thread of its own, which is not the first of the process:
// that one's namespace is in /proc/self. The thread stays, as the kernel kills
// what a thread has started with Pdeathsig when it ends.
func onThread(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		another := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(another)
			f()
			select {}
		}()
		<-another
		runtime.UnlockOSThread()
		return
	}
	f()
	select {}
}

// Do runs f on the neighbour's thread: the sockets it makes, and the
// processes it starts, are the neighbour's. f must not call t.FailNow.
func (n *Neighbour) Do(f func()) {
	done := make(chan struct{})
	n.work <- func() { defer close(done); f() }
	<-done
}

// Run runs a command in the neighbour's namespace; see the function Run.
func (n *Neighbour) Run(t *testing.T, name string, args ...string) {
	t.Helper()
	var out []byte
	var err error
	n.Do(func() { out, err = output(name, args) })
	mustSucceed(t, err, out, name, args)
}

// Sysctl sets a kernel parameter of the neighbour's namespace; see the function
// Sysctl.
func (n *Neighbour) Sysctl(t *testing.T, name, value string) {
	t.Helper()
	var err error
	n.Do(func() { err = os.WriteFile("/proc/sys/"+name, []byte(value), 0) })
	if err != nil {
		t.Fatal(err)
	}
}

// Veth joins this namespace to the neighbour: device ours here, device
// theirs there, each with its address in CIDR form, both up.
func (n *Neighbour) Veth(t *testing.T, ours, oursCIDR, theirs, theirsCIDR string) {
	t.Helper()
	Run(t, "ip", "link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", n.Path)
	Run(t, "ip", "addr", "add", oursCIDR, "dev", ours)
	Run(t, "ip", "link", "set", ours, "up")
	n.Run(t, "ip", "addr", "add", theirsCIDR, "dev", theirs)
	n.Run(t, "ip", "link", "set", theirs, "up")
}
