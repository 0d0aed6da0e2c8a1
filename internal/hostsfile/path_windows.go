package hostsfile

import "golang.org/x/sys/windows"

// Path returns the path of the hosts file.
func Path() string {
	dir, err := windows.GetSystemDirectory()
	if err != nil {
		dir = `C:\Windows\System32`
	}
	return dir + `\drivers\etc\hosts`
}
