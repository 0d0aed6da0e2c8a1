package loopback

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"example.com/loopback/internal/netif"
	"example.com/loopback/internal/syserr"
)

// Adopt makes one Listener of TCP listeners that were made elsewhere, such as
// those of systemd, which hands over one for each family. Each must be a
// [*net.TCPListener] that [Verify] accepts, and may be given once. On an error
// nothing was adopted, and all stay open; otherwise the Listener closes them.
//
// A listener of another network namespace serves the loopback interface of
// that one. Nothing can be proved about it here, and its Binding says so.
//
// No option is set on them, since another process may share them. So
// IngressAuto means IngressCheck, then IngressRemote, and IngressDevice is an
// error; connections by multipath TCP, whose interface cannot be told, are
// refused under IngressCheck. RequireBoth asks for one of either family, and
// Control is not called.
func (lc *ListenConfig) Adopt(lns ...net.Listener) (*Listener, error) {
	if len(lns) == 0 {
		return nil, adoptError(nil, errors.New("loopback: no listener to adopt"))
	}
	rungs, err := lc.Ingress.rungs()
	if lc.Ingress == IngressAuto {
		rungs = rungs[1:]
	} else if lc.Ingress == IngressDevice {
		err = fmt.Errorf("ingress device: %w: it would bind a socket that others share", errors.ErrUnsupported)
	}
	if err != nil {
		return nil, adoptError(nil, err)
	}
	lo, err := netif.FindLoopback()
	if err != nil {
		return nil, adoptError(nil, err)
	}
	here, hereErr := netif.Namespace()
	if syserr.Exhausted(hereErr) {
		return nil, adoptError(nil, hereErr)
	}
	var socks []tcpSock
	var bindings []Binding
	var has4, has6 bool
	for _, ln := range lns {
		t, ok := ln.(*net.TCPListener)
		if !ok || t == nil {
			return nil, adoptError(ln, fmt.Errorf("%w: a %T cannot be adopted, only a *net.TCPListener", ErrNotLoopback, ln))
		}
		if slices.ContainsFunc(socks, func(s tcpSock) bool { return s.TCPListener == t }) {
			return nil, adoptError(ln, errors.New("loopback: it was given twice"))
		}
		if err := Verify(t); err != nil {
			return nil, adoptError(ln, err)
		}
		info, err := inspect(t)
		if err != nil {
			return nil, adoptError(ln, err)
		}
		if !info.Listening {
			return nil, adoptError(ln, fmt.Errorf("%w: it does not listen", ErrNotLoopback))
		}
		addr := info.Local.Addr()
		var g gate
		var note error
		if info.Namespace != here && rungs[0] != IngressAny { // clients come in by another way there
			g, note = gate{rung: rungs[0], loop: lo, addr: addr}, errors.New("not proved: the socket is of another network namespace")
			if hereErr != nil {
				note = fmt.Errorf("not proved: the network namespace of this process is unknown: %w", hereErr)
			}
		} else if g, note, err = choose(context.Background(), rungs, lo, addr, rehearseTCP(info.Multipath)); !errors.Is(err, errors.ErrUnsupported) && syserr.Missing(err) {
			note, err = fmt.Errorf("not proved: %w", err), nil
		}
		if err != nil {
			return nil, adoptError(ln, err)
		}
		has4, has6 = has4 || addr.Is4(), has6 || addr.Is6()
		socks = append(socks, tcpSock{t, g})
		bindings = append(bindings, Binding{"tcp" + familyOf(addr), info.Local, g.rung, note, true})
	}
	if lc.RequireBoth && !(has4 && has6) {
		return nil, adoptError(nil, errors.New("loopback: RequireBoth is set, but there is no listener of one family"))
	}
	l, err := newListener(socks, bindings, lc.OnReject)
	if err != nil {
		return nil, adoptError(nil, err)
	}
	return l, nil
}

func adoptError(ln net.Listener, err error) error {
	if op, ok := err.(*net.OpError); ok { // of Verify
		err = op.Err
	}
	op := &net.OpError{Op: "adopt", Net: "tcp", Err: err}
	if t, ok := ln.(*net.TCPListener); ok {
		if _, err := t.SyscallConn(); err == nil { // Addr of a nil or a zero one panics
			op.Addr = t.Addr()
		}
	}
	return op
}
