package loopback_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
)

func TestLookupsAreOfBothFamiliesAndOfEach(t *testing.T) {
	dns := new(nameServer)
	dns.set(map[string]string{
		"both.internal":  "192.0.2.1 2001:db8::1",
		"twice.internal": "192.0.2.1 192.0.2.1",
		"four.internal":  "192.0.2.1",
	})
	r := dns.resolver(t)
	l := loopback.LookupAll(t.Context(), r, "both.internal.", false)
	assert.ElementsMatch(t, parseAddrs("192.0.2.1 2001:db8::1"), l.Addrs[0])
	assert.Equal(t, parseAddrs("192.0.2.1"), l.Addrs[1])
	assert.Equal(t, parseAddrs("2001:db8::1"), l.Addrs[2])
	assert.Equal(t, [3]error{}, l.Errs)
	assert.False(t, l.Repeats)
	assert.NotEmpty(t, l.Server)
	assert.Equal(t, l.Server, l.Answerer)

	l = loopback.LookupAll(t.Context(), r, "twice.internal.", false)
	assert.Equal(t, parseAddrs("192.0.2.1"), l.Addrs[0])
	assert.True(t, l.Repeats)

	l = loopback.LookupAll(t.Context(), r, "four.internal.", false)
	assert.Equal(t, parseAddrs("192.0.2.1"), l.Addrs[0])
	assert.NoError(t, l.Errs[1])
	assert.Empty(t, l.Addrs[2])
	assert.ErrorContains(t, l.Errs[2], "four.internal")

	l = loopback.LookupAll(t.Context(), r, "none.internal.", false)
	for i, err := range l.Errs {
		dnsErr, ok := errors.AsType[*net.DNSError](err)
		require.True(t, ok, "%d: %v", i, err)
		assert.True(t, dnsErr.IsNotFound)
	}
	assert.NotEmpty(t, l.Server)
	assert.Empty(t, l.Answerer, "a server that knows of no records")

	l = loopback.LookupAll(t.Context(), r, "192.0.2.9", false)
	assert.Equal(t, parseAddrs("192.0.2.9"), l.Addrs[0])
	assert.Empty(t, l.Server, "no server is asked for a literal")

	failing := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("unplugged") }}
	l = loopback.LookupAll(t.Context(), failing, "both.internal.", false)
	for _, err := range l.Errs {
		assert.ErrorContains(t, err, "unplugged")
	}
	assert.NotEmpty(t, l.Server)
	assert.Empty(t, l.Answerer)
}

// A datagram is a UDP connection from which one message is read.
type datagram struct {
	net.PacketConn
	net.Conn
	message []byte
	err     error
}

func (d datagram) Read(b []byte) (int, error) { return copy(b, d.message), d.err }

// The methods that both have.
func (d datagram) Close() error                     { return nil }
func (d datagram) LocalAddr() net.Addr              { return nil }
func (d datagram) SetDeadline(time.Time) error      { return nil }
func (d datagram) SetReadDeadline(time.Time) error  { return nil }
func (d datagram) SetWriteDeadline(time.Time) error { return nil }

// streamOnly is a connection that is no net.PacketConn.
type streamOnly struct{ net.Conn }

func TestServerThatAnswersIsTheOneWithRecords(t *testing.T) {
	header := func(change func(b []byte)) []byte {
		b := []byte{0, 1, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0}
		change(b)
		return b
	}
	for _, tt := range []struct {
		name    string
		message []byte
		want    bool
	}{
		{"an answer", header(func([]byte) {}), true},
		{"256 answers", header(func(b []byte) { b[6], b[7] = 1, 0 }), true},
		{"no records", header(func(b []byte) { b[7] = 0 }), false},
		{"a query", header(func(b []byte) { b[2] = 1 }), false},
		{"NXDOMAIN", header(func(b []byte) { b[3] |= 3 }), false},
		{"SERVFAIL", header(func(b []byte) { b[3] |= 2 }), false},
		{"too short", header(func([]byte) {})[:11], false},
		{"nothing", nil, false},
	} {
		conn, server, answerer, err := loopback.Watch(func(context.Context, string, string) (net.Conn, error) {
			return datagram{message: tt.message, err: io.ErrUnexpectedEOF}, nil
		}, "192.0.2.1:53", "192.0.2.2:53")
		require.NoError(t, err)
		assert.Implements(t, (*net.PacketConn)(nil), conn, "by which package net tells UDP")
		assert.Equal(t, "192.0.2.1:53", server, "the first")
		assert.Equal(t, tt.want, answerer == "192.0.2.1:53", "%s: %q", tt.name, answerer)
		assert.True(t, tt.want || answerer == "", tt.name)
		b := make([]byte, 20)
		n, err := conn.Read(b)
		assert.Equal(t, string(tt.message), string(b[:n]))
		assert.Equal(t, io.ErrUnexpectedEOF, err)
	}
	unplugged := errors.New("unplugged")
	conn, server, _, err := loopback.Watch(func(context.Context, string, string) (net.Conn, error) { return nil, unplugged }, "192.0.2.1:53", "192.0.2.2:53")
	assert.Nil(t, conn)
	assert.Equal(t, unplugged, err)
	assert.Equal(t, "192.0.2.1:53", server, "it was asked all the same")
	conn, _, _, err = loopback.Watch(func(context.Context, string, string) (net.Conn, error) {
		return streamOnly{datagram{}}, nil
	}, "192.0.2.1:53", "192.0.2.2:53")
	require.NoError(t, err)
	_, ok := conn.(net.PacketConn)
	assert.False(t, ok)
}
