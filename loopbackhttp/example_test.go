package loopbackhttp_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"

	"example.com/loopback"
	"example.com/loopback/loopbackhttp"
)

// A server for this machine is one line. A page that rebinds its name to
// 127.0.0.1 is denied, and pprof and expvar would be as safe as hello.
func Example() {
	http.HandleFunc("GET /hello", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "hello")
	})
	log.Fatal(loopbackhttp.ListenAndServe("localhost:8080", nil))
}

// A server that needs its port before it serves, or its own timeouts.
func ExampleGuard_Server() {
	ln, err := loopback.Listen("tcp", "localhost:0")
	if err != nil {
		log.Fatal(err)
	}
	guard := &loopbackhttp.Guard{
		Hosts:   []string{"app.example.com"},       // a reverse proxy on this machine
		Origins: []string{"http://localhost:3000"}, // a front end on another port
		OnDeny:  func(_ *http.Request, err error) { fmt.Println(err) },
	}
	server := guard.Server(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello %s", r.Host)
	}))
	go server.Serve(ln)
	defer server.Close()

	for _, host := range []string{"app.example.com", "evil.example"} {
		r, err := http.NewRequest(http.MethodGet, ln.URL("http"), nil)
		if err != nil {
			log.Fatal(err)
		}
		r.Host = host
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			log.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			log.Fatal(err)
		}
		resp.Body.Close()
		fmt.Printf("%d %s\n", resp.StatusCode, body)
	}
	// Output:
	// 200 hello app.example.com
	// loopbackhttp: request denied: Host "evil.example": neither loopback nor listed
	// 403 Forbidden
}

// A handler behind a Guard is tested with a target on localhost, because the Host
// is example.com otherwise.
func ExampleGuard_Handler_httptest() {
	handler := new(loopbackhttp.Guard).Handler(http.NotFoundHandler())
	for _, target := range []string{"/", "http://localhost/"} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
		fmt.Println(target, w.Code)
	}
	// Output:
	// / 403
	// http://localhost/ 404
}
