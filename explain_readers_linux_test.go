package loopback_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback"
	"example.com/loopback/internal/netnstest"
)

// A reader is a program that connects to texts. It returns the addresses that
// it has connected to, or tried to, for each text.
type reader struct {
	name string
	read func(t *testing.T, texts []string) [][]string
}

var readers = []reader{
	{"Go", readByGo(true)},
	{"Go with cgo", readByGo(false)},
	{"curl", readByCurl},
	{"Node", readByScript("node", "testdata/readers/read.js")},
	{"Python and getaddrinfo", readByScript("python3", "testdata/readers/read.py")},
	{"Perl", readByScript("perl", "testdata/readers/read.pl")},
	{"PHP", readByScript("php", "testdata/readers/read.php")},
	{"Ruby", readByScript("ruby", "testdata/readers/read.rb")},
}

// In a namespace where every address is local, so that each connection ends at
// once, and where DNS has 127.0.0.7 for every name, so that a text that any
// reader looks up leads to this machine.
func TestNoReaderRefutesReach(t *testing.T) {
	if testing.Short() {
		t.Skip("the programs that read are run without -short only")
	}
	if !netnstest.In(t) {
		return
	}
	t.Setenv("GODEBUG", "netdns=cgo") // before package net looks
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	netnstest.Run(t, "ip", "route", "add", "local", "default", "dev", "lo")
	netnstest.Run(t, "ip", "-6", "route", "add", "local", "default", "dev", "lo")
	bind(t, "/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")
	bind(t, "/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
	bind(t, "/etc/nsswitch.conf", "hosts: files dns\n")
	newNameServer(t, "127.0.0.1:53").set(map[string]string{"*": "127.0.0.7"})
	for _, port := range []int{21, 80, 443, 8080} {
		hangUp(t, port)
	}

	texts := textsForReaders(t)
	explained := map[loopback.Reach]int{}
	for _, text := range texts {
		explained[loopback.Explain(text).Reach]++
	}
	t.Logf("%d texts: %v", len(texts), explained)
	for _, r := range readers {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			answers := r.read(t, texts)
			require.Len(t, answers, len(texts))
			here, elsewhere := 0, 0
			for i, addrs := range answers {
				e := loopback.Explain(texts[i])
				for _, addr := range addrs { // "" where net.Dial says :80
					isHere := isHereByRFC(addr)
					if isHere {
						here++
					} else {
						elsewhere++
					}
					if isHere && e.Reach == loopback.ReachNo || !isHere && e.Reach == loopback.ReachYes {
						t.Errorf("connects to %q for %q, but %v", addr, e.Input, e)
					}
				}
			}
			t.Logf("%d connections to this machine, %d to others", here, elsewhere)
			assert.Greater(t, here, 100)
			assert.Greater(t, elsewhere, 100)
		})
	}
}

// hangUp accepts connections to the port of every address, and closes them.
func hangUp(t *testing.T, port int) {
	t.Helper()
	ln, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	require.NoError(t, err)
	done := make(chan struct{})
	t.Cleanup(func() { ln.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
}

// textsForReaders returns the table and 2,000 other texts that all readers can
// be given. Of half of them the answer is yes or no.
func textsForReaders(t *testing.T) (texts []string) {
	rng := rand.New(rand.NewPCG(1122, 4291))
	pick := func(s ...string) string { return s[rng.IntN(len(s))] }
	add := func(text string) {
		if utf8.ValidString(text) && text != "" && !strings.Contains(text, "\x00") && !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	for _, row := range readHostTexts(t) {
		add(row.input)
	}
	others := neighbours(t)
	for want := len(texts) + 1000; len(texts) < want; {
		if text := agreedForm(pick); loopback.Explain(text).Reach != loopback.ReachMaybe {
			add(text)
		}
	}
	for want := len(texts) + 1000; len(texts) < want; {
		add(pick(agreedForm(pick), pick(others...)))
	}
	return texts
}

// readByGo returns a reader that connects with net.Dial and net/http, over the
// resolver in Go or the one of the C library.
func readByGo(preferGo bool) func(*testing.T, []string) [][]string {
	return func(t *testing.T, texts []string) [][]string {
		answers := make([][]string, len(texts))
		var wg sync.WaitGroup
		limit := make(chan struct{}, 8)
		for i, text := range texts {
			limit <- struct{}{}
			wg.Go(func() {
				defer func() { <-limit }()
				answers[i] = dialledByGo(t.Context(), preferGo, text)
			})
		}
		wg.Wait()
		return answers
	}
}

func dialledByGo(ctx context.Context, preferGo bool, text string) (addrs []string) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var mu sync.Mutex // the families race
	d := &net.Dialer{Resolver: &net.Resolver{PreferGo: preferGo}, Control: func(_, address string, _ syscall.RawConn) error {
		mu.Lock()
		defer mu.Unlock()
		host, _, err := net.SplitHostPort(address)
		host, _, _ = strings.Cut(host, "%") // a mapped address with a zone looks like 127.0.0.1%lo
		addrs = append(addrs, host)
		return err
	}}
	for _, address := range []string{text, net.JoinHostPort(text, "80")} {
		if c, err := d.DialContext(ctx, "tcp", address); err == nil {
			c.Close()
		}
	}
	client := &http.Client{Transport: &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true}}
	if req, err := http.NewRequestWithContext(ctx, http.MethodGet, text, nil); err == nil {
		if resp, err := client.Do(req); err == nil {
			resp.Body.Close()
		}
	}
	mu.Lock()
	defer mu.Unlock()
	return addrs
}

var curlSays = regexp.MustCompile(`(?m)^\*\s+Trying (\S+):\d+\.\.\.$|^@@(\d+)$`)

// readByCurl connects with one curl for all texts, which says where to.
func readByCurl(t *testing.T, texts []string) [][]string {
	var config strings.Builder
	config.WriteString("globoff\nsilent\ninsecure\nverbose\nmax-time = 2\nwrite-out = \"%{stderr}\\n@@%{urlnum}\\n\"\n")
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\t", `\t`, "\n", `\n`, "\r", `\r`, "\v", `\v`)
	for _, text := range texts {
		fmt.Fprintf(&config, "url = \"%s\"\noutput = /dev/null\n", escape.Replace(text))
	}
	cmd := command(t, "curl", "-q", "-K", "-")
	cmd.Stdin = strings.NewReader(config.String())
	out, _ := cmd.CombinedOutput() // the error is that of the last text
	answers := make([][]string, len(texts))
	var addrs []string
	for _, m := range curlSays.FindAllStringSubmatch(string(out), -1) {
		if m[2] == "" {
			addrs = append(addrs, strings.Trim(m[1], "[]"))
			continue
		}
		i, err := strconv.Atoi(m[2])
		require.NoError(t, err)
		answers[i], addrs = addrs, nil
	}
	return answers
}

// readByScript returns a reader that gives the texts to a script.
func readByScript(program, script string) func(*testing.T, []string) [][]string {
	return func(t *testing.T, texts []string) (answers [][]string) {
		in, err := json.Marshal(texts)
		require.NoError(t, err)
		cmd := command(t, program, script)
		cmd.Stdin, cmd.Stderr = bytes.NewReader(in), t.Output()
		out, err := cmd.Output()
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(out, &answers), "%.200s", out)
		return answers
	}
}

// command returns a command without proxies. The test is skipped where the
// program is missing, or is a stub that asks for its installation.
func command(t *testing.T, program string, args ...string) *exec.Cmd {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), program, "--version").CombinedOutput(); err != nil {
		t.Skipf("needs %s: %v\n%s", program, err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.Contains(strings.ToLower(v), "_proxy=") })
	return cmd
}
