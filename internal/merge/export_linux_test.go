package merge

// Zone returns the name of a zone.
var Zone = zone

// FD is the descriptor of the epoll instance of e.
func FD(e Receiver) (fd int) {
	_ = e.(*epoll).raw.Control(func(epoll uintptr) { fd = int(epoll) })
	return fd
}

// BeforeReceive makes f run before each receive from a source of e.
func BeforeReceive(e Receiver, f func(source int)) {
	receive := e.(*epoll).receive
	e.(*epoll).receive = func(i int) bool {
		f(i)
		return receive(i)
	}
}

// BeforeEpoll makes f run before each question of e to epoll.
func BeforeEpoll(e Receiver, f func()) {
	ready := e.(*epoll).ready
	e.(*epoll).ready = func(fd uintptr) bool {
		f()
		return ready(fd)
	}
}
