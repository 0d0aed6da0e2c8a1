package hostsfile

import "golang.org/x/sys/windows"

// path returns the path of the hosts file.
func path() string {
	dir, err := windows.GetSystemDirectory()
	if err != nil {
		dir = `C:\Windows\System32`
	}
	return dir + `\drivers\etc\hosts`
}
