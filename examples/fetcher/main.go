// Fetcher sends a webhook to URLs that customers chose, and cannot be aimed at
// the machine it runs on: neither by an address in any spelling, nor by a name,
// nor by a redirect.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"

	"example.com/loopback"
)

const usage = `usage: fetcher [-body JSON] URL...

Fetcher posts the JSON to each URL and follows redirects. An address of this
machine is refused wherever it comes from.

exit status:
  0  all were delivered
  1  one was refused or failed
  2  the arguments are wrong
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is main with what it needs from the outside. It returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("fetcher", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	body := flags.String("body", `{"event":"ping"}`, "")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, usage)
		return 0
	case err == nil && flags.NArg() == 0:
		err = errors.New("no URL")
		fallthrough
	case err != nil:
		fmt.Fprintf(stderr, "fetcher: %v\n%s", err, usage)
		return 2
	}
	client := newClient()
	defer client.CloseIdleConnections()
	status := 0
	for _, url := range flags.Args() {
		switch answer, err := send(ctx, client, url, *body); {
		case errors.Is(err, loopback.ErrSelf):
			fmt.Fprintf(stdout, "refused    %s: it leads to this machine\n", url)
			status = 1
		case err != nil:
			fmt.Fprintf(stdout, "failed     %s: %v\n", url, err)
			status = 1
		default:
			fmt.Fprintf(stdout, "delivered  %s: %s\n", url, answer)
		}
	}
	return status
}

// newClient returns a client that connects to other machines only.
func newClient() *http.Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second, Control: loopback.ForbidSelf}
	return &http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{
			Proxy:                 nil, // a proxy connects in the place of this process, and Control does not see where to
			DialContext:           dialer.DialContext,
			ForceAttemptHTTP2:     true,
			TLSHandshakeTimeout:   5 * time.Second,
			ResponseHeaderTimeout: 5 * time.Second,
		},
	}
}

// send posts body to url and returns the status of the answer.
func send(ctx context.Context, client *http.Client, url, body string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	return resp.Status, err
}
