package loopback

// What tests of package loopback_test reach inside for.

var AsTemporary = asTemporary
