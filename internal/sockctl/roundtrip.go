package sockctl

import (
	"cmp"
	"context"
	"crypto/rand"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// roundTripTimeout bounds a RoundTrip. It takes a fraction of a millisecond where
// it succeeds, unless the machine stands still.
const roundTripTimeout = time.Second

// RoundTrip is [RoundTripThrough] a temporary listener on addr, and ends after a
// second. Its error is then [context.DeadlineExceeded], and that of ctx if ctx
// ends it.
func RoundTrip(ctx context.Context, addr netip.Addr, examine func(client, server *net.TCPConn) error) error {
	ctx, cancel := context.WithTimeout(ctx, roundTripTimeout)
	defer cancel()
	ln, err := Listen(ctx, addr)
	if err != nil {
		return err
	}
	defer ln.Close()
	if err := RoundTripThrough(ctx, ln.(*net.TCPListener), examine); err != nil {
		return cmp.Or(Ended(ctx), err)
	}
	return nil
}

// Ended returns ctx.Err(), and after the deadline of ctx its error also before
// ctx has noticed: package net has timers of its own.
func Ended(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && ctx.Err() == nil && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// RoundTripThrough connects to ln, which nothing else uses, sends a text, and
// calls examine with both ends of the connection that the text comes out of.
// That one is its own: a packet filter may have given it another address, and
// other programs may have connected first. RoundTripThrough returns the error of
// examine, or why it was not called. It ends with ctx, and leaves a deadline set
// on ln.
func RoundTripThrough(ctx context.Context, ln *net.TCPListener, examine func(client, server *net.TCPConn) error) error {
	expire := func() { _ = ln.SetDeadline(time.Unix(1, 0)) }
	defer context.AfterFunc(ctx, expire)()
	var d net.Dialer
	d.SetMultipathTCP(false) // whatever GODEBUG says
	conn, err := d.DialContext(ctx, "tcp", ln.Addr().String())
	if err != nil {
		return err
	}
	defer conn.Close()
	client := conn.(*net.TCPConn)
	_ = client.SetLinger(0) // no TIME_WAIT is left behind
	nonce := rand.Text()
	if _, err := client.Write([]byte(nonce)); err != nil {
		return err
	}
	examined := make(chan error, 1)
	var readers sync.WaitGroup
	defer readers.Wait() // after every connection is closed
	for {
		server, err := ln.AcceptTCP()
		if err != nil {
			select {
			case err = <-examined:
			default:
			}
			return err
		}
		defer server.Close()
		readers.Go(func() {
			text := make([]byte, len(nonce))
			if _, err := io.ReadFull(server, text); err == nil && string(text) == nonce {
				examined <- examine(client, server)
				expire() // ends the loop
			}
		})
	}
}
