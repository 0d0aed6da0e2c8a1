// Doctor says what loopback and localhost are on this machine, what is wrong
// with them, and what to do about it.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"example.com/loopback"
)

const usage = `usage: doctor [-json] [-strict] [-port N...] [-name NAME...] [-explain TEXT...]

With no question doctor examines this machine: its loopback interfaces, what
works in which family, whether other machines get in, what localhost is, and
what loopback.Listen("tcp", ":0") binds. It changes nothing and needs no
privilege.

questions, each with one value or several:
  -port N        what do clients of localhost see on this TCP port?
  -name NAME     what does this name mean here?
  -explain TEXT  is this address, host, host:port or URL loopback?
                 In the place of - come the lines of the standard input.

flags:
  -json          answer in JSON
  -strict        exit with status 1 on a finding of level error

exit status:
  0  the questions are answered
  1  with -strict, there is a finding of level error; or something failed
  2  the arguments are wrong
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, colour(os.Stdout)))
}

// question is what the command line asks.
type question struct {
	ports          []uint16
	names, texts   []string
	asJSON, strict bool
}

// answer is what doctor prints; as JSON, with only those fields that were
// asked for.
type answer struct {
	Machine *loopback.Report       `json:"machine,omitempty"`
	Listen  *listening             `json:"listen,omitempty"`
	Explain []loopback.Explanation `json:"explain,omitzero"` // empty if the standard input is
	Names   []*loopback.Resolution `json:"names,omitempty"`
	Ports   []*loopback.PortReport `json:"ports,omitempty"`
}

// run is main with what it needs from the outside. It returns the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, paint bool) int {
	q, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, usage)
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "doctor: %v\n%s", err, usage)
		return 2
	}
	a, err := q.ask(ctx, stdin)
	if err != nil {
		fmt.Fprintln(stderr, "doctor:", err)
		if errors.Is(err, errArgument) {
			return 2
		}
		return 1
	}
	if q.asJSON {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		err = enc.Encode(a)
	} else {
		err = a.print(stdout, paint)
	}
	if err != nil {
		fmt.Fprintln(stderr, "doctor:", err)
		return 1
	}
	if q.strict && worst(a.findings()) == loopback.LevelError {
		return 1
	}
	return 0
}

// parse reads the command line. An argument that is not a flag belongs to the
// question before it: -explain A B is -explain A -explain B.
func parse(args []string) (q question, err error) {
	fs := flag.NewFlagSet("doctor", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // run says it
	fs.BoolVar(&q.asJSON, "json", false, "")
	fs.BoolVar(&q.strict, "strict", false, "")
	var last func(string) error
	ask := func(name string, add func(string) error) {
		fs.Func(name, "", func(s string) error { last = add; return add(s) })
	}
	ask("port", func(s string) error {
		port, err := strconv.ParseUint(s, 10, 16)
		if err != nil || port == 0 {
			return fmt.Errorf("%.100q is not a port from 1 to 65535", s)
		}
		q.ports = append(q.ports, uint16(port))
		return nil
	})
	ask("name", func(s string) error { q.names = append(q.names, s); return nil })
	ask("explain", func(s string) error { q.texts = append(q.texts, s); return nil })
	for {
		if err := fs.Parse(args); err != nil {
			return q, err
		}
		if args = fs.Args(); len(args) == 0 {
			return q, nil
		}
		if last == nil {
			return q, fmt.Errorf("unexpected argument %.100q", args[0])
		}
		if err := last(args[0]); err != nil {
			return q, err
		}
		args = args[1:]
	}
}

var errArgument = errors.New("invalid argument")

// ask gets the answers, all at once.
func (q question) ask(ctx context.Context, stdin io.Reader) (*answer, error) {
	a := &answer{
		Names: make([]*loopback.Resolution, len(q.names)),
		Ports: make([]*loopback.PortReport, len(q.ports)),
	}
	var err error
	if a.Explain, err = explain(ctx, q.texts, stdin); err != nil {
		return nil, err
	}
	var wg sync.WaitGroup
	errs := make([]error, 1+len(q.names)+len(q.ports))
	for i, name := range q.names {
		wg.Go(func() {
			var err error
			if a.Names[i], err = loopback.Resolve(ctx, name); err != nil && ctx.Err() == nil {
				err = fmt.Errorf("%w: %w", errArgument, err) // it cannot be a name
			}
			errs[1+i] = err
		})
	}
	for i, port := range q.ports {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			a.Ports[i], errs[1+len(q.names)+i] = loopback.Probe(ctx, port)
		})
	}
	if len(q.texts)+len(q.names)+len(q.ports) == 0 {
		wg.Go(func() { a.Listen = listen(ctx) })
		a.Machine, errs[0] = loopback.Diagnose(ctx)
	}
	wg.Wait()
	return a, errors.Join(errs...)
}

// explain explains the texts; in the place of "-", the lines of stdin.
func explain(ctx context.Context, texts []string, stdin io.Reader) (out []loopback.Explanation, err error) {
	if len(texts) > 0 {
		out = []loopback.Explanation{} // not nil, even if there are no lines
	}
	for _, text := range texts {
		lines := []string{text}
		if text == "-" {
			if lines, err = readLines(ctx, stdin); err != nil {
				return nil, fmt.Errorf("standard input: %w", err)
			}
		}
		for _, line := range lines {
			out = append(out, loopback.Explain(line))
		}
	}
	return out, nil
}

// readLines returns the lines of r. It does not wait for them when ctx is done:
// nothing else ends a read from a terminal.
func readLines(ctx context.Context, r io.Reader) ([]string, error) {
	type input struct {
		lines []string
		err   error
	}
	read := make(chan input, 1)
	go func() {
		var in input
		s := bufio.NewScanner(r)
		s.Buffer(nil, 16<<20)
		for s.Scan() {
			in.lines = append(in.lines, s.Text())
		}
		in.err = s.Err()
		read <- in
	}()
	select {
	case in := <-read:
		return in.lines, in.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// worst returns the level of the worst finding, or LevelInfo if there is none.
func worst(findings []loopback.Finding) loopback.Level {
	level := loopback.LevelInfo
	for _, f := range findings {
		level = max(level, f.Level)
	}
	return level
}

func (a *answer) findings() (fs []loopback.Finding) {
	if a.Machine != nil {
		fs = append(fs, a.Machine.Findings...)
	}
	for _, r := range a.Names {
		fs = append(fs, r.Findings...)
	}
	for _, r := range a.Ports {
		fs = append(fs, r.Findings...)
	}
	return fs
}

// listening is what loopback.Listen("tcp", ":0") did here.
type listening struct {
	Bindings []loopback.Binding `json:"bindings"`
	Error    string             `json:"error,omitempty"`
}

func listen(ctx context.Context) *listening {
	ln, err := new(loopback.ListenConfig).Listen(ctx, "tcp", ":0")
	if err != nil {
		return &listening{Bindings: []loopback.Binding{}, Error: err.Error()}
	}
	defer ln.Close()
	return &listening{Bindings: ln.Bindings()}
}

// String returns the lines of the report about l.
func (l *listening) String() string {
	var b strings.Builder
	b.WriteString("loopback.Listen(\"tcp\", \":0\")\n")
	if l.Error != "" {
		fmt.Fprintf(&b, "  fails: %s\n", l.Error)
	}
	for _, bind := range l.Bindings {
		state := "not bound"
		if bind.Bound() {
			state = enforced(bind.Ingress)
		}
		fmt.Fprintf(&b, "  %-15s  %s\n", bind.Addr, state)
		switch {
		case bind.Err == nil:
		case bind.Bound() && errors.Is(bind.Err, errors.ErrUnsupported) && runtime.GOOS != "linux":
			note := "only Linux offers more"
			if _, why, ok := strings.Cut(bind.Err.Error(), "; not proved"); ok {
				note += "; not proved" + why
			}
			fmt.Fprintf(&b, "  %-15s  (%s)\n", "", note)
		default:
			fmt.Fprintf(&b, "  %-15s  %v\n", "", bind.Err)
		}
	}
	return b.String()
}

// enforced says in words what a mode does.
func enforced(i loopback.Ingress) string {
	switch i {
	case loopback.IngressDevice:
		return "held to the loopback interface by the kernel (" + i.String() + ")"
	case loopback.IngressCheck:
		return "checks the interface of each connection (" + i.String() + ")"
	case loopback.IngressRemote:
		return "checks the remote address of each connection (" + i.String() + ")"
	}
	return i.String()
}
