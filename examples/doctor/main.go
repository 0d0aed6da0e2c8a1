// Doctor says what loopback and localhost are on this machine.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"time"

	"example.com/loopback"
)

const usage = `usage: doctor [-json]

With no arguments doctor prints the loopback interfaces of this machine, and
what net.Dial and net.Listen do with localhost here.

flags:
  -json  print JSON for a machine to read

exit status:
  0  the report was printed
  1  it could not be made
  2  the arguments are wrong
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("doctor", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, usage) }
	asJSON := fs.Bool("json", false, "")
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case fs.NArg() > 0:
		fmt.Fprintf(stderr, "doctor: unexpected argument %q\n%s", fs.Arg(0), usage)
		return 2
	}

	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	r, err := examine(ctx)
	if err == nil {
		if *asJSON {
			enc := json.NewEncoder(stdout)
			enc.SetIndent("", "  ")
			err = enc.Encode(r)
		} else {
			err = r.print(stdout)
		}
	}
	if err != nil {
		fmt.Fprintln(stderr, "doctor:", err)
		return 1
	}
	return 0
}

type report struct {
	Interfaces []iface   `json:"interfaces"`
	Localhost  localhost `json:"localhost"`
}

type iface struct {
	Name  string `json:"name"`
	Index int    `json:"index"`
	Up    bool   `json:"up"`
	MTU   int    `json:"mtu"`
	Addrs []addr `json:"addrs"`
}

type addr struct {
	Addr netip.Prefix  `json:"addr"`
	Kind loopback.Kind `json:"kind"`
}

// localhost is what package net makes of the name.
type localhost struct {
	Dial   []string `json:"dial"`   // the addresses net.Dial tries, in order
	Listen string   `json:"listen"` // the address net.Listen binds, with the port it got
	Errors []string `json:"errors"`
}

func examine(ctx context.Context) (*report, error) {
	r := new(report)
	ifs, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, ifi := range ifs {
		if ifi.Flags&net.FlagLoopback == 0 {
			continue
		}
		i := iface{Name: ifi.Name, Index: ifi.Index, Up: ifi.Flags&net.FlagUp != 0, MTU: ifi.MTU}
		addrs, err := ifi.Addrs()
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				i.Addrs = append(i.Addrs, addr{p, loopback.KindOf(p.Addr())})
			}
		}
		r.Interfaces = append(r.Interfaces, i)
	}

	l := &r.Localhost
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", "localhost")
	if err != nil {
		l.Errors = append(l.Errors, err.Error())
	}
	for _, ip := range ips {
		l.Dial = append(l.Dial, ip.Unmap().String())
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "localhost:0")
	if err != nil {
		l.Errors = append(l.Errors, err.Error())
		return r, nil
	}
	l.Listen = ln.Addr().String()
	return r, ln.Close()
}

func (r *report) print(w io.Writer) error {
	fmt.Fprintln(w, "loopback interfaces")
	if len(r.Interfaces) == 0 {
		fmt.Fprintln(w, "  none")
	}
	for _, i := range r.Interfaces {
		state := "down"
		if i.Up {
			state = "up"
		}
		fmt.Fprintf(w, "  %s: %s, index %d, MTU %d\n", i.Name, state, i.Index, i.MTU)
		for _, a := range i.Addrs {
			fmt.Fprintf(w, "    %-18v  %v\n", a.Addr, a.Kind)
		}
	}
	fmt.Fprintln(w, "localhost in package net")
	for _, a := range r.Localhost.Dial {
		fmt.Fprintln(w, "  Dial tries   ", a)
	}
	if r.Localhost.Listen != "" {
		fmt.Fprintln(w, "  Listen binds ", r.Localhost.Listen)
	}
	for _, e := range r.Localhost.Errors {
		fmt.Fprintln(w, "  error:       ", e)
	}
	return nil
}
