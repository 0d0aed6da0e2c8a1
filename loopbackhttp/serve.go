package loopbackhttp

import (
	"net/http"
	"time"

	"example.com/loopback"
)

// Server returns a server of g.Handler(handler), to be served on a listener of
// loopback.Listen or on any other that is reached over loopback or over a unix
// socket.
//
// A client must finish its header within 10 seconds, and an idle connection is
// closed after two minutes. Bodies and responses may take any time, because a
// timeout would cut off streams. "OPTIONS *" goes to the handler, so that nothing
// is answered before the Guard has judged the request. The caller may change
// any field before the server is used. A Handler that is set later, as StartServer
// of github.com/labstack/echo does, is served without the Guard: there the Guard
// is middleware.
//
// Server panics if Hosts or Origins has a malformed entry.
func (g *Guard) Server(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:                      g.Handler(handler),
		ReadHeaderTimeout:            10 * time.Second,
		IdleTimeout:                  2 * time.Minute,
		DisableGeneralOptionsHandler: true,
	}
}

// ListenAndServe takes the place of http.ListenAndServe for a server that is for
// this machine only. It listens on address as loopback.Listen does, so ":8080"
// and "localhost:8080" are both 127.0.0.1 and ::1, and serves handler behind the
// zero [Guard] with the timeouts of [Guard.Server]. A nil handler is
// http.DefaultServeMux, which makes net/http/pprof and expvar safe to import. An
// empty address is ":http".
//
// The error is never nil. It wraps loopback.ErrNotLoopback if address is not
// loopback.
//
// ListenAndServe is not for a server behind a reverse proxy, which asks for the
// names that the proxy serves. That server needs loopback.Listen and a Guard with
// Hosts. It is also not for a server in a container whose port is published,
// because its clients do not come in over loopback.
func ListenAndServe(address string, handler http.Handler) error {
	if address == "" {
		address = ":http"
	}
	ln, err := loopback.Listen("tcp", address)
	if err != nil {
		return err
	}
	return new(Guard).Server(handler).Serve(ln)
}
