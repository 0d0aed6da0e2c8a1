package loopback_test

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/loopback"
	"example.com/loopback/internal/sockctl"
	"example.com/loopback/internal/syserr"
)

// A limit of this process is no fault of the machine, and is told from one.
func TestAdviceAboutThisProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the parameters are those of Linux")
	}
	op := func(op, call string, err error) error {
		return &net.OpError{Op: op, Net: "tcp", Err: os.NewSyscallError(call, err)}
	}
	const (
		files   = "let this process open more files: ulimit -n"
		all     = "end what has many files open, or let all programs have more: fs.file-max"
		ports   = "close what has so many ports, or let the system choose from more: net.ipv4.ip_local_port_range"
		memory  = "free some memory: the kernel has none for another socket"
		sandbox = "let this process make sockets: a sandbox forbids it"
	)
	for _, tt := range []struct {
		errs []error
		want string
	}{
		{nil, ""},
		{[]error{nil, nil}, ""},
		{[]error{syscall.EADDRNOTAVAIL, syscall.ECONNREFUSED}, ""},
		{[]error{op("listen", "socket", syscall.EMFILE)}, files},
		{[]error{nil, syscall.EMFILE, syscall.ENFILE}, files},
		{[]error{syscall.ENFILE}, all},
		{[]error{syscall.ENOBUFS}, memory},
		{[]error{syscall.EADDRNOTAVAIL, syscall.ENOMEM}, memory},
		{[]error{op("listen", "bind", syscall.EADDRINUSE), syscall.ENOMEM}, ports},
		{[]error{op("listen", "bind", syscall.EPERM)}, sandbox},
		{[]error{op("listen", "bind", syscall.EACCES)}, ""},
		{[]error{op("dial", "socket", syscall.EPERM)}, sandbox},
		{[]error{op("dial", "connect", syscall.EPERM)}, ""}, // of a packet filter
		{[]error{os.NewSyscallError("socket", syscall.EPERM)}, sandbox},
		{[]error{syscall.EPERM}, ""},
		{[]error{op("listen", "getsockname", sockctl.ErrNoName)}, sandbox},
	} {
		assert.Equal(t, tt.want, loopback.FixProcess(tt.errs...), "%v", tt.errs)
	}
}

// Another system than Linux has neither its parameters nor, on Windows, its shell.
func TestAdviceNamesTheMeansOfThisSystem(t *testing.T) {
	for _, name := range []string{"EMFILE", "ENFILE", "EADDRINUSE"} {
		errno, ok := syserr.Number(name)
		if !ok {
			continue // Windows has fewer
		}
		fix := loopback.FixProcess(errno)
		assert.NotEmpty(t, fix, name)
		if runtime.GOOS != "linux" && runtime.GOOS != "android" {
			assert.NotContains(t, fix, "fs.", name)
			assert.NotContains(t, fix, "net.ipv4", name)
		}
		if runtime.GOOS == "windows" {
			assert.NotContains(t, fix, ":", name)
		}
	}
}

func TestAdviceAboutAnAddressThatIsAbsent(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the commands are those of Linux")
	}
	lo := net.Interface{Name: "nosuch0", MTU: 65536} // without parameters of its own
	if cause, _ := loopback.HowToAdd(loopback.IPv6(), lo); cause != "" {
		t.Skipf("needs a machine with IPv6: %s", cause)
	}
	const (
		add4 = "ip addr add 127.0.0.1/8 dev nosuch0"
		add6 = "ip addr add ::1/128 dev nosuch0"
	)
	for _, tt := range []struct {
		addr netip.Addr
		err  error
		want string
	}{
		{loopback.IPv4(), syscall.EADDRNOTAVAIL, add4},
		{netip.MustParseAddr("127.9.9.9"), syscall.EADDRNOTAVAIL, add4},
		{loopback.IPv6(), os.NewSyscallError("bind", syscall.EADDRNOTAVAIL), add6},
		{loopback.IPv4(), syscall.EAFNOSUPPORT, ""},
		{loopback.IPv6(), syscall.EINVAL, ""},
		{loopback.IPv6(), syscall.EMFILE, "let this process open more files: ulimit -n"},
	} {
		cause, fix := loopback.WhyAbsent(tt.addr, tt.err, lo)
		assert.Empty(t, cause)
		assert.Equal(t, tt.want, fix, "%v: %v", tt.addr, tt.err)
	}
	_, fix := loopback.HowToAdd(loopback.IPv4(), lo)
	assert.Equal(t, add4, fix)
	_, fix = loopback.HowToAdd(loopback.IPv6(), lo)
	assert.Equal(t, add6, fix)

	lo.MTU = 1279 // too small for IPv6: RFC 8200, section 5
	_, fix = loopback.WhyAbsent(loopback.IPv4(), syscall.EADDRNOTAVAIL, lo)
	assert.Equal(t, add4, fix)
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
		t.Skipf("needs the parameters of the kernel: %v", err)
	}
	for _, why := range []func() (string, string){
		func() (string, string) { return loopback.WhyAbsent(loopback.IPv6(), syscall.EADDRNOTAVAIL, lo) },
		func() (string, string) { return loopback.HowToAdd(loopback.IPv6(), lo) },
	} {
		cause, fix := why()
		assert.Equal(t, "the MTU of nosuch0 is 1279, and IPv6 needs 1280", cause)
		assert.Contains(t, fix, "ip link set dev nosuch0 mtu 65536 && ")
	}
}
