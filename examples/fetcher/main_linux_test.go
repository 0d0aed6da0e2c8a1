package main

import (
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/loopback/internal/netnstest"
)

const serverAddr = "127.0.0.1:8500"

// A webhook gets to another machine, and neither directly nor by that
// machine's redirect to a service that another user runs on this one.
func TestFetcherDeliversToOthersOnly(t *testing.T) {
	if !netnstest.InWithUsers(t) {
		return
	}
	netnstest.Run(t, "ip", "link", "set", "lo", "up")
	n := netnstest.NewNeighbour(t)
	n.Veth(t, "eth0", "192.0.2.10/24", "theirs", "192.0.2.1/24")
	var outside net.Listener
	var err error
	n.Do(func() { outside, err = net.Listen("tcp", "192.0.2.1:80") })
	require.NoError(t, err)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if to := r.FormValue("to"); to != "" {
			http.Redirect(w, r, to, http.StatusTemporaryRedirect)
		}
	})}
	go srv.Serve(outside)
	defer srv.Close()

	// The service of another user, which would answer whoever comes.
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestServeAsAnotherUser$")
	cmd.Dir, cmd.Env = "/", append(os.Environ(), "LOOPBACK_TEST_SERVER=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	_, err = out.Read(make([]byte, 1)) // it listens
	require.NoError(t, err)
	resp, err := http.Get("http://" + serverAddr)
	require.NoError(t, err)
	assert.Equal(t, "served", resp.Header.Get("X-Test"))
	resp.Body.Close()

	for target, want := range map[string]string{
		"http://192.0.2.1/": "delivered",
		"http://192.0.2.1/?to=" + url.QueryEscape("http://192.0.2.1/"):        "delivered",
		"http://" + serverAddr + "/":                                          "refused",
		"http://192.0.2.1/?to=" + url.QueryEscape("http://"+serverAddr+"/"):   "refused",
		"http://192.0.2.10/":                                                  "refused",
		"http://192.0.2.1/?to=" + url.QueryEscape("http://[::ffff:7f00:1]/"):  "refused",
		"http://192.0.2.1/?to=" + url.QueryEscape("http://192.0.2.10:22/x?y"): "refused",
	} {
		_, page, _ := fetch(t, target)
		assert.True(t, strings.HasPrefix(page, want), "%s: %s", target, page)
	}
}

func TestServeAsAnotherUser(t *testing.T) {
	if os.Getenv("LOOPBACK_TEST_SERVER") == "" {
		t.Skip("only of use to TestFetcherDeliversToOthersOnly")
	}
	ln, err := net.Listen("tcp", serverAddr)
	require.NoError(t, err)
	os.Stdout.WriteString("\n")
	http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Test", "served") }))
}
