package loopback_test

import (
	"testing"

	"example.com/loopback/internal/netnstest"
)

// The namespaces that tests run in; see package netnstest.

func inNamespace(t *testing.T) bool { t.Helper(); return netnstest.In(t) }

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	return netnstest.Run(t, name, args...)
}

func needNFT(t *testing.T) { t.Helper(); netnstest.NeedNFT(t) }

func sysctl(t *testing.T, name, value string) { t.Helper(); netnstest.Sysctl(t, name, value) }

type neighbour struct {
	*netnstest.Neighbour
	path string
}

func newNeighbour(t *testing.T) *neighbour {
	t.Helper()
	n := netnstest.NewNeighbour(t)
	return &neighbour{n, n.Path}
}

func (n *neighbour) do(f func()) { n.Do(f) }

func (n *neighbour) run(t *testing.T, name string, args ...string) {
	t.Helper()
	n.Run(t, name, args...)
}

func (n *neighbour) veth(t *testing.T, ours, oursCIDR, theirs, theirsCIDR string) {
	t.Helper()
	n.Veth(t, ours, oursCIDR, theirs, theirsCIDR)
}
