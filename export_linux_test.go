package loopback

// What tests of package loopback_test reach inside for, on Linux.

var (
	AddrsByIndex = addrsByIndex
)
