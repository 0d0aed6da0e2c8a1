package loopback_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"

	"go4.org/netipx"

	"example.com/loopback"
)

func ExampleIs() {
	for _, s := range []string{"127.0.0.1", "127.8.8.8", "::1", "::1%lo", "::ffff:127.0.0.1", "0.0.0.0", "::2"} {
		fmt.Println(s, loopback.Is(netip.MustParseAddr(s)))
	}
	// Output:
	// 127.0.0.1 true
	// 127.8.8.8 true
	// ::1 true
	// ::1%lo true
	// ::ffff:127.0.0.1 true
	// 0.0.0.0 false
	// ::2 false
}

// A listener that was handed in may be bound to anything: ask its address.
func ExampleIsNetAddr() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ln.Close()
	fmt.Println(loopback.IsNetAddr(ln.Addr()))
	fmt.Println(loopback.IsNetAddr(&net.TCPAddr{Port: 8080})) // every interface
	// Output:
	// true
	// false
}

func ExampleIPv4() {
	fmt.Println(netip.AddrPortFrom(loopback.IPv4(), 8080))
	// Output: 127.0.0.1:8080
}

func ExampleIPv6() {
	fmt.Println(netip.AddrPortFrom(loopback.IPv6(), 8080))
	// Output: [::1]:8080
}

func ExampleKindOf() {
	for _, s := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1", "::", "64:ff9b::127.0.0.1", "192.0.2.1"} {
		kind := loopback.KindOf(netip.MustParseAddr(s))
		fmt.Println(s, kind, kind.IsLoopback())
	}
	// Output:
	// 127.0.0.1 IPv4 true
	// ::1 IPv6 true
	// ::ffff:127.0.0.1 mapped true
	// :: unspecified false
	// 64:ff9b::127.0.0.1 embedded false
	// 192.0.2.1 none false
}

func ExampleIsName() {
	for _, name := range []string{"localhost", "LOCALHOST.", "app.localhost", "localhost.example.com", "mylocalhost"} {
		fmt.Println(name, loopback.IsName(name))
	}
	// Output:
	// localhost true
	// LOCALHOST. true
	// app.localhost true
	// localhost.example.com false
	// mylocalhost false
}

func ExampleIsHost() {
	for _, host := range []string{"127.0.0.53", "::1%lo", "::ffff:127.0.0.1", "localhost", "127.1", "0.0.0.0"} {
		fmt.Println(host, loopback.IsHost(host))
	}
	// Output:
	// 127.0.0.53 true
	// ::1%lo true
	// ::ffff:127.0.0.1 true
	// localhost true
	// 127.1 false
	// 0.0.0.0 false
}

func ExampleIsHostHeader() {
	for _, value := range []string{"localhost:8080", "[::1]", "127.0.0.1:", "::1", "localhost.evil.example"} {
		fmt.Println(value, loopback.IsHostHeader(value))
	}
	// Output:
	// localhost:8080 true
	// [::1] true
	// 127.0.0.1: true
	// ::1 false
	// localhost.evil.example false
}

func ExampleExplain() {
	for _, text := range []string{"127.0.0.1", "0x7f.1", "[::]:80", "http://127.0.0.1@198.51.100.7/", "localhost"} {
		e := loopback.Explain(text)
		fmt.Printf("%s: %s, valid %t, loopback %t, reaches this machine: %v\n", text, e.Form, e.Valid, e.Loopback, e.Reach)
	}
	// Output:
	// 127.0.0.1: addr, valid true, loopback true, reaches this machine: yes
	// 0x7f.1: addr, valid false, loopback false, reaches this machine: maybe
	// [::]:80: hostport, valid true, loopback false, reaches this machine: yes
	// http://127.0.0.1@198.51.100.7/: url, valid true, loopback false, reaches this machine: maybe
	// localhost: host, valid true, loopback true, reaches this machine: maybe
}

func ExampleExplanation_String() {
	fmt.Println(loopback.Explain(":8080"))
	// Output:
	// YES  ":8080" has no host, which Go's Dial takes for this machine and its Listen for every interface
	//   hostport, valid, not loopback
}

func ExamplePrefix4() {
	p := loopback.Prefix4()
	mapped := netip.MustParseAddr("::ffff:127.0.0.1")
	fmt.Println(p, p.Contains(mapped), loopback.Is(mapped))
	// Output: 127.0.0.0/8 false true
}

func ExamplePrefix6() {
	fmt.Println(loopback.Prefix6())
	// Output: ::1/128
}

func ExampleRange() {
	r := loopback.Range()
	fmt.Println(r, r.Contains(loopback.IPv4()))
	// Output: 127.0.0.0-127.255.255.255 true
}

// What is left of an allow list once loopback is taken out of it.
func ExampleSet() {
	var b netipx.IPSetBuilder
	b.AddPrefix(netip.MustParsePrefix("126.0.0.0/7"))
	b.AddPrefix(netip.MustParsePrefix("::/126"))
	b.RemoveSet(loopback.Set())
	allowed, err := b.IPSet()
	fmt.Println(allowed.Prefixes(), err)
	// Output: [126.0.0.0/8 ::/128 ::2/127] <nil>
}

func ExampleAddrs() {
	for a := range loopback.Addrs() {
		fmt.Println(a)
		if a == loopback.IPv4() {
			break
		}
	}
	// Output:
	// 127.0.0.0
	// 127.0.0.1
}

func ExampleAddrAt() {
	fmt.Println(loopback.AddrAt(1), loopback.AddrAt(0x010203), loopback.AddrAt(1<<24).IsValid())
	// Output: 127.0.0.1 127.1.2.3 false
}

func ExampleIndex() {
	for _, s := range []string{"127.1.2.3", "::ffff:127.0.0.1", "::1"} {
		n, ok := loopback.Index(netip.MustParseAddr(s))
		fmt.Printf("%s %#x %v\n", s, n, ok)
	}
	// Output:
	// 127.1.2.3 0x10203 true
	// ::ffff:127.0.0.1 0x1 true
	// ::1 0x0 false
}

// Two databases on the same port, each on an address of its own.
func ExampleFor() {
	for _, name := range []string{"billing", "inventory"} {
		fmt.Println(name, netip.AddrPortFrom(loopback.For(name), 5432))
	}
	// Output:
	// billing 127.231.8.168:5432
	// inventory 127.73.152.45:5432
}

func ExampleLookupNetIP() {
	for _, host := range []string{"localhost", "app.localhost", "127.0.0.53"} {
		addrs, err := loopback.LookupNetIP(context.Background(), "ip", host)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(host, addrs)
	}
	// Output:
	// localhost [::1 127.0.0.1]
	// app.localhost [::1 127.0.0.1]
	// 127.0.0.53 [127.0.0.53]
}

// The report of a literal is the same on every machine that has IPv4.
func ExampleResolve() {
	res, err := loopback.Resolve(context.Background(), "127.0.0.1")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(res)
	// Output:
	// 127.0.0.1: OK  a loopback address that works here
	//   127.0.0.1  literal  ok   <- Go's Dial tries this first; Go's Listen binds this
}

func ExampleProbe() {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ln.Close()
	r, err := loopback.Probe(context.Background(), ln.Addr().(*net.TCPAddr).AddrPort().Port())
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, a := range r.Attempts {
		if a.Connect.OK() {
			fmt.Println(a.Addr.Addr(), "is open")
		}
	}
	if r.Verdict == loopback.VerdictSplit {
		_ = r.Findings[0].Message // who fails: Node 17 to 19, and others that try ::1 only
	}
	// Output:
	// 127.0.0.1 is open
}

// A server that every client of localhost reaches, whichever family it tries
// first, and nobody else.
func ExampleListen() {
	ln, err := loopback.Listen("tcp", ":0") // ":8080" in earnest
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()
	go http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "hello")
	}))

	for _, addr := range ln.AddrPorts() { // 127.0.0.1 and, where there is IPv6, ::1
		resp, err := http.Get("http://" + addr.String())
		if err != nil {
			log.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if addr == ln.AddrPorts()[0] {
			fmt.Println(string(body), err)
		}
	}
	// Output: hello <nil>
}

// What is not loopback is refused before there is a socket.
func ExampleListen_refused() {
	for _, address := range []string{"0.0.0.0:8080", "[::]:8080", "192.0.2.1:8080", "example.com:8080"} {
		_, err := loopback.Listen("tcp", address)
		fmt.Println(errors.Is(err, loopback.ErrNotLoopback), err)
	}
	// Output:
	// true listen tcp: "0.0.0.0:8080": loopback: not a loopback address: the address means every interface
	// true listen tcp: "[::]:8080": loopback: not a loopback address: the address means every interface
	// true listen tcp: "192.0.2.1:8080": loopback: not a loopback address: the address is outside 127.0.0.0/8 and not ::1
	// true listen tcp: "example.com:8080": loopback: not a loopback address: the host is neither a loopback address nor localhost
}

func ExampleListenConfig_Listen() {
	lc := loopback.ListenConfig{
		// Strangers whom routing lets in: a sign that something is set up wrong.
		OnReject: func(err error) { log.Print(err) },
	}
	ln, err := lc.Listen(context.Background(), "tcp", "localhost:0")
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()
	for _, b := range ln.Bindings() {
		if !b.Bound() {
			log.Print(b) // "tcp6 [::1]:0 (not bound): ..." on a machine without IPv6
		}
	}
	fmt.Println(ln.Bindings()[0].Network, ln.Bindings()[0].Addr.Addr())
	// Output: tcp4 127.0.0.1
}

// Control functions for listeners and dialers of package net, whose address
// somebody else configures.
func ExampleRequire() {
	lc := net.ListenConfig{Control: loopback.Require}
	_, err := lc.Listen(context.Background(), "tcp", ":0")
	fmt.Println(errors.Is(err, loopback.ErrNotLoopback))

	d := net.Dialer{Control: loopback.Require}
	_, err = d.Dial("tcp", "192.0.2.1:80") // not a packet is sent
	fmt.Println(errors.Is(err, loopback.ErrNotLoopback))

	fmt.Println(loopback.Require("tcp", "127.0.0.1:80", nil)) // as a check
	// Output:
	// true
	// true
	// <nil>
}

// A listener that somebody else made.
func ExampleVerify() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()
	fmt.Println(loopback.Verify(ln.(*net.TCPListener)))
	// Output: <nil>
}

// Listeners that the process was started with: systemd hands over one for
// each family, from file descriptor 3 on.
func ExampleListenConfig_Adopt() {
	inherited, err := net.Listen("tcp", "127.0.0.1:0") // net.FileListener(os.NewFile(3, "")) in earnest
	if err != nil {
		log.Fatal(err)
	}
	ln, err := new(loopback.ListenConfig).Adopt(inherited)
	if err != nil {
		inherited.Close() // it is still ours
		log.Fatal(err)
	}
	defer ln.Close() // closes inherited as well
	fmt.Println(ln.Addr().String() == inherited.Addr().String(), ln.Bindings()[0].Network)
	// Output: true tcp4
}

// A server that answers from the address that was asked.
func ExampleListenPacket() {
	pc, err := loopback.ListenPacket("udp", ":0")
	if err != nil {
		log.Fatal(err)
	}
	defer pc.Close()
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFromUDPAddrPort(buf)
			if err != nil {
				return // closed
			}
			pc.WriteToUDPAddrPort(buf[:n], from)
		}
	}()

	client, err := net.Dial("udp", pc.LocalAddr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	fmt.Fprint(client, "echo")
	answer := make([]byte, 10)
	n, err := client.Read(answer)
	fmt.Println(string(answer[:n]), err)
	// Output: echo <nil>
}

// Diagnose examines the machine it runs on; what it finds is in the report.
func ExampleDiagnose() {
	r, err := loopback.Diagnose(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range r.Findings {
		if f.Level == loopback.LevelError {
			log.Printf("%v; to mend it: %s", f, f.Fix)
		}
	}
	fmt.Println(r.IPv4.Addr, r.IPv6.Addr)
	// Output: 127.0.0.1 ::1
}
