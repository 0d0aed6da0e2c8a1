package loopback

// BeforeReceive makes f run before each receive of a listener on several
// addresses, when the mux has seen that the socket is ready.
func BeforeReceive(l *Listener, f func(sock int)) {
	receive := l.mux.receive
	l.mux.receive = func(sock int, b []byte) received {
		f(sock)
		return receive(sock, b)
	}
}
