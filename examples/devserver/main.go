// Devserver is a small web server on http://localhost:3000 that shows how each
// request came in: by which family, from which address and to which.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"

	"example.com/loopback"
	"example.com/loopback/loopbackhttp"
)

const usage = `usage: devserver [-addr address]

Devserver answers on both loopback addresses of this machine and nowhere else:
a page for browsers, a line of text for other clients. It denies requests for
other hosts and requests of other pages. An interrupt ends it.

flags:
  -addr address  as loopback.Listen takes it (":3000")

exit status:
  0  it was interrupted
  1  it could not listen or serve
  2  the arguments are wrong
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run serves until ctx is done, and returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("devserver", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, usage) }
	addr := fs.String("addr", ":3000", "")
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case fs.NArg() > 0:
		fmt.Fprintf(stderr, "devserver: unexpected argument %q\n%s", fs.Arg(0), usage)
		return 2
	}
	if err := serve(ctx, *addr, stdout); err != nil {
		fmt.Fprintln(stderr, "devserver:", err)
		return 1
	}
	return 0
}

func serve(ctx context.Context, addr string, stdout io.Writer) error {
	ln, err := loopback.Listen("tcp", addr)
	if err != nil {
		return err
	}
	url := ln.URL("http")
	if len(ln.AddrPorts()) == 2 { // whichever a client of localhost tries
		url = fmt.Sprintf("http://localhost:%d", ln.Port())
	}
	fmt.Fprintln(stdout, url)
	for _, b := range ln.Bindings() {
		fmt.Fprintln(stdout, " ", b)
	}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", show)
	srv := new(loopbackhttp.Guard).Server(mux) // no page of another origin gets an answer
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	select {
	case err = <-served:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err = srv.Shutdown(ctx) // closes ln; requests that run are answered
	if end := <-served; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	return err
}

// visit is what a request shows.
type visit struct {
	Family       string // "IPv4" or "IPv6"
	From, To     string
	Host, Client string
}

var page = template.Must(template.New("").Parse(`<!doctype html>
<meta charset="utf-8">
<title>{{.Family}}</title>
<h1>This request came by {{.Family}}</h1>
<dl>
<dt>from</dt><dd>{{.From}}</dd>
<dt>to</dt><dd>{{.To}}</dd>
<dt>asking for</dt><dd>{{.Host}}</dd>
<dt>with</dt><dd>{{.Client}}</dd>
</dl>
`))

func show(w http.ResponseWriter, r *http.Request) {
	to := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	v := visit{Family: "IPv6", From: r.RemoteAddr, To: to.String(), Host: r.Host, Client: r.UserAgent()}
	if loopback.KindOf(to.AddrPort().Addr().Unmap()) == loopback.KindIPv4 {
		v.Family = "IPv4"
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Vary", "Accept")
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		_ = page.Execute(w, v) // what it writes to is all that can fail
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	fmt.Fprintf(w, "%s from %s to %s, asking for %s\n", v.Family, v.From, v.To, v.Host)
}
