package loopbackhttp_test

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback/loopbackhttp"
)

// A header is a field of a request, to be sent as it is.
type header struct{ name, value string }

// A message is a request in no version of HTTP.
type message struct {
	method, target string // target "" is "/"
	host           *string
	headers        []header
}

// A row of testdata/host_headers.tsv or host_headers_more.tsv: README.md in
// testdata tells what its columns mean.
type row struct {
	name    string
	message message
	guard   *loopbackhttp.Guard
	local   net.Addr // of the connection
	only    string   // the one protocol that can send it, or ""
	allow   bool
}

// readRows reads a table of requests.
func readRows(t testing.TB, file string) (rows []row) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", file))
	require.NoError(t, err)
	for i, line := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")[1:] {
		cells := strings.Split(line, "\t")
		require.GreaterOrEqual(t, len(cells), 6, "%s:%d", file, i+2)
		r := row{
			name:    fmt.Sprintf("%s:%d", file, i+2),
			message: message{method: "POST", host: cell(cells[0])},
			guard:   new(loopbackhttp.Guard),
			allow:   cells[4] == "allow",
		}
		require.Contains(t, []string{"allow", "deny"}, cells[4], r.name)
		r.addHeader("Origin", cells[1])
		r.addHeader("Sec-Fetch-Site", cells[2])
		_, local, ok := strings.Cut(cells[3], " via ")
		if !ok {
			local = cells[3]
		}
		if local == "unix" {
			r.local = &net.UnixAddr{Net: "unix", Name: "socket"}
		} else {
			host, _, err := net.SplitHostPort(local)
			if err != nil {
				host = local
			}
			r.local = &net.TCPAddr{IP: net.ParseIP(host), Port: 8080}
		}
		rest := cells[5]
		for strings.HasPrefix(rest, "[") {
			var tag string
			tag, rest, ok = strings.Cut(rest[1:], "]")
			require.True(t, ok, r.name)
			r.tag(t, tag)
			rest = strings.TrimSpace(rest)
		}
		rows = append(rows, r)
	}
	return rows
}

// cell returns what a cell of a table says, or nil for an absent header.
func cell(s string) *string {
	switch s {
	case "-":
		return nil
	case "<empty>":
		s = ""
	}
	return &s
}

func (r *row) addHeader(name, text string) {
	value := cell(text)
	if value == nil {
		return
	}
	for v := range strings.SplitSeq(*value, " && ") { // a header for each
		r.message.headers = append(r.message.headers, header{name, v})
	}
}

func (r *row) tag(t testing.TB, tag string) {
	words := strings.Fields(tag)
	switch {
	case strings.HasPrefix(tag, "cfg AllowHosts="):
		r.guard.Hosts = strings.Split(strings.TrimPrefix(tag, "cfg AllowHosts="), ",")
	case strings.HasPrefix(tag, "cfg AllowOrigins="):
		r.guard.Origins = strings.Split(strings.TrimPrefix(tag, "cfg AllowOrigins="), ",")
	case strings.HasPrefix(tag, "HTTP/"):
		r.only = words[0]
	case tag == "400 by net/http":
	case tag == "absolute URL":
		r.message.target = "http://" + *r.message.host + "/"
	case strings.Contains(tag, ": "):
		name, value, _ := strings.Cut(tag, ": ")
		r.message.headers = append(r.message.headers, header{name, value})
	default:
		r.message.method = words[0]
		if len(words) > 1 {
			r.addHeader("Sec-Fetch-Mode", words[1])
		}
		if len(words) > 2 {
			r.addHeader("Sec-Fetch-Dest", words[2])
		}
		require.LessOrEqual(t, len(words), 3, r.name)
	}
}

// A localListener reports the local address of its choice.
type localListener struct {
	net.Listener
	local func() net.Addr
}

func (l localListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return localConn{Conn: conn, local: l.local()}, nil
}

type localConn struct {
	net.Conn
	local net.Addr
}

func (c localConn) LocalAddr() net.Addr { return c.local }

const served = "served by the handler"

// serve starts a server of h, in all versions of HTTP, whose connections say that
// they came in at local(), and returns its address.
func serve(t testing.TB, h http.Handler, local func() net.Addr) string {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	server := new(loopbackhttp.Guard).Server(nil)
	server.Handler = h
	server.Protocols = new(http.Protocols)
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(localListener{Listener: ln, local: local}) }()
	t.Cleanup(func() {
		server.Close()
		assert.ErrorIs(t, <-ended, http.ErrServerClosed)
	})
	return ln.Addr().String()
}

// exchange sends m and returns all that comes back.
func (m message) exchange(t testing.TB, protocol, server string) []byte {
	t.Helper()
	conn, err := net.Dial("tcp", server)
	require.NoError(t, err)
	defer conn.Close()
	if protocol == "HTTP/2" {
		return m.exchange2(t, conn)
	}
	target := m.target
	if target == "" {
		target = "/"
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s %s\r\n", m.method, target, protocol)
	if m.host != nil {
		fmt.Fprintf(&b, "Host: %s\r\n", *m.host)
	}
	for _, h := range m.headers {
		fmt.Fprintf(&b, "%s: %s\r\n", h.name, h.value)
	}
	b.WriteString("Connection: close\r\nContent-Length: 0\r\n\r\n")
	_, err = conn.Write(b.Bytes())
	require.NoError(t, err)
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	return answer
}

// The types of frame that exchange2 knows: RFC 9113, section 6.
const (
	frameData      = 0
	frameHeaders   = 1
	frameRSTStream = 3
	frameSettings  = 4
	frameGoAway    = 7
)

// exchange2 sends m as HTTP/2 without TLS, and returns the body of the answer, or
// a text of its own if there is none.
func (m message) exchange2(t testing.TB, conn net.Conn) []byte {
	var block []byte
	field := func(name, value string) { // a literal that is not indexed: RFC 7541, section 6.2.2
		for i, s := range [...]string{name, value} {
			if i == 0 {
				block = append(block, 0)
			}
			if len(s) < 127 {
				block = append(block, byte(len(s)))
			} else {
				block = append(block, 127)
				block = binary.AppendUvarint(block, uint64(len(s)-127))
			}
			block = append(block, s...)
		}
	}
	field(":method", m.method)
	field(":scheme", "http")
	field(":path", "/")
	if m.host != nil {
		field(":authority", *m.host)
	}
	for _, h := range m.headers {
		field(strings.ToLower(h.name), h.value)
	}
	b := []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	frame := func(kind, flags byte, stream uint32, payload []byte) {
		b = append(b, byte(len(payload)>>16), byte(len(payload)>>8), byte(len(payload)), kind, flags)
		b = binary.BigEndian.AppendUint32(b, stream)
		b = append(b, payload...)
	}
	const endStream, endHeaders = 1, 4
	frame(frameSettings, 0, 0, nil)
	frame(frameHeaders, endStream|endHeaders, 1, block)
	_, err := conn.Write(b)
	require.NoError(t, err)

	var body []byte
	r := bufio.NewReader(conn)
	for {
		var head [9]byte
		_, err := io.ReadFull(r, head[:])
		require.NoError(t, err)
		payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		_, err = io.ReadFull(r, payload)
		require.NoError(t, err)
		switch kind, flags := head[3], head[4]; {
		case kind == frameData:
			body = append(body, payload...)
			fallthrough
		case kind == frameHeaders:
			if flags&endStream != 0 {
				return append([]byte("HTTP/2 "), body...)
			}
		case kind == frameRSTStream, kind == frameGoAway:
			return []byte("HTTP/2 reset")
		}
	}
}

// acceptWebSocket answers the opening handshake of RFC 6455, section 4.2.2, and
// closes the connection.
func acceptWebSocket(w http.ResponseWriter, r *http.Request) {
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	conn.Write([]byte{0x88, 0}) // a close frame
}
