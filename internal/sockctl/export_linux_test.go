package sockctl

// What tests of package sockctl_test reach inside for.
var (
	PktinfoIndex = pktinfoIndex
	AddrOf       = addrOf
)
