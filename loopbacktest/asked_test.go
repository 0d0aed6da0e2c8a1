package loopbacktest_test

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
	"example.com/loopback/loopbackhttp"
	"example.com/loopback/loopbacktest"
)

// update makes the tests write the files of testdata/asked anew.
var update = os.Getenv("LOOPBACKTEST_UPDATE") != ""

// assertAsked compares what a suite has asked, or said, with a file of
// testdata/asked, so that no input and no reason is lost. The lines that differ
// from machine to machine are left out.
func assertAsked(t *testing.T, file string, got []string, own func(line string) bool) {
	t.Helper()
	path := filepath.Join("testdata", "asked", file)
	got = slices.DeleteFunc(slices.Clone(got), own)
	for i, line := range got {
		if most := 400; len(line) > most {
			got[i] = fmt.Sprintf("%s... (%d bytes)", line[:most], len(line))
		}
	}
	if update {
		require.NoError(t, os.WriteFile(path, []byte(strings.Join(got, "\n")+"\n"), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	wanted := slices.DeleteFunc(strings.Split(strings.TrimSuffix(string(want), "\n"), "\n"), own)
	for i := range min(len(got), len(wanted)) {
		require.Equal(t, wanted[i], got[i], "%s:%d", file, i+1)
	}
	assert.Len(t, got, len(wanted), file)
}

// none leaves out nothing.
func none(string) bool { return false }

// lines returns the failures of an error of a suite, one a line.
func lines(err error) []string { return strings.Split(err.Error(), "\n") }

// ofThisMachine returns the hosts that are asked on this machine alone: its name,
// and its addresses.
func ofThisMachine(t *testing.T) (hosts []string) {
	name, err := os.Hostname()
	require.NoError(t, err)
	hosts = append(hosts, name)
	interfaces, err := net.Interfaces()
	require.NoError(t, err)
	for _, i := range interfaces {
		addrs, err := i.Addrs()
		require.NoError(t, err)
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && !loopback.Is(p.Addr()) {
				hosts = append(hosts, p.Addr().String(), p.Addr().WithZone(i.Name).String())
			}
		}
	}
	return hosts
}

func TestWhatTestIsAndTestIsHostAsk(t *testing.T) {
	own := ofThisMachine(t)
	isOwn := func(line string) bool { return slices.Contains(own, line) }
	saysOwn := func(line string) bool { return strings.Contains(line, "of this machine") && isOwn(failed(line)) }
	var addrs, hosts []string
	assert.NoError(t, loopbacktest.TestIs(func(addr netip.Addr) bool {
		addrs = append(addrs, addr.String())
		return loopback.Is(addr)
	}))
	assert.NoError(t, loopbacktest.TestIsHost(func(host string) bool {
		hosts = append(hosts, host)
		return loopback.IsHost(host)
	}))
	assertAsked(t, "addrs.txt", addrs, isOwn)
	var more []string // than TestIs
	seen := map[string]bool{}
	for _, host := range hosts {
		addr, _ := netip.ParseAddr(host)
		seen[addr.String()] = true
		if !slices.Contains(addrs, host) && !isOwn(host) {
			more = append(more, strconv.Quote(host))
		}
	}
	assertAsked(t, "hosts.txt", more, none)
	for _, addr := range addrs {
		assert.True(t, seen[addr], "TestIsHost asks %s", addr)
	}
	failures := lines(loopbacktest.TestIs(func(addr netip.Addr) bool { return !loopback.Is(addr) }))
	for _, text := range []string{"127.0.0.1", "128.0.0.1", "::3", "::ffff:127.0.0.3", "::ffff:255.0.0.1"} { // a suite lists three failures of a kind
		failures = append(failures, lines(loopbacktest.TestIs(func(addr netip.Addr) bool { return loopback.Is(addr) != (addr.String() == text) }))...)
	}
	assertAsked(t, "addr_failures.txt", failures, saysOwn)
	assertAsked(t, "host_failures.txt", lines(loopbacktest.TestIsHost(func(host string) bool { return !loopback.IsHost(host) })), saysOwn)
}

// failed returns the input of a line of an error.
func failed(line string) string {
	input, _, _ := strings.Cut(strings.TrimPrefix(line, "loopbacktest: "), ": got ")
	return input
}

// A handler that serves what it has to refuse, and the other way round, gets
// every row of the suite wrong that package net/http lets through.
func TestWhatTestHandlerAsks(t *testing.T) {
	var asked []string
	err := loopbacktest.TestHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		line := fmt.Sprintf("%s %s %q at %v", r.Method, r.URL, r.Host, r.Context().Value(http.LocalAddrContextKey))
		for _, name := range slices.Sorted(maps.Keys(r.Header)) {
			line += fmt.Sprintf(" %s: %q", name, r.Header[name])
		}
		asked = append(asked, line)
		if new(loopbackhttp.Guard).Check(r) == nil {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	assertAsked(t, "requests.txt", asked, none)
	assertAsked(t, "request_failures.txt", lines(err), none)
}

// A dial function that returns nothing at all gets every target wrong. It looks
// up the names of the suite three times.
func TestWhatTestForbidAsks(t *testing.T) {
	ports := map[string]string{}
	// Where there is a route to what leads nowhere, TCP gets the other address.
	broadcast := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	nowhere := map[bool]netip.Addr{false: netip.MustParseAddr("0.0.0.1"), true: netip.MustParseAddr("2001:db8:ffff::1")}
	var asked, answers []string
	err := loopbacktest.TestForbid(t.Context(), func(ctx context.Context, network, address string) (net.Conn, error) {
		at := strings.LastIndex(address, ":")
		host, port := address[:at], address[at:]
		protocol := network[:3]
		if ports[protocol] == "" && port != ":" {
			ports[protocol] = port
		}
		assert.Equal(t, ports[protocol], port, address)
		asked = append(asked, fmt.Sprintf("%s %s:PORT", network, host))
		answer := ""
		if strings.HasSuffix(host, ".loopbacktest.test") || strings.HasPrefix(host, "app.") || strings.HasPrefix(host, "0x") {
			for range 3 {
				addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
				if i := slices.Index(addrs, broadcast); i >= 0 {
					addrs[i] = nowhere[strings.HasPrefix(host, "rebind6.")]
				}
				slices.SortFunc(addrs, netip.Addr.Compare)
				if answer += fmt.Sprint(" ", addrs); err != nil {
					answer += "!"
				}
			}
		}
		answers = append(answers, answer)
		return nil, nil
	})
	got := lines(err)
	require.Len(t, got, len(asked))
	for i, line := range got {
		for _, port := range ports {
			line = strings.Replace(line, port+": got ", ":PORT: got ", 1)
		}
		assert.Equal(t, asked[i], failed(line))
		got[i] = line + answers[i]
	}
	assert.Len(t, ports, 2)
	assertAsked(t, "targets.txt", got, func(line string) bool {
		return strings.Contains(line, " own.loopbacktest") || strings.Contains(line, " own6.loopbacktest") || strings.Contains(line, ": Debian gives")
	})
}

// The names of the suite, byte by byte: RFC 1035, section 4.1.
func TestTheDNSOfTestForbid(t *testing.T) {
	question := func(name string, typ byte) (q string) {
		for label := range strings.SplitSeq(name, ".") {
			q += string([]byte{byte(len(label))}) + label
		}
		return q + "\x00\x00" + string([]byte{typ}) + "\x00\x01"
	}
	const header = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
	queries := []string{"", "\x12\x34", header, header + "\x00\x00\x01\x00", header + "\x04moved\x00\x00\x01\x00", header + "\x05moved", header + "\x04move"}
	for _, name := range []string{"localhost", "LocalHost", "both.loopbacktest.test", "alias.loopbacktest.test", "none.loopbacktest.test"} {
		for _, typ := range []byte{1, 28, 16} { // A, AAAA, TXT
			queries = append(queries, header+question(name, typ))
		}
	}
	for _, typ := range []byte{1, 1, 28, 28, 1} {
		queries = append(queries, header+question("rebind.loopbacktest.test", typ), header+question("appears.loopbacktest.test", typ))
	}
	var got []string
	ask := func(c net.Conn, query string) string {
		_, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...))
		require.NoError(t, err)
		var size uint16
		require.NoError(t, binary.Read(c, binary.BigEndian, &size))
		reply := make([]byte, size)
		_, err = io.ReadFull(c, reply)
		require.NoError(t, err)
		return string(reply)
	}
	requireNothingLeft(t)
	assert.NoError(t, loopbacktest.TestForbid(t.Context(), func(ctx context.Context, _, _ string) (net.Conn, error) {
		if got != nil {
			return nil, net.ErrClosed
		}
		c, err := net.DefaultResolver.Dial(ctx, "udp", "192.0.2.1:53")
		require.NoError(t, err)
		for _, query := range queries {
			answer := strings.ReplaceAll(ask(c, query), "\xff\xff\xff\xff", "\x00\x00\x00\x01") // broadcast
			got = append(got, fmt.Sprintf("%q: %q", query, answer))
		}
		_, err = c.Write([]byte("\x00\x10cut off"))
		require.NoError(t, err)
		c.Close()
		again, err := net.DefaultResolver.Dial(ctx, "udp", "192.0.2.1:53")
		require.NoError(t, err)
		defer again.Close() // unread
		_, err = again.Write([]byte("\x00\x00"))
		return nil, cmp.Or(err, net.ErrClosed)
	}))
	assertAsked(t, "dns.txt", got, none)
}
