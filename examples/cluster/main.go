// Cluster runs several replicas of a small key-value server on one machine, each
// on an address of its own and all on one port, as they would be on machines of
// their own. A write to any of them goes to all, and the loss of one leaves the
// others working. Nothing of it is reached from other machines.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"text/tabwriter"

	"example.com/loopback"
)

const usage = `usage: cluster [-n REPLICAS] [-port PORT]

Each replica answers PUT /KEY and GET /KEY. Commands are read from the standard
input:
  stop NUMBER   ends one replica
  quit          ends all, as an interrupt does

`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is main with what it needs from the outside. It returns the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage); flags.PrintDefaults() }
	n := flags.Int("n", 3, "how many `replicas`")
	port := flags.Uint("port", 0, "the `port` of all replicas, 0 for one that is free")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() > 0 || *port > 65535:
		flags.Usage()
		return 2
	}
	c, err := start(ctx, *n, uint16(*port))
	if err != nil {
		fmt.Fprintln(stderr, "cluster:", err)
		return 1
	}
	defer c.close()
	c.show(ctx, commands(ctx, stdin), stdout)
	return 0
}

// cluster is a set of replicas.
type cluster struct {
	lease    *loopback.Lease
	replicas []*replica
	changed  chan struct{} // something is new in the table
}

// start leases an address for each replica and starts them all on one port.
func start(ctx context.Context, n int, port uint16) (*cluster, error) {
	lease, err := loopback.Acquire(ctx, n)
	if err != nil {
		return nil, err
	}
	c := &cluster{lease: lease, changed: make(chan struct{}, 1)}
	var listeners []net.Listener
	for _, addr := range lease.Addrs() {
		ln, err := loopback.Listen("tcp", netip.AddrPortFrom(addr, port).String())
		if err != nil {
			for _, ln := range listeners {
				ln.Close()
			}
			lease.Close()
			return nil, err
		}
		// The address is leased, so that the port of the first is free there, too.
		port = ln.Port()
		listeners = append(listeners, ln)
		c.replicas = append(c.replicas, newReplica(len(listeners), ln.AddrPorts()[0], c.change))
	}
	for i, r := range c.replicas {
		r.serve(listeners[i], c.replicas)
	}
	return c, nil
}

func (c *cluster) close() {
	for _, r := range c.replicas {
		r.stop()
	}
	c.lease.Close()
}

// change makes show print the table again.
func (c *cluster) change() {
	select {
	case c.changed <- struct{}{}:
	default: // it will be
	}
}

// show prints the table whenever it changes, until ctx ends or a command ends
// it.
func (c *cluster) show(ctx context.Context, commands <-chan string, w io.Writer) {
	c.print(w)
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.changed:
			c.print(w)
		case line, ok := <-commands:
			name, arg, _ := strings.Cut(line, " ")
			n, err := strconv.Atoi(arg)
			switch {
			case !ok: // the input has ended, and the cluster goes on
				commands = nil
			case name == "quit":
				return
			case name == "stop" && err == nil && n >= 1 && n <= len(c.replicas):
				c.replicas[n-1].stop()
			default:
				fmt.Fprintf(w, "unknown command: %q\n", line)
			}
		}
	}
}

func (c *cluster) print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "REPLICA\tURL\tSTATE\tKEYS\tLAST WRITE")
	for _, r := range c.replicas {
		s := r.status()
		fmt.Fprintf(t, "%d\thttp://%v\t%s\t%d\t%s\n", r.number, r.addr, s.state, s.keys, s.last)
	}
	t.Flush()
	fmt.Fprintln(w)
}

// commands reads lines until ctx ends.
func commands(ctx context.Context, r io.Reader) <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			select {
			case lines <- strings.TrimSpace(s.Text()):
			case <-ctx.Done():
				return
			}
		}
	}()
	return lines
}
