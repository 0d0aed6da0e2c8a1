package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// asProgram makes the test binary be the program.
const asProgram = "RESTART_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// Clients that come all the time, on both families, see no connection refused
// or reset while one process takes over from another.
func TestNoConnectionIsRefused(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	cmd := exec.CommandContext(t.Context(), exe, "-addr", ":0")
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Stdout, cmd.Stderr = w, os.Stderr
	require.NoError(t, cmd.Start())
	w.Close()
	lines := bufio.NewScanner(r)
	started := func() (pid int, url string) { // a line of each process
		require.True(t, lines.Scan())
		_, err := fmt.Sscan(lines.Text(), &pid, &url)
		require.NoError(t, err)
		return pid, url
	}
	first, url := started()
	urls := []string{url}
	if v6 := strings.Replace(url, "127.0.0.1", "[::1]", 1); answers(v6) == nil {
		urls = append(urls, v6)
	}

	var stop atomic.Bool
	var clients sync.WaitGroup
	var seen sync.Map // pid -> true
	for i := range 8 {
		clients.Go(func() {
			c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
			for !stop.Load() {
				pid, err := ask(c, urls[i%len(urls)])
				if !assert.NoError(t, err) {
					return
				}
				seen.Store(pid, true)
			}
		})
	}
	require.NoError(t, syscall.Kill(first, syscall.SIGHUP))
	second, sameURL := started()
	t.Cleanup(func() { syscall.Kill(second, syscall.SIGKILL) })
	assert.Equal(t, url, sameURL)
	require.NoError(t, cmd.Wait(), "the first process ends when it has answered")
	for range 20 { // of the second alone
		pid, err := ask(http.DefaultClient, url)
		require.NoError(t, err)
		assert.Equal(t, second, pid)
	}
	stop.Store(true)
	clients.Wait()
	_, byFirst := seen.Load(first)
	_, bySecond := seen.Load(second)
	assert.True(t, byFirst)
	assert.True(t, bySecond)

	require.NoError(t, syscall.Kill(second, syscall.SIGTERM))
	for lines.Scan() { // until it has closed its end
	}
	assert.Error(t, answers(url), "nothing serves any more")
}

// ask returns the process that answers at url.
func ask(c *http.Client, url string) (pid int, err error) {
	resp, err := c.Get(url)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}

func answers(url string) error {
	_, err := ask(http.DefaultClient, url)
	return err
}
