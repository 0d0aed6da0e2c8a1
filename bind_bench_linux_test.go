package loopback_test

import (
	"context"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"example.com/loopback"
)

// BenchmarkListen opens and closes listeners. The peer of "pair" is one
// net.Listen of each family, halved: the goal is at most 3 times the mean of
// the families without the proofs of ListenConfig.Ingress, and 2 ms with them.
func BenchmarkListen(b *testing.B) {
	b.Run("net.Listen/tcp4", func(b *testing.B) { benchNetListen(b, "127.0.0.1:0") })
	b.Run("net.Listen/tcp6", func(b *testing.B) { benchNetListen(b, "[::1]:0") })
	for name, lc := range map[string]*loopback.ListenConfig{
		"any": {Ingress: loopback.IngressAny}, "auto": {},
	} {
		b.Run("Listen/one/"+name, func(b *testing.B) { benchListen(b, lc, "127.0.0.1:0") })
		b.Run("Listen/pair/"+name, func(b *testing.B) { benchListen(b, lc, ":0") })
	}
}

func benchNetListen(b *testing.B, address string) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	b.ReportAllocs()
	for b.Loop() {
		ln, err := lc.Listen(b.Context(), "tcp", address)
		if err != nil {
			b.Fatal(err)
		}
		ln.Close()
	}
}

func benchListen(b *testing.B, lc *loopback.ListenConfig, address string) {
	b.ReportAllocs()
	for b.Loop() {
		ln, err := lc.Listen(b.Context(), "tcp", address)
		if err != nil {
			b.Fatal(err)
		}
		ln.Close()
	}
}

// BenchmarkAccept makes one connection after another and accepts it: the time
// is the latency of a connection, cpu-ns/op what the process used for it, both
// ends together.
func BenchmarkAccept(b *testing.B) {
	b.Run("TCPListener", func(b *testing.B) {
		var lc net.ListenConfig
		lc.SetMultipathTCP(false)
		ln, err := lc.Listen(b.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		benchAccept(b, ln, netip.MustParseAddrPort(ln.Addr().String()))
	})
	b.Run("Listener", func(b *testing.B) {
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
		ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
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
