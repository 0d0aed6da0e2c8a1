package loopback_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/loopback"
)

// BenchmarkExposed finds one exposed socket among descriptors of all kinds,
// beside two walks that others make: over the links of /proc/self/fd, and over
// the tables of /proc/net for the sockets among those.
//
// The other sockets come before the many descriptors: the descriptor table of
// the process never shrinks, and takes longer to list then.
func BenchmarkExposed(b *testing.B) {
	b.Run("10 descriptors", func(b *testing.B) { benchExposed(b, 10) })
	b.Run("20000 other sockets", func(b *testing.B) {
		benchPair(b, 20_000)
		benchExposed(b, 10)
	})
	for _, descriptors := range []int{1_000, 10_000} {
		b.Run(fmt.Sprintf("%d descriptors", descriptors), func(b *testing.B) { benchExposed(b, descriptors) })
	}
}

func benchExposed(b *testing.B, descriptors int) {
	limit := unix.Rlimit{}
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < uint64(descriptors)+100 {
		b.Skipf("needs %d descriptors: %v", descriptors, err)
	}
	ln, err := socketSpec{family: v4, typ: stream, bind: "0.0.0.0:0", listen: true}.open()
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(ln)
	for i := range descriptors - 1 {
		spec := socketSpec{family: v4, typ: stream}
		var fd int
		if i%2 == 0 {
			fd, err = spec.open()
		} else {
			fd, err = unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
		if err != nil {
			b.Fatal(err)
		}
		defer unix.Close(fd)
	}
	b.Run("Exposed", func(b *testing.B) {
		for b.Loop() {
			if exposed, err := loopback.Exposed(); err != nil || len(exposed) != 1 {
				b.Fatal(exposed, err)
			}
		}
	})
	b.Run("readlink", func(b *testing.B) {
		for b.Loop() {
			if len(socketLinks(b)) == 0 {
				b.Fatal("no sockets")
			}
		}
	})
	b.Run("proc", func(b *testing.B) {
		for b.Loop() {
			own, found := socketLinks(b), 0
			for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
				data, err := os.ReadFile("/proc/net/" + table)
				if err != nil {
					continue
				}
				for line := range strings.Lines(string(data)) {
					if f := strings.Fields(line); len(f) > 9 && own["socket:["+f[9]+"]"] {
						found++
					}
				}
			}
			if found == 0 {
				b.Fatal("not found")
			}
		}
	})
}

// socketLinks returns the links of /proc/self/fd that are sockets.
func socketLinks(b *testing.B) map[string]bool {
	b.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		b.Skipf("needs /proc: %v", err)
	}
	links := make(map[string]bool)
	for _, e := range entries {
		if link, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(link, "socket:") {
			links[link] = true
		}
	}
	return links
}
