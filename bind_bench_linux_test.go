package loopback_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/loopback"
)

// BenchmarkListen opens and closes a listener: on an empty range of ephemeral
// ports, on a full one, of which 13,000 are taken by listeners on ::1, and on
// one where as many are strewn over it.
//
// loopback is a pair without the proofs of ListenConfig.Ingress, proved one with
// them. net.Listen is the mean of the two families, as it is by default, with
// multipath TCP. By hand it is a pair of listeners without multipath TCP, with
// up to ten ports until one is free in both families.
func BenchmarkListen(b *testing.B) {
	for name, setup := range map[string]func(*testing.B){
		"empty":  func(*testing.B) {},
		"full":   func(b *testing.B) { takePorts(b, true) },
		"strewn": func(b *testing.B) { takePorts(b, false) },
	} {
		listener := func(lc *loopback.ListenConfig, address string) func(*testing.B) {
			return func(b *testing.B) {
				setup(b)
				b.ReportAllocs()
				for b.Loop() {
					ln, err := lc.Listen(b.Context(), "tcp", address)
					if err != nil {
						b.Fatal(err)
					}
					ln.Close()
				}
			}
		}
		b.Run(name+"/loopback", listener(&loopback.ListenConfig{Ingress: loopback.IngressAny}, ":0"))
		b.Run(name+"/net.Listen", func(b *testing.B) {
			setup(b)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				ln, err := net.Listen("tcp", []string{"127.0.0.1:0", "[::1]:0"}[i%2])
				if err != nil {
					b.Fatal(err)
				}
				ln.Close()
			}
		})
		b.Run(name+"/by-hand", func(b *testing.B) {
			setup(b)
			b.ReportAllocs()
			tries, failed := 0, 0
			for b.Loop() {
				done := false
				for try := 0; !done && try < 10; try++ {
					ln4, err := listenPlain(b, "127.0.0.1:0")
					if err != nil {
						b.Fatal(err)
					}
					ln6, err := listenPlain(b, fmt.Sprint("[::1]:", ln4.Addr().(*net.TCPAddr).Port))
					if done = err == nil; done {
						ln6.Close()
					}
					ln4.Close()
					tries++
				}
				if !done {
					failed++
				}
			}
			b.ReportMetric(float64(tries)/float64(b.N), "tries/op")
			b.ReportMetric(float64(failed)/float64(b.N), "failures/op")
		})
		b.Run(name+"/proved", listener(&loopback.ListenConfig{}, ":0"))
		b.Run(name+"/one", listener(&loopback.ListenConfig{Ingress: loopback.IngressAny}, "127.0.0.1:0"))
		b.Run(name+"/one-proved", listener(&loopback.ListenConfig{}, "127.0.0.1:0"))
	}
}

// listenPlain is net.Listen without multipath TCP, as the sockets of a Listener
// are. With it a listener costs half as much again.
func listenPlain(b *testing.B, address string) (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	return lc.Listen(b.Context(), "tcp", address)
}

// takePorts takes 13,000 of the ports that the kernel picks for a port of 0,
// for ::1 in a network namespace of the calling thread: with reuse those that
// 13,000 listeners get, which have SO_REUSEADDR (all odd ones of the lower
// half, then even ones), otherwise those that others get (odd ones anywhere).
func takePorts(b *testing.B, reuse bool) {
	const taken, low, high = 13_000, 32768, 60999 // the default of ip_local_port_range
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < taken+100 {
		b.Skipf("needs %d descriptors: %v, %v", taken+100, limit.Cur, err)
	}
	runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		b.Skipf("needs a network namespace: %v", err)
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		b.Skipf("needs the ip command of iproute2: %v\n%s", err, out)
	}
	var ports []int
	const half = (high - low + 1) / 4
	if reuse {
		for i := range half {
			ports = append(ports, low+1+2*i)
		}
		for _, i := range rand.Perm(half) {
			ports = append(ports, low+2*i)
		}
	} else {
		for _, i := range rand.Perm(2 * half) {
			ports = append(ports, low+1+2*i)
		}
	}
	for _, port := range ports[:taken] {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { unix.Close(fd) })
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
		if reuse {
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		}
		if err := unix.Bind(fd, &unix.SockaddrInet6{Port: port, Addr: loopback.IPv6().As16()}); err != nil {
			b.Fatal(err)
		}
		if err := unix.Listen(fd, 1); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAccept makes one connection after another and accepts it: the time
// is the latency of a connection, cpu-ns/op what the process used for it, both
// ends together.
func BenchmarkAccept(b *testing.B) {
	b.Run("TCPListener", func(b *testing.B) {
		ln, err := listenPlain(b, "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		benchAccept(b, ln, netip.MustParseAddrPort(ln.Addr().String()))
	})
	b.Run("loopback", func(b *testing.B) {
		ln, err := loopback.Listen("tcp", ":0")
		if err != nil {
			b.Fatal(err)
		}
		benchAccept(b, ln, ln.AddrPorts()[0])
	})
	b.Run("fan-in", func(b *testing.B) {
		ln := newFanIn(b)
		benchAccept(b, ln, netip.MustParseAddrPort(ln.lns[0].Addr().String()))
	})
}

// benchAccept connects without package net, so that the accepting side is a
// fair part of what is measured.
func benchAccept(b *testing.B, ln net.Listener, to netip.AddrPort) {
	defer ln.Close()
	accepted := make(chan error)
	go func() {
		for {
			c, err := ln.Accept()
			if err == nil {
				err = c.Close()
			}
			accepted <- err
			if err != nil {
				return
			}
		}
	}()
	b.ReportAllocs()
	start := cpuTime(b)
	for b.Loop() {
		connectOnce(b, to)
		if err := <-accepted; err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(cpuTime(b)-start)/float64(b.N), "cpu-ns/op")
	ln.Close()
	<-accepted
}

// connectOnce connects with a blocking socket and resets the connection.
func connectOnce(b testing.TB, to netip.AddrPort) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	syscall.SetsockoptLinger(fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
	if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil {
		b.Fatal(err)
	}
	syscall.Close(fd)
}

func cpuTime(b *testing.B) int64 {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		b.Fatal(err)
	}
	return ru.Utime.Nano() + ru.Stime.Nano()
}

// fanIn is the usual way to accept from two listeners: a goroutine for each,
// and a channel.
type fanIn struct {
	net.Listener
	lns   []net.Listener
	conns chan net.Conn
	done  chan struct{}
}

func newFanIn(b *testing.B) *fanIn {
	f := &fanIn{conns: make(chan net.Conn), done: make(chan struct{})}
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		ln, err := listenPlain(b, address)
		if err != nil {
			b.Fatal(err)
		}
		f.lns = append(f.lns, ln)
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				select {
				case f.conns <- c:
				case <-f.done:
					return
				}
			}
		}()
	}
	return f
}

func (f *fanIn) Accept() (net.Conn, error) {
	select {
	case c := <-f.conns:
		return c, nil
	case <-f.done:
		return nil, net.ErrClosed
	}
}

func (f *fanIn) Close() error {
	select {
	case <-f.done:
		return nil
	default:
		close(f.done)
	}
	for _, ln := range f.lns {
		ln.Close()
	}
	return nil
}
