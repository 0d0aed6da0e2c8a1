package loopback

// What tests of package loopback_test reach inside for, on Linux.

var (
	HasName      = hasName
	AddrsByIndex = addrsByIndex
)
