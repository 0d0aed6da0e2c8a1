package hostsfile

import "golang.org/x/sys/windows"

// systemPath returns the path of the hosts file.
func systemPath() string {
	dir, err := windows.GetSystemDirectory()
	if err != nil {
		dir = `C:\Windows\System32`
	}
	return dir + `\drivers\etc\hosts`
}
