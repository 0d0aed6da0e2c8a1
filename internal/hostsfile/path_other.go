//go:build !windows

package hostsfile

// path returns the path of the hosts file.
func path() string { return "/etc/hosts" }
