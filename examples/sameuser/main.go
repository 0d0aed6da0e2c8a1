// Sameuser lets two processes of one user talk over TCP on loopback, and cuts
// off those of every other user.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"example.com/loopback"
)

const usage = `usage: sameuser serve [ADDRESS]
       sameuser call ADDRESS TEXT

serve listens on the address, on any port of localhost if there is none, and
answers processes of its own user. call sends the text there and prints the
answer.

exit status:
  0  served until interrupted, or answered
  1  cut off, or something failed
  2  the arguments are wrong
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is main with what it needs from the outside. It returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var err error
	switch {
	case len(args) == 1 && args[0] == "serve":
		err = serve(ctx, "localhost:0", stdout)
	case len(args) == 2 && args[0] == "serve":
		err = serve(ctx, args[1], stdout)
	case len(args) == 3 && args[0] == "call":
		err = call(ctx, args[1], args[2], stdout)
	case len(args) == 1 && (args[0] == "-h" || args[0] == "-help" || args[0] == "--help"):
		fmt.Fprint(stdout, usage)
		return 0
	default:
		fmt.Fprint(stderr, usage)
		return 2
	}
	if err != nil {
		fmt.Fprintln(stderr, "sameuser:", err)
		return 1
	}
	return 0
}

// serve answers until ctx ends.
func serve(ctx context.Context, address string, stdout io.Writer) error {
	out := &lines{w: stdout}
	lc := loopback.ListenConfig{
		SameUser: true,
		OnReject: func(err error) { out.printf("refused: %v\n", err) },
	}
	ln, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer ln.Close()
	defer context.AfterFunc(ctx, func() { ln.Close() })()
	out.printf("user %d listens on port %d\n", os.Geteuid(), ln.Port())
	var clients sync.WaitGroup
	defer clients.Wait()
	for {
		c, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		clients.Go(func() {
			defer context.AfterFunc(ctx, func() { c.Close() })()
			answer(c)
		})
	}
}

// answer answers one client.
func answer(c net.Conn) {
	defer c.Close()
	for text := bufio.NewScanner(c); text.Scan(); {
		if _, err := fmt.Fprintf(c, "you said: %s\n", text.Text()); err != nil {
			return
		}
	}
}

// errCutOff says that the server hung up without an answer.
var errCutOff = errors.New("cut off: the server hung up, as it does on other users")

// call sends text and prints the answer.
func call(ctx context.Context, address, text string, stdout io.Writer) error {
	c, err := loopback.DialContext(ctx, "tcp", address)
	if errors.Is(err, syscall.ECONNRESET) { // sooner than the connection was noticed
		return errCutOff
	}
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if _, err := fmt.Fprintln(c, text); err != nil {
		return errCutOff
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return errCutOff
	}
	_, err = io.WriteString(stdout, line)
	return err
}

// lines writes whole lines from several goroutines.
type lines struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lines) printf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.w, format, args...)
}
