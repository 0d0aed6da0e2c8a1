package merge

// NewGoroutines is New of the systems without epoll.
func NewGoroutines(sources []Source) (Receiver, error) { return newGoroutines(sources), nil }

// Keep puts r among the results that a Receiver of NewGoroutines keeps.
func Keep(g Receiver, r Result) { g.(*goroutines).results <- r }

// Kept returns how many results it keeps.
func Kept(g Receiver) int { return len(g.(*goroutines).results) }
