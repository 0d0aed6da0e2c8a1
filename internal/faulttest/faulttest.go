//go:build linux

// Package faulttest makes system calls fail in a test: seccomp_unotify(2). A
// thread of the process hears of each call before the kernel makes it, and lets
// it go on or answers it with an error number. [Imitate] answers a netlink socket
// in place of the kernel.
package faulttest

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Call is a kind of system call.
type Call struct {
	Name   string
	Number uint32
	Args   func(args [6]uint64) bool // reports whether a call with these arguments is meant; nil is every call
}

// A Fault makes calls fail, counted from 1 within one [Injector.During].
type Fault struct {
	Call        Call
	Errno       unix.Errno
	First, Last int // Last 0 is without end
}

// String returns the fault as text: "socket 3: ENOMEM", and "socket 3-: ENOMEM"
// for one without end.
func (f Fault) String() string {
	calls := fmt.Sprintf("%s %d", f.Call.Name, f.First)
	if f.Last != f.First {
		calls += "-"
		if f.Last != 0 {
			calls += fmt.Sprint(f.Last)
		}
	}
	return calls + ": " + unix.ErrnoName(f.Errno)
}

// An Injector makes the system calls of this process fail. Its methods are for
// one goroutine.
type Injector struct {
	listener uintptr
	idle     int // how many goroutines there are between two operations
	armed    atomic.Pointer[armed]
}

// armed is a Fault in force.
type armed struct {
	Fault
	seen, failed atomic.Int32
}

// Start returns an Injector for the calls. They go by way of a supervisor for as
// long as the process lives, so the process must be one of this test's own: see
// package netnstest. Start skips the test where the kernel, a sandbox or an
// emulator does not let it supervise.
//
// It turns the garbage collector off, which [Injector.Each] calls instead. A
// goroutine whose call waits for the supervisor does not stop for the
// collector, and the supervisor does not answer while the world stops.
func Start(t *testing.T, calls ...Call) *Injector {
	t.Helper()
	arch, ok := map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}[runtime.GOARCH]
	switch {
	case !ok:
		t.Skipf("needs the arguments of socket calls in registers: on %s package syscall uses socketcall(2)", runtime.GOARCH)
	case os.Getenv("LOOPBACK_TEST_EMULATED") != "":
		t.Skip("needs seccomp(2), which emulators do not have")
	}
	runtime.GOMAXPROCS(64) // each call that waits keeps one, and the supervisor needs one
	debug.SetGCPercent(-1)

	runtime.LockOSThread() // the thread that may have no new privileges is to load the filter
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Skipf("needs seccomp(2): %v", err)
	}
	filter := program(arch, calls)
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	const flags = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		t.Skipf("needs seccomp(2) with user notification: %v", errno)
	}
	in := &Injector{listener: fd}
	go in.supervise()
	in.idle = runtime.NumGoroutine()
	return in
}

// program returns the filter that reports the calls: seccomp(2).
func program(arch uint32, calls []Call) []unix.SockFilter {
	load := func(offset uint32) unix.SockFilter { // of struct seccomp_data
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	unless := func(k uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: k, Jf: skip}
	}
	ret := func(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }
	const nr, archOffset, arg1 = 0, 4, 24
	filter := []unix.SockFilter{load(archOffset), unless(arch, 1), {Code: unix.BPF_JMP | unix.BPF_JA, K: 1}, ret(unix.SECCOMP_RET_ALLOW)}
	for _, request := range []uint32{unix.SECCOMP_IOCTL_NOTIF_RECV, unix.SECCOMP_IOCTL_NOTIF_SEND} { // of the supervisor itself
		filter = append(filter, load(nr), unless(unix.SYS_IOCTL, 3), load(arg1), unless(request, 1), ret(unix.SECCOMP_RET_ALLOW))
	}
	filter = append(filter, load(nr))
	for _, call := range calls {
		filter = append(filter, unless(call.Number, 1), ret(unix.SECCOMP_RET_USER_NOTIF))
	}
	return append(filter, ret(unix.SECCOMP_RET_ALLOW))
}

// supervise answers the calls that the filter reports.
func (in *Injector) supervise() {
	runtime.LockOSThread()
	for {
		var call struct { // struct seccomp_notif
			id         uint64
			pid, flags uint32
			nr, arch   uint32
			ip         uint64
			args       [6]uint64
		}
		var reply struct { // struct seccomp_notif_resp
			id    uint64
			val   int64
			error int32
			flags uint32
		}
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, in.listener, unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&call))); errno != 0 {
			continue // it was interrupted, or the caller has gone
		}
		reply.id = call.id
		if errno := in.armed.Load().verdict(call.nr, call.args); errno != 0 {
			reply.error = -int32(errno)
		} else {
			reply.flags = unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE
		}
		_, _, _ = unix.Syscall(unix.SYS_IOCTL, in.listener, unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&reply))) // the caller may have gone
	}
}

// verdict returns the error number for a call, 0 to let it go on.
func (a *armed) verdict(nr uint32, args [6]uint64) unix.Errno {
	if a == nil || nr != a.Call.Number || a.Call.Args != nil && !a.Call.Args(args) {
		return 0
	}
	seen := int(a.seen.Add(1))
	if seen < a.First || a.Last != 0 && seen > a.Last {
		return 0
	}
	a.failed.Add(1)
	return a.Errno
}

// During runs op under a fault and returns how many calls failed. The calls of
// op must be over when it returns.
func (in *Injector) During(f Fault, op func()) (failed int) {
	a := &armed{Fault: f}
	in.armed.Store(a)
	defer in.armed.Store(nil)
	op()
	in.armed.Store(nil)
	return int(a.failed.Load())
}

// A Plan is a series of faults.
type Plan struct {
	Calls  []Call
	Errnos []unix.Errno
	Sparse bool // of many calls of a kind, the first few fail and then fewer and fewer
}

// Each runs op under each fault of the plan: under the failure of each single
// call that op makes, from the first of a kind to the last, and under each that
// lasts from that call on. Op is given the fault, and a function that is to run
// what is tested. Each returns how many faults there were.
func (in *Injector) Each(plan Plan, op func(f Fault, during func(func()))) (faults int) {
	for _, call := range plan.Calls {
		for _, errno := range plan.Errnos {
			if runtime.NumGoroutine() <= in.idle {
				runtime.GC()
			}
			faults += in.each(plan, call, errno, true, op) + in.each(plan, call, errno, false, op)
		}
	}
	return faults
}

func (in *Injector) each(plan Plan, call Call, errno unix.Errno, single bool, op func(f Fault, during func(func()))) (faults int) {
	step := 0
	for first := 1; ; first += 1 + step {
		f := Fault{Call: call, Errno: errno, First: first}
		if single {
			f.Last = first
		}
		failed := 0
		op(f, func(tested func()) { failed = in.During(f, tested) })
		if failed == 0 {
			return faults
		}
		faults++
		if plan.Sparse {
			step = first / 2
		}
	}
}
