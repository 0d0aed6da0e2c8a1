package hostsfile_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"example.com/loopback/internal/hostsfile"
)

// BenchmarkParse reads a block list of 100,000 lines, beside a plain reading of it.
func BenchmarkParse(b *testing.B) {
	var list strings.Builder
	list.WriteString("127.0.0.1 localhost\n::1 localhost\n")
	for i := range 100_000 {
		fmt.Fprintf(&list, "0.0.0.0 ads%d.example.com\n", i)
	}
	text := list.String()
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			if h := hostsfile.Parse("/etc/hosts", strings.NewReader(text), "localhost"); len(h.Entries) != 2 {
				b.Fatal(h.Entries)
			}
		}
	})
	b.Run("plain", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			n := 0
			for line := range strings.Lines(text) {
				fields := strings.Fields(line)
				if _, err := netip.ParseAddr(fields[0]); err == nil && fields[1] == "localhost" {
					n++
				}
			}
			if n != 2 {
				b.Fatal(n)
			}
		}
	})
}
