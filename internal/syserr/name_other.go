//go:build !unix

package syserr

import "syscall"

// name knows the numbers of Winsock (WSAECONNREFUSED, 10061) beside those that
// package syscall gives to the errors it makes up.
func name(errno syscall.Errno) string {
	switch errno {
	case syscall.EACCES, 10013:
		return "EACCES"
	case syscall.EINVAL, 10022:
		return "EINVAL"
	case syscall.EMFILE, 10024:
		return "EMFILE"
	case syscall.ENOTSOCK, 10038:
		return "ENOTSOCK"
	case syscall.EPROTONOSUPPORT, 10043:
		return "EPROTONOSUPPORT"
	case syscall.EAFNOSUPPORT, 10047:
		return "EAFNOSUPPORT"
	case syscall.EADDRINUSE, 10048:
		return "EADDRINUSE"
	case syscall.EADDRNOTAVAIL, 10049:
		return "EADDRNOTAVAIL"
	case syscall.ENETDOWN, 10050:
		return "ENETDOWN"
	case syscall.ENETUNREACH, 10051:
		return "ENETUNREACH"
	case syscall.ECONNABORTED, 10053:
		return "ECONNABORTED"
	case syscall.ECONNRESET, 10054:
		return "ECONNRESET"
	case syscall.ENOBUFS, 10055:
		return "ENOBUFS"
	case syscall.ENOTCONN, 10057:
		return "ENOTCONN"
	case syscall.ETIMEDOUT, 10060:
		return "ETIMEDOUT"
	case syscall.ECONNREFUSED, 10061:
		return "ECONNREFUSED"
	case syscall.EHOSTUNREACH, 10065:
		return "EHOSTUNREACH"
	}
	return ""
}

// ranges holds the numbers that name may know: those of Winsock, of a POSIX
// system, and on Windows those that package syscall makes up.
var ranges = []struct{ first, last syscall.Errno }{{10000, 10999}, {1, 255}, {1 << 29, 1<<29 + 255}}
