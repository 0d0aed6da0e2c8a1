package netlink

import "time"

// FD is the descriptor of c.
func FD(c *Conn) int { return c.fd }

// AnswerTimeout bounds the wait for an answer.
const AnswerTimeout time.Duration = answerTimeout
