package loopback

// Conclude derives the findings of a report that a test made up.
func (r *Report) Conclude() { r.conclude() }
