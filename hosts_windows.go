package loopback

import "golang.org/x/sys/windows"

// hostsPath returns the path of the hosts file.
func hostsPath() string {
	dir, err := windows.GetSystemDirectory()
	if err != nil {
		dir = `C:\Windows\System32`
	}
	return dir + `\drivers\etc\hosts`
}
