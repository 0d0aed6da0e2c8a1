package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
	"example.com/loopback/loopbacktest"
)

func TestMain(m *testing.M) { loopbacktest.VerifyTestMain(m) }

// A running is the program, which tells its tables.
type running struct {
	stdin  io.Writer
	tables chan [][]string // rows of fields
	ended  chan int
}

// startProgram starts the program until the end of the test.
func startProgram(t *testing.T, args ...string) *running {
	t.Helper()
	loopbacktest.Addr(t) // or there is nothing to lease
	ctx, cancel := context.WithCancel(t.Context())
	stdin, input := io.Pipe()
	output, stdout := io.Pipe()
	p := &running{stdin: input, tables: make(chan [][]string, 100), ended: make(chan int, 1)}
	var stderr bytes.Buffer
	go func() {
		p.ended <- run(ctx, args, stdin, stdout, &stderr)
		stdout.Close()
		stdin.Close()
	}()
	go func() {
		defer close(p.tables)
		var table [][]string
		for lines := bufio.NewScanner(output); lines.Scan(); {
			if lines.Text() == "" {
				p.tables <- table
				table = nil
			} else {
				table = append(table, strings.Fields(lines.Text()))
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		for range p.tables { // until it has ended
		}
		assert.Empty(t, stderr.String())
	})
	return p
}

// await returns the first table that is as it is wanted.
func (p *running) await(t *testing.T, wanted func(table [][]string) bool) [][]string {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		select {
		case table, ok := <-p.tables:
			require.True(t, ok, "it has ended")
			if wanted(table) {
				return table
			}
		case <-timeout:
			require.FailNow(t, "no such table")
		}
	}
}

func request(t *testing.T, method, url, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	client := &http.Client{Transport: &http.Transport{DialContext: loopback.DialContext, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(data)
}

func TestWritesReachEveryReplicaAndOneMayBeLost(t *testing.T) {
	p := startProgram(t, "-n", "3")
	table := p.await(t, func([][]string) bool { return true })
	require.Len(t, table, 4)
	var urls []string
	var addrs []netip.AddrPort
	for _, row := range table[1:] {
		urls = append(urls, row[1])
		addr := netip.MustParseAddrPort(strings.TrimPrefix(row[1], "http://"))
		assert.True(t, loopback.Is(addr.Addr()))
		for _, other := range addrs {
			assert.Equal(t, other.Port(), addr.Port(), "one port")
			assert.NotEqual(t, other.Addr(), addr.Addr(), "an address each")
		}
		addrs = append(addrs, addr)
	}
	loopbacktest.VerifyNoneExposed(t)

	for i, url := range urls { // through each of them
		key := fmt.Sprintf("/key%d", i)
		assert.Equal(t, "3 of 3 replicas\n", request(t, http.MethodPut, url+key, "value"))
		for _, url := range urls {
			assert.Equal(t, "value", request(t, http.MethodGet, url+key, ""))
		}
	}
	for _, key := range []string{"/a%2Fb", "/%2e%2e", "/%25%3F%20"} {
		assert.Equal(t, "3 of 3 replicas\n", request(t, http.MethodPut, urls[0]+key, "value"))
		assert.Equal(t, "value", request(t, http.MethodGet, urls[1]+key, ""))
	}
	everyone := func(state, keys string) func([][]string) bool {
		return func(table [][]string) bool {
			return !slices.ContainsFunc(table[1:], func(row []string) bool { return row[2] == "up" && row[3] != keys }) && table[2][2] == state
		}
	}
	p.await(t, everyone("up", "6"))

	fmt.Fprintln(p.stdin, "stop 2")
	p.await(t, everyone("stopped", "6"))
	_, err := http.Get(urls[1] + "/key0")
	require.Error(t, err)
	assert.Equal(t, "2 of 3 replicas\n", request(t, http.MethodPut, urls[2]+"/key0", "new"))
	assert.Equal(t, "new", request(t, http.MethodGet, urls[0]+"/key0", ""))

	fmt.Fprintln(p.stdin, "quit")
	select {
	case code := <-p.ended:
		assert.Equal(t, 0, code)
	case <-time.After(30 * time.Second):
		require.FailNow(t, "it does not end")
	}
	for _, addr := range addrs { // the sockets are closed
		ln, err := loopback.Listen("tcp", addr.String())
		require.NoError(t, err)
		ln.Close()
	}
}

func TestLaterWritesWin(t *testing.T) {
	r := newReplica(2, netip.MustParseAddrPort("127.0.0.1:1"), func() {})
	r.store("k", value{text: []byte("b"), clock: 7, number: 1})
	r.store("k", value{text: []byte("a"), clock: 6, number: 3})
	assert.Equal(t, "b", string(r.values["k"].text))
	r.store("k", value{text: []byte("c"), clock: 7, number: 3})
	assert.Equal(t, "c", string(r.values["k"].text))
	assert.Equal(t, uint64(8), r.stamp("k", value{}).clock, "after all that it has seen")
}

func TestBadArguments(t *testing.T) {
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"-h"}, 0, "usage: cluster"},
		{[]string{"more"}, 2, "usage: cluster"},
		{[]string{"-port", "65536"}, 2, "usage: cluster"},
		{[]string{"-n", "x"}, 2, "invalid value"},
		{[]string{"-n", "0"}, 1, "cluster: loopback: acquire 0 addresses"},
		{[]string{"-n", "100000000"}, 1, "cluster: loopback: acquire 100000000 addresses"},
	} {
		var stdout, stderr bytes.Buffer
		assert.Equal(t, tt.code, run(t.Context(), tt.args, strings.NewReader(""), &stdout, &stderr), "%q", tt.args)
		assert.Contains(t, stderr.String(), tt.says)
		assert.Empty(t, stdout.String())
	}
}

func TestUnknownCommandsAndTheEndOfTheInput(t *testing.T) {
	loopbacktest.Addr(t)
	ctx, cancel := context.WithCancel(t.Context())
	var stdout, stderr bytes.Buffer
	c, err := start(ctx, 1, 0)
	require.NoError(t, err)
	defer c.close()
	lines := make(chan string)
	go func() {
		for _, line := range []string{"stop", "stop 2", "stop x", ""} {
			lines <- line
		}
		close(lines)
		cancel()
	}()
	c.show(ctx, lines, &stdout)
	assert.Equal(t, 4, strings.Count(stdout.String(), "unknown command"), "%s", &stdout)
	assert.Empty(t, stderr.String())
}
