package loopback_test

import (
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"

	"example.com/loopback"
	"github.com/stretchr/testify/assert"
)

// net/http and its like go on only after errors that are Temporary.
func TestShortageIsTemporary(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		from := &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", errno)}
		op := &net.OpError{Op: "accept", Net: "tcp", Err: loopback.AsTemporary(from.Err)}
		assert.True(t, op.Temporary(), "%v", errno)
		assert.ErrorIs(t, op, errno)
		assert.IsType(t, (*os.SyscallError)(nil), op.Err)
		assert.Contains(t, fmt.Sprint(op), errno.Error())
	}
}
