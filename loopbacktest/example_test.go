package loopbacktest_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"

	"example.com/loopback"
	"example.com/loopback/loopbackhttp"
	"example.com/loopback/loopbacktest"
)

// In a file main_test.go, for the tests of a whole package. The function below is
// named TestMain there.
func ExampleVerifyTestMain() {
	testMain := func(m *testing.M) { loopbacktest.VerifyTestMain(m) }
	_ = testMain
}

// Another check after all tests, such as goleak.Find, is in the Run of a TestingM.
func ExampleTestingM() {
	testMain := func(m *testing.M) { loopbacktest.VerifyTestMain(checked{m}) }
	_ = testMain
}

type checked struct{ *testing.M }

func (c checked) Run() int {
	code := c.M.Run()
	if err := anotherCheck(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

func anotherCheck() error { return nil }

// A metrics port that is to be reached from the network is passed over.
func ExampleVerifyNoneExposed() {
	test := func(t *testing.T) {
		loopbacktest.VerifyNoneExposed(t, func(s loopback.Socket) bool { return s.Addr.Port() == 9090 })
	}
	_ = test
}

func ExampleListen() {
	test := func(t *testing.T) {
		ln := loopbacktest.Listen(t)
		go http.Serve(ln, nil)
		resp, err := http.Get(ln.URL("http") + "/")
		_, _ = resp, err
	}
	_ = test
}

// Two servers with one port, each on an address of its own.
func ExampleAddr() {
	test := func(t *testing.T) {
		for range 2 {
			ln, err := loopback.Listen("tcp", netip.AddrPortFrom(loopbacktest.Addr(t), 8080).String())
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
		}
	}
	_ = test
}

func ExampleTestIs() {
	err := loopbacktest.TestIs(func(addr netip.Addr) bool {
		return netip.MustParsePrefix("127.0.0.0/8").Contains(addr) || addr == netip.IPv6Loopback()
	})
	fmt.Println(strings.Split(err.Error(), "\n")[0])
	// Output:
	// loopbacktest: ::ffff:127.0.0.1: got false, want true: a socket of both families reports its IPv4 clients so
}

// What an implementation does otherwise on purpose is left out.
func ExampleTestIsHost() {
	err := loopbacktest.TestIsHost(func(host string) bool {
		return host == "ip6-localhost" || loopback.IsHost(host)
	})
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			if f, ok := errors.AsType[*loopbacktest.Failure](err); ok && f.Input != "ip6-localhost" {
				fmt.Println(f)
			}
		}
	}
	// Output:
}

func ExampleTestHandler() {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") })
	fmt.Println(loopbacktest.TestHandler(new(loopbackhttp.Guard).Handler(mux)))
	// Output:
	// <nil>
}

func ExampleTestForbid() {
	d := net.Dialer{Control: loopback.Forbid}
	fmt.Println(loopbacktest.TestForbid(context.Background(), d.DialContext))
	// Output:
	// <nil>
}

func ExampleTestListener() {
	ln, err := net.Listen("tcp", ":0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ln.Close()
	fmt.Println(loopbacktest.TestListener(ln) != nil) // other machines reach it
	// Output:
	// true
}
