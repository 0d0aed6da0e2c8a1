//go:build !windows

package hostsfile

// systemPath returns the path of the hosts file.
func systemPath() string { return "/etc/hosts" }
