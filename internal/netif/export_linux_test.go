package netif

// What the tests reach inside for, on Linux.
var (
	ParseRoutes = parseRoutes
	ParseAddrs  = parseAddrs
)
