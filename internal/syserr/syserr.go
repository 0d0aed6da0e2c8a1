// Package syserr names the errors of system calls and sorts them into the
// classes that this module decides by.
//
// Names are those of POSIX ("ECONNREFUSED") on every system. Windows sockets
// report numbers of their own (WSAECONNREFUSED), which get these names too.
package syserr

import (
	"errors"
	"os"
	"slices"
	"syscall"
)

// Name returns the name of errno, or "" for a number without a name. Two names
// of one number come out as one: Linux says ENOTSUP for EOPNOTSUPP.
func Name(errno syscall.Errno) string { return name(errno) }

// Number returns the error number that has the name on this platform. Where
// several have it, on Windows, it is that of Winsock.
func Number(name string) (errno syscall.Errno, ok bool) {
	if name == "" {
		return errno, false
	}
	for _, r := range ranges {
		for errno := r.first; errno <= r.last; errno++ {
			if Name(errno) == name {
				return errno, true
			}
		}
	}
	return errno, false
}

// Is reports whether err wraps an error number with one of the names.
func Is(err error, names ...string) bool {
	errno, ok := errors.AsType[syscall.Errno](err)
	return ok && slices.Contains(names, Name(errno))
}

// InUse reports whether err says that another socket has the address. Windows
// says EACCES of a port that is set aside.
func InUse(err error) bool { return Is(err, "EADDRINUSE", "EACCES") }

// Missing reports whether err says that this machine does not have the
// address, or its whole family.
func Missing(err error) bool { return Is(err, "EADDRNOTAVAIL", "EAFNOSUPPORT") }

// Exhausted reports whether err says that descriptors or memory ran out.
func Exhausted(err error) bool { return Is(err, "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM") }

// ConnectionFailed reports whether err, an error of accept(2), is about a
// connection that failed while it waited, and not about the listener: accept(2),
// "Error handling". Windows says ENOTCONN of a connection that was reset.
//
// EPERM is about the listener. A sandbox that forbids one accept(2) forbids the
// next one too.
func ConnectionFailed(err error) bool {
	return Is(err, "ECONNABORTED", "ECONNRESET", "ENOTCONN", "EPROTO", "ENOPROTOOPT", "EOPNOTSUPP", "ENOTSUP",
		"ENETDOWN", "ENETUNREACH", "EHOSTDOWN", "EHOSTUNREACH", "ENONET", "ETIMEDOUT")
}

// Temporary returns err, an error of accept(2) for which Exhausted holds, as
// an error whose Temporary method reports true, so that servers wait and go on.
// Package syscall reports that of a lack of descriptors, and not of memory.
func Temporary(err error) error {
	errno, _ := errors.AsType[syscall.Errno](err)
	if errno.Temporary() {
		return err
	}
	return &os.SyscallError{Syscall: "accept", Err: shortage{errno}}
}

// A shortage is a lack of memory that is temporary.
type shortage struct{ syscall.Errno }

func (shortage) Temporary() bool { return true }

func (s shortage) Unwrap() error { return s.Errno }
