//go:build !windows

package hostsfile

// Path returns the path of the hosts file.
func Path() string { return "/etc/hosts" }
