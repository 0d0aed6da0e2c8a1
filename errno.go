package loopback

import (
	"errors"
	"os"
	"slices"
	"syscall"
)

// The classes of system errors that something is decided by.

// inUse reports whether err says that another socket has the address or, on
// Windows, that its port is set aside.
func inUse(err error) bool { return hasErrno(err, "EADDRINUSE", "EACCES") }

// missing reports whether err says that this machine does not have the
// address, or its whole family.
func missing(err error) bool { return hasErrno(err, "EADDRNOTAVAIL", "EAFNOSUPPORT") }

// exhausted reports whether err says that descriptors or memory ran out.
func exhausted(err error) bool { return hasErrno(err, "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM") }

// connectionFailed reports whether err, of an accept, is about a connection
// that failed while it waited, and not about the listener: accept(2), "Error
// handling". ENOTCONN is what AcceptEx says of one that was reset.
// EPERM is not among them: what forbids it, a sandbox, forbids the next as well.
func connectionFailed(err error) bool {
	return hasErrno(err, "ECONNABORTED", "ECONNRESET", "ENOTCONN", "EPROTO", "ENOPROTOOPT", "EOPNOTSUPP", "ENOTSUP",
		"ENETDOWN", "ENETUNREACH", "EHOSTDOWN", "EHOSTUNREACH", "ENONET", "ETIMEDOUT")
}

// hasErrno reports whether errnoName has one of the names for the number that
// err wraps. It has one name for each number: ENOTSUP on Linux, where
// EOPNOTSUPP is the same.
func hasErrno(err error, names ...string) bool {
	if _, ok := errors.AsType[controlError](err); ok {
		return false
	}
	errno, ok := errors.AsType[syscall.Errno](err)
	return ok && slices.Contains(names, errnoName(errno))
}

// A controlError is what a Control function of the caller returned. Nothing is
// decided by it: it ends the call.
type controlError struct{ error }

func (e controlError) Unwrap() error { return e.error }

// A shortage is a lack of memory in accept(2). It is temporary, so that servers
// wait and go on; package syscall says so of a lack of descriptors only.
type shortage struct{ syscall.Errno }

func (shortage) Temporary() bool { return true }

func (s shortage) Unwrap() error { return s.Errno }

// asTemporary returns an error of accept(2) for which exhausted holds as it is,
// or in the form that package net gives it, with Temporary true.
func asTemporary(err error) error {
	errno, _ := errors.AsType[syscall.Errno](err)
	if errno.Temporary() {
		return err
	}
	return &os.SyscallError{Syscall: "accept", Err: shortage{errno}}
}
