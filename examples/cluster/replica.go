package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"example.com/loopback"
	"example.com/loopback/loopbackhttp"
)

// A replica is one server. It has every key.
type replica struct {
	number int
	addr   netip.AddrPort
	server *http.Server
	client *http.Client
	change func() // tells that its status is another

	mu     sync.Mutex
	peers  []*replica
	values map[string]value
	clock  uint64        // of the last write that was seen
	last   string        // key of the last write
	state  string        // "up", "stopped", or why it failed
	ended  chan struct{} // the server has returned
}

// A value has a version, which orders the writes of all replicas: the greater
// clock is the later, and of two that are equal the greater number.
type value struct {
	text   []byte
	clock  uint64
	number int
}

func (v value) newer(than value) bool {
	return v.clock > than.clock || v.clock == than.clock && v.number > than.number
}

type status struct {
	state string
	keys  int
	last  string
}

const (
	maxValue    = 1 << 20
	peerTime    = 2 * time.Second
	clockHeader = "Cluster-Clock" // of a write that another replica hands on
	fromHeader  = "Cluster-From"
)

func newReplica(number int, addr netip.AddrPort, change func()) *replica {
	r := &replica{
		number: number,
		addr:   addr,
		change: change,
		values: make(map[string]value),
		state:  "up",
		ended:  make(chan struct{}),
		// A peer is on loopback, whatever the environment says about proxies.
		client: &http.Client{Timeout: peerTime, Transport: &http.Transport{DialContext: loopback.DialContext}},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{key}", r.get)
	mux.HandleFunc("PUT /{key}", r.put)
	r.server = new(loopbackhttp.Guard).Server(mux)
	return r
}

// serve starts the replica.
func (r *replica) serve(ln net.Listener, all []*replica) {
	for _, peer := range all {
		if peer != r {
			r.peers = append(r.peers, peer)
		}
	}
	go func() {
		defer close(r.ended)
		if err := r.server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			r.setState("failed: " + err.Error())
		}
	}()
}

func (r *replica) setState(state string) {
	r.mu.Lock()
	r.state = state
	r.mu.Unlock()
	r.change()
}

// stop ends the replica as a crash would: without a word to its peers.
func (r *replica) stop() {
	r.server.Close()
	<-r.ended
	r.client.CloseIdleConnections()
	r.setState("stopped")
}

func (r *replica) status() status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return status{state: r.state, keys: len(r.values), last: r.last}
}

func (r *replica) get(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	v, ok := r.values[req.PathValue("key")]
	r.mu.Unlock()
	if !ok {
		http.NotFound(w, req)
		return
	}
	_, _ = w.Write(v.text) // the client may have gone
}

// put takes a write of a client, or one that a peer hands on. The answer to a
// client says how many replicas have it.
func (r *replica) put(w http.ResponseWriter, req *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxValue))
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	key, v := req.PathValue("key"), value{text: text}
	if from := req.Header.Get(fromHeader); from != "" {
		var errClock, errFrom error
		v.clock, errClock = strconv.ParseUint(req.Header.Get(clockHeader), 10, 64)
		v.number, errFrom = strconv.Atoi(from)
		if errClock != nil || errFrom != nil {
			http.Error(w, "no version", http.StatusBadRequest)
			return
		}
		r.store(key, v)
		return
	}
	v = r.stamp(key, v)
	fmt.Fprintf(w, "%d of %d replicas\n", 1+r.handOn(req.Context(), key, v), 1+len(r.peers))
}

// stamp gives a write of a client its version, and keeps it.
func (r *replica) stamp(key string, v value) value {
	r.mu.Lock()
	v.clock, v.number = r.clock+1, r.number
	r.mu.Unlock()
	r.store(key, v)
	return v
}

// store keeps v, unless it has a newer one.
func (r *replica) store(key string, v value) {
	r.mu.Lock()
	r.clock = max(r.clock, v.clock)
	if v.newer(r.values[key]) {
		r.values[key] = v
		r.last = key
	}
	r.mu.Unlock()
	r.change()
}

// handOn sends a write to all peers, and returns how many have it.
func (r *replica) handOn(ctx context.Context, key string, v value) (have int) {
	answers := make(chan bool)
	for _, peer := range r.peers {
		go func() { answers <- r.send(ctx, peer.addr, key, v) == nil }()
	}
	for range r.peers {
		if <-answers {
			have++
		}
	}
	return have
}

func (r *replica) send(ctx context.Context, to netip.AddrPort, key string, v value) error {
	path := strings.ReplaceAll(url.PathEscape(key), ".", "%2E") // the key may be ".."
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+to.String()+"/"+path, bytes.NewReader(v.text))
	if err != nil {
		return err
	}
	req.Header.Set(clockHeader, strconv.FormatUint(v.clock, 10))
	req.Header.Set(fromHeader, strconv.Itoa(v.number))
	resp, err := r.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}
