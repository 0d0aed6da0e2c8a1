package loopback_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/loopback"
	"example.com/loopback/internal/netnstest"
)

// lookupNetIP has the signature of both twins.
type lookupNetIP func(ctx context.Context, network, host string) ([]netip.Addr, error)

func benchLookup(b *testing.B, callers int, lookup lookupNetIP) {
	b.Helper()
	b.ReportAllocs()
	if callers == 1 {
		for b.Loop() {
			if _, err := lookup(b.Context(), "ip", "localhost"); err != nil {
				b.Fatal(err)
			}
		}
		return
	}
	b.SetParallelism(callers)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := lookup(b.Context(), "ip", "localhost"); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// lookups are the twins.
var lookups = map[string]lookupNetIP{
	"ours": loopback.LookupNetIP,
	"net":  net.DefaultResolver.LookupNetIP,
}

// benchCase is a benchmark that runs in a namespace.
type benchCase struct {
	Lookup, Hosts string
	Callers       int
}

const benchChild = "LOOPBACK_TEST_BENCH"

// TestBenchChild is the process of BenchmarkLookupNetIP that has the hosts
// file.
func TestBenchChild(t *testing.T) {
	text, ok := os.LookupEnv(benchChild)
	if !ok {
		t.Skip("only of use to BenchmarkLookupNetIP")
	}
	var c benchCase
	require.NoError(t, json.Unmarshal([]byte(text), &c))
	require.NoError(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	startEtc(t, c.Hosts)
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	r := testing.Benchmark(func(b *testing.B) { benchLookup(b, c.Callers, lookups[c.Lookup]) })
	data, err := json.Marshal([]float64{float64(r.T.Nanoseconds()) / float64(r.N), float64(r.AllocsPerOp())})
	require.NoError(t, err)
	fmt.Printf("\nBENCH %s\n", data)
}

// BenchmarkLookupNetIP runs each twin in a namespace of its own, with a hosts
// file of one and of both families.
func BenchmarkLookupNetIP(b *testing.B) {
	for _, families := range []struct{ name, hosts string }{{"one family", "127.0.0.1 localhost\n"}, {"both families", hostsBoth}} {
		for _, callers := range []int{1, 64} {
			for _, lookup := range []string{"ours", "net"} {
				b.Run(fmt.Sprintf("%s, callers=%d/%s", families.name, callers, lookup), func(b *testing.B) {
					text, err := json.Marshal(benchCase{lookup, families.hosts, callers})
					if err != nil {
						b.Fatal(err)
					}
					cmd := exec.CommandContext(b.Context(), "/proc/self/exe", "-test.run=^TestBenchChild$", "-test.benchtime=0.2s")
					cmd.Env = append(os.Environ(), benchChild+"="+string(text))
					cmd.SysProcAttr = &syscall.SysProcAttr{
						Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
						UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
						GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
					}
					out, err := cmd.CombinedOutput()
					_, result, ok := bytes.Cut(out, []byte("BENCH "))
					if !ok {
						b.Skipf("needs user, mount and network namespaces: %v\n%s", err, out)
					}
					var figures [2]float64
					if err := json.NewDecoder(bytes.NewReader(result)).Decode(&figures); err != nil {
						b.Fatal(err)
					}
					for b.Loop() { // the child measured
					}
					b.ReportMetric(figures[0], "ns/op")
					b.ReportMetric(figures[1], "allocs/op")
				})
			}
		}
	}
}

const countChild = "LOOPBACK_TEST_COUNT"

// TestCountChild looks localhost up in a process whose system calls about
// files and sockets the kernel reports before it makes them: seccomp_unotify(2).
func TestCountChild(t *testing.T) {
	lookup, ok := os.LookupEnv(countChild)
	if !ok {
		t.Skip("only of use to TestLookupNetIPSyscalls")
	}
	runtime.GOMAXPROCS(2)                                                        // the lookup may wait for the report without giving up its processor
	filter := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}} // the number of the call
	for _, nr := range []uint32{
		unix.SYS_OPENAT, unix.SYS_FSTAT, unix.SYS_READ, unix.SYS_CLOSE, unix.SYS_FCNTL, unix.SYS_EPOLL_CTL,
		unix.SYS_SOCKET, unix.SYS_CONNECT, unix.SYS_SETSOCKOPT, unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME,
	} {
		filter = append(filter,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: nr, Jf: 1},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF})
	}
	filter = append(filter, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	require.NoError(t, unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC|
		unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH|unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		fmt.Printf("\nCOUNT cannot: %v\n", errno)
		return
	}
	var count atomic.Int64
	go func() {
		for {
			var call struct { // struct seccomp_notif
				id         uint64
				pid, flags uint32
				data       [8]uint64
			}
			reply := struct { // struct seccomp_notif_resp
				id    uint64
				val   int64
				err   int32
				flags uint32
			}{flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
			if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&call))); errno != 0 {
				continue // interrupted
			}
			count.Add(1)
			reply.id = call.id
			unix.Syscall(unix.SYS_IOCTL, fd, unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&reply)))
		}
	}()
	before := count.Load()
	addrs, err := lookups[lookup](t.Context(), "ip", "localhost")
	fmt.Printf("\nCOUNT %d %d %v\n", count.Load()-before, len(addrs), err)
	os.Exit(0)
}

// A lookup of localhost makes no system call about files or sockets; the first
// one of package net makes some dozens.
func TestLookupNetIPSyscalls(t *testing.T) {
	calls := func(lookup string) (n int) {
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestCountChild$", "-test.count=1")
		cmd.Env = append(os.Environ(), countChild+"="+lookup)
		out, err := cmd.CombinedOutput()
		if errors.Is(err, unix.ENOEXEC) {
			t.Skipf("needs to run itself: %v", err) // an emulator runs it
		}
		require.NoError(t, err, "%s", out)
		_, result, ok := strings.Cut(string(out), "COUNT ")
		require.True(t, ok, "%s", out)
		if strings.HasPrefix(result, "cannot") {
			t.Skipf("needs seccomp: %s", result)
		}
		var addrs int
		_, err = fmt.Sscanf(result, "%d %d", &n, &addrs)
		require.NoError(t, err, "%s", result)
		if lookup == "ours" { // package net may have nothing to find
			assert.Equal(t, 2, addrs, "%s", result)
		}
		return n
	}
	assert.Zero(t, calls("ours"))
	theirs := calls("net")
	assert.Positive(t, theirs, "a count that sees nothing proves nothing")
	t.Logf("net.Resolver makes %d", theirs)
}
