package syserr_test

import (
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/loopback/internal/syserr"
)

// net/http and its like go on only after errors that are Temporary.
func TestShortageIsTemporary(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		op := &net.OpError{Op: "accept", Net: "tcp", Err: syserr.Temporary(os.NewSyscallError("accept4", errno))}
		assert.True(t, op.Temporary(), "%v", errno)
		assert.ErrorIs(t, op, errno)
		assert.IsType(t, (*os.SyscallError)(nil), op.Err)
		assert.Contains(t, fmt.Sprint(op), errno.Error())
		given := os.NewSyscallError("accept4", errno)
		if errno.Temporary() {
			assert.Equal(t, given, syserr.Temporary(given), "nothing is to be changed")
		} else {
			assert.EqualError(t, syserr.Temporary(given), "accept: "+errno.Error())
		}
	}
}

// What accept(2) says of a connection ends no server; what it says of the
// listener or of this process does.
func TestConnectionFailed(t *testing.T) {
	for errno, want := range map[syscall.Errno]bool{
		syscall.EPROTO:       true,
		syscall.ENOPROTOOPT:  true,
		syscall.EOPNOTSUPP:   true,
		syscall.ENOTCONN:     true,
		syscall.ENETDOWN:     true,
		syscall.ECONNABORTED: true,
		syscall.ECONNRESET:   true,
		syscall.ENETUNREACH:  true,
		syscall.EHOSTUNREACH: true,
		syscall.ETIMEDOUT:    true,
		syscall.EMFILE:       false,
		syscall.EINVAL:       false,
		syscall.EPERM:        false, // of a sandbox: Accept would go round and round
		syscall.EBADF:        false,
	} {
		err := &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", errno)}
		want = want && syserr.Name(errno) != "" // Windows has fewer names
		assert.Equal(t, want, syserr.ConnectionFailed(err), "%v", errno)
	}
	assert.False(t, syserr.ConnectionFailed(net.ErrClosed))
}

// Each class is a list of names, and nothing else.
func TestClasses(t *testing.T) {
	for class, is := range map[string]func(error) bool{"in use": syserr.InUse, "missing": syserr.Missing, "exhausted": syserr.Exhausted} {
		for errno, want := range map[syscall.Errno]string{
			syscall.EADDRINUSE: "in use", syscall.EACCES: "in use",
			syscall.EADDRNOTAVAIL: "missing", syscall.EAFNOSUPPORT: "missing",
			syscall.EMFILE: "exhausted", syscall.ENFILE: "exhausted", syscall.ENOBUFS: "exhausted", syscall.ENOMEM: "exhausted",
			syscall.EPERM: "", syscall.ECONNREFUSED: "", syscall.EINVAL: "",
		} {
			if syserr.Name(errno) != "" { // Windows has fewer names
				assert.Equal(t, want == class, is(os.NewSyscallError("socket", errno)), "%v is %s", errno, class)
			}
		}
		assert.False(t, is(nil))
	}
}

func TestNumberFindsEveryName(t *testing.T) {
	for _, name := range []string{"EACCES", "EADDRINUSE", "EADDRNOTAVAIL", "EAFNOSUPPORT", "ECONNREFUSED", "EMFILE", "ETIMEDOUT"} {
		errno, ok := syserr.Number(name)
		assert.True(t, ok, name)
		assert.Equal(t, name, syserr.Name(errno))
	}
	for _, name := range []string{"", "ENONSENSE", "econnrefused"} {
		_, ok := syserr.Number(name)
		assert.False(t, ok, name)
	}
}
