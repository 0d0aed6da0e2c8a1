//go:build !linux

package merge

func newReceiver(sources []Source) (Receiver, error) { return newGoroutines(sources), nil }
