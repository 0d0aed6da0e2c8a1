package loopback_test

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
)

// eachListener runs a test on a listener of one address and on one of both
// families, which accept in different ways.
func eachListener(t *testing.T, test func(t *testing.T, ln *loopback.Listener)) {
	t.Helper()
	for _, address := range []string{"127.0.0.1:0", ":0"} {
		name := "one"
		if address == ":0" {
			name = "both"
		}
		t.Run(name, func(t *testing.T) { test(t, listening(t, address)) })
	}
}

// abort resets a connection.
func abort(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}

func TestAccept(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0", "127.0.0.2:0", ":0"} {
		ln, err := loopback.Listen("tcp", address)
		if err != nil && strings.ContainsAny(address, "2[") {
			t.Logf("this machine does not have the address: %v", err)
			continue
		}
		require.NoError(t, err)
		defer ln.Close()
		for _, to := range ln.AddrPorts() {
			client := dial(t, to)
			c, err := ln.Accept()
			require.NoError(t, err)
			assert.IsType(t, (*net.TCPConn)(nil), c)
			assert.Equal(t, to.String(), c.LocalAddr().String())
			assert.Equal(t, client.LocalAddr().String(), c.RemoteAddr().String())
			_, err = io.WriteString(c, "from "+to.String())
			require.NoError(t, err)
			require.NoError(t, c.Close())
			got, err := io.ReadAll(client)
			require.NoError(t, err)
			assert.Equal(t, "from "+to.String(), string(got))

			dial(t, to)
			tc, err := ln.AcceptTCP()
			require.NoError(t, err)
			tc.Close()
		}
	}
}

// A crowd of one family does not keep clients of the other waiting.
func TestAcceptStarvesNobody(t *testing.T) {
	ln := listening(t, ":0")
	crowd, few := ln.AddrPorts()[0], ln.AddrPorts()[1]
	done := make(chan struct{})
	var dialing, accepting sync.WaitGroup
	for range 3 {
		dialing.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				c, err := net.DialTimeout("tcp", crowd.String(), patience)
				if !assert.NoError(t, err) {
					return
				}
				abort(c.(*net.TCPConn))
			}
		})
	}
	accepting.Go(func() {
		for {
			c, err := ln.AcceptTCP()
			if err != nil {
				assert.ErrorIs(t, err, net.ErrClosed)
				return
			}
			c.Write([]byte("x"))
			c.Close()
		}
	})
	for range 20 {
		c := dial(t, few)
		require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
		_, err := c.Read(make([]byte, 1))
		require.NoError(t, err)
		abort(c)
	}
	close(done)
	dialing.Wait()
	require.NoError(t, ln.Close())
	accepting.Wait()
}

// With several goroutines in Accept no connection is lost and none is
// delivered twice.
func TestAcceptConcurrently(t *testing.T) {
	eachListener(t, func(t *testing.T, ln *loopback.Listener) {
		const acceptors, dialers, each = 5, 4, 50
		ids := make(chan uint32, dialers*each)
		var accepting, dialing sync.WaitGroup
		for range acceptors {
			accepting.Go(func() {
				for {
					c, err := ln.Accept()
					if err != nil {
						assert.ErrorIs(t, err, net.ErrClosed)
						return
					}
					var id uint32
					assert.NoError(t, binary.Read(c, binary.BigEndian, &id))
					assert.NoError(t, binary.Write(c, binary.BigEndian, id))
					c.Close()
					ids <- id
				}
			})
		}
		to := ln.AddrPorts()
		for d := range dialers {
			dialing.Go(func() {
				for i := range each {
					id := uint32(d*each + i)
					c, err := net.DialTimeout("tcp", to[i%len(to)].String(), patience)
					if !assert.NoError(t, err) {
						return
					}
					assert.NoError(t, binary.Write(c, binary.BigEndian, id))
					var echo uint32
					assert.NoError(t, binary.Read(c, binary.BigEndian, &echo))
					assert.Equal(t, id, echo)
					abort(c.(*net.TCPConn))
				}
			})
		}
		dialing.Wait()
		require.NoError(t, ln.Close())
		accepting.Wait()
		close(ids)
		seen := map[uint32]int{}
		for id := range ids {
			seen[id]++
		}
		assert.Len(t, seen, dialers*each)
		for id, n := range seen {
			assert.Equal(t, 1, n, "connection %d", id)
		}
	})
}

// A connection that is gone before it is accepted does not end the wait of
// one that is not.
func TestAcceptAfterReset(t *testing.T) {
	eachListener(t, func(t *testing.T, ln *loopback.Listener) {
		for _, to := range ln.AddrPorts() {
			for range 20 {
				abort(dial(t, to))
			}
			client := dial(t, to)
			_, err := io.WriteString(client, "here")
			require.NoError(t, err)
			for served := false; !served; {
				c, err := ln.Accept()
				require.NoError(t, err)
				got := make([]byte, 4)
				if _, err = io.ReadFull(c, got); err == nil {
					assert.Equal(t, "here", string(got))
					served = true
				}
				c.Close()
			}
		}
	})
}

func TestAcceptDeadline(t *testing.T) {
	eachListener(t, func(t *testing.T, ln *loopback.Listener) {
		last := ln.AddrPorts()[len(ln.AddrPorts())-1]
		long, short := time.Hour, 30*time.Millisecond
		set := func(d time.Duration) {
			t.Helper()
			require.NoError(t, ln.SetDeadline(time.Now().Add(d)))
		}

		set(-time.Second)
		for range 3 {
			_, err := ln.Accept()
			requireTimeout(t, err)
		}
		client := dial(t, last)
		c, err := ln.Accept()
		requireTimeout(t, err) // although there is a connection
		assert.True(t, c == nil, "not a nil *net.TCPConn")
		require.NoError(t, ln.SetDeadline(time.Time{}))
		c, err = ln.Accept()
		require.NoError(t, err)
		assert.Equal(t, client.LocalAddr().String(), c.RemoteAddr().String())
		c.Close()

		start := time.Now()
		set(short)
		_, err = ln.Accept()
		requireTimeout(t, err)
		assert.GreaterOrEqual(t, time.Since(start), short)
		_, err = ln.Accept()
		requireTimeout(t, err) // it stays

		set(long)
		result := accepting(t, ln)
		set(short) // earlier
		requireTimeout(t, wait(t, result).err)

		set(short)
		result = accepting(t, ln)
		set(3 * short) // later, if it is still waiting
		requireTimeout(t, wait(t, result).err)

		set(long)
		result = accepting(t, ln)
		set(-time.Nanosecond)
		requireTimeout(t, wait(t, result).err)

		set(long)
		result = accepting(t, ln)
		require.NoError(t, ln.SetDeadline(time.Time{})) // none, while it waits
		dial(t, last)
		got := wait(t, result)
		require.NoError(t, got.err)
		got.conn.Close()

		set(long)
		var all []<-chan accepted
		for range 4 {
			all = append(all, accepting(t, ln))
		}
		set(-time.Second) // ends every wait
		for _, result := range all {
			requireTimeout(t, wait(t, result).err)
		}
	})
}

// Moving the deadline away keeps a wait from ending at the old one.
func TestAcceptDeadlineIsMovedAway(t *testing.T) {
	eachListener(t, func(t *testing.T, ln *loopback.Listener) {
		for first := 50 * time.Millisecond; ; first *= 2 {
			require.Less(t, first, patience, "never in time")
			start := time.Now()
			require.NoError(t, ln.SetDeadline(start.Add(first)))
			result := accepting(t, ln)
			moved := time.Now()
			require.NoError(t, ln.SetDeadline(moved.Add(3*first)))
			inTime := time.Since(start) < first
			requireTimeout(t, wait(t, result).err)
			if inTime {
				assert.GreaterOrEqual(t, time.Since(moved), 3*first)
				return
			}
		}
	})
}

func TestAcceptClose(t *testing.T) {
	eachListener(t, func(t *testing.T, ln *loopback.Listener) {
		var waiters []<-chan accepted
		for range 5 {
			waiters = append(waiters, accepting(t, ln))
		}
		address := ln.Addr().String()
		require.NoError(t, ln.Close())
		for _, w := range waiters {
			got := wait(t, w)
			requireClosed(t, got.err)
			assert.True(t, got.conn == nil, "not a nil *net.TCPConn")
		}
		requireClosed(t, ln.Close())
		requireClosed(t, ln.SetDeadline(time.Now()))
		requireClosed(t, ln.SetDeadline(time.Time{}))
		_, err := ln.Accept()
		requireClosed(t, err)
		_, err = ln.AcceptTCP()
		requireClosed(t, err)
		assert.Equal(t, address, ln.Addr().String())
		assert.Contains(t, ln.URL("http"), address)
		for _, ap := range ln.AddrPorts() {
			again, err := loopback.Listen("tcp", ap.String())
			require.NoError(t, err, "the port is free again")
			again.Close()
		}
	})
}

// Of several calls of Close one succeeds.
func TestCloseConcurrently(t *testing.T) {
	eachListener(t, func(t *testing.T, ln *loopback.Listener) {
		const closers = 8
		result := accepting(t, ln)
		errs := make(chan error, closers)
		for range closers {
			go func() { errs <- ln.Close() }()
		}
		succeeded := 0
		for range closers {
			if err := wait(t, errs); err == nil {
				succeeded++
			} else {
				requireClosed(t, err)
			}
		}
		assert.Equal(t, 1, succeeded)
		requireClosed(t, wait(t, result).err)
	})
}

// What waits to be accepted is reset by Close, also what a listener took from
// the kernel before it was asked for.
func TestCloseResetsWaiting(t *testing.T) {
	eachListener(t, func(t *testing.T, ln *loopback.Listener) {
		var clients []*net.TCPConn
		for range 3 {
			for _, to := range ln.AddrPorts() {
				clients = append(clients, dial(t, to))
			}
		}
		c, err := ln.Accept()
		require.NoError(t, err)
		defer c.Close()
		require.NoError(t, ln.Close())
		for _, client := range clients {
			if client.LocalAddr().String() == c.RemoteAddr().String() {
				continue
			}
			require.NoError(t, client.SetReadDeadline(time.Now().Add(patience)))
			_, err := client.Read(make([]byte, 1))
			require.Error(t, err)
			assert.NotErrorIs(t, err, os.ErrDeadlineExceeded)
		}
	})
}

// http.Serve serves both addresses, and Shutdown ends it.
func TestServeHTTP(t *testing.T) {
	eachListener(t, func(t *testing.T, ln *loopback.Listener) {
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, r.Context().Value(http.LocalAddrContextKey))
		})}
		served := make(chan error, 1)
		go func() { served <- srv.Serve(ln) }()
		for _, to := range ln.AddrPorts() {
			assert.Equal(t, to.String(), get(t, http.DefaultClient, "http://"+to.String()))
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		http.DefaultClient.CloseIdleConnections()
		require.NoError(t, srv.Shutdown(ctx))
		require.ErrorIs(t, wait(t, served), http.ErrServerClosed)
		requireClosed(t, ln.Close())
	})
}

func TestServeHTTPTest(t *testing.T) {
	eachListener(t, func(t *testing.T, ln *loopback.Listener) {
		srv := &httptest.Server{Listener: ln, Config: &http.Server{Handler: http.NotFoundHandler()}}
		srv.Start()
		defer srv.Close()
		assert.Equal(t, ln.URL("http"), srv.URL)
		assert.Contains(t, get(t, srv.Client(), srv.URL), "404")
	})
}

func TestServeTLS(t *testing.T) {
	eachListener(t, func(t *testing.T, ln *loopback.Listener) {
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, r.TLS != nil)
		}))
		srv.Listener.Close()
		srv.StartTLS() // for its certificate
		config := srv.TLS.Clone()
		client := srv.Client()
		srv.Close()

		served := make(chan error, 1)
		go func() { served <- http.Serve(tls.NewListener(ln, config), srv.Config.Handler) }()
		for _, to := range ln.AddrPorts() {
			assert.Equal(t, "true", get(t, client, "https://"+to.String()))
		}
		client.CloseIdleConnections()
		require.NoError(t, ln.Close())
		requireClosed(t, wait(t, served))
	})
}

// A server that names itself by Addr().String(), and whose end is to close the
// listener from another goroutine and to wait for its connections, as that of
// gRPC.
func TestServeGracefully(t *testing.T) {
	eachListener(t, func(t *testing.T, ln *loopback.Listener) {
		var conns sync.WaitGroup
		served := make(chan error, 1)
		go func() {
			for {
				c, err := ln.Accept()
				if ne, ok := err.(interface{ Temporary() bool }); ok && ne.Temporary() {
					continue
				}
				if err != nil {
					served <- err
					return
				}
				conns.Go(func() {
					defer c.Close()
					io.Copy(c, c)
				})
			}
		}()
		var clients []*net.TCPConn
		for _, to := range ln.AddrPorts() {
			clients = append(clients, dial(t, to))
		}
		named, err := net.Dial(ln.Addr().Network(), ln.Addr().String())
		require.NoError(t, err)
		clients = append(clients, named.(*net.TCPConn))
		for _, c := range clients { // all are accepted
			echo(t, c)
		}
		require.NoError(t, ln.Close())
		requireClosed(t, wait(t, served))
		for _, c := range clients { // and outlive the listener
			echo(t, c)
			c.Close()
		}
		conns.Wait()
	})
}

// After Close no goroutine is left, whoever waited.
func TestNoGoroutineIsLeft(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 20 {
		ln, err := loopback.Listen("tcp", ":0")
		require.NoError(t, err)
		c, err := net.Dial("tcp", ln.Addr().String())
		require.NoError(t, err)
		a, err := ln.Accept()
		require.NoError(t, err)
		result := accepting(t, ln)
		a.Close()
		c.Close()
		require.NoError(t, ln.SetDeadline(time.Now().Add(time.Hour)))
		require.NoError(t, ln.Close())
		requireClosed(t, wait(t, result).err)
	}
	noMoreGoroutines(t, before)
}
