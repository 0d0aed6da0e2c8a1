package hostsfile_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/loopback/internal/hostsfile"
)

// Wine has the nsswitch.conf of the system that it runs on, and on Windows any user
// can make one.
func TestSourcesOfWindows(t *testing.T) {
	if runtime.GOOS != "windows" {
		t.Skip("other systems may have an nsswitch.conf")
	}
	assert.Nil(t, hostsfile.ReadSources())
}

func TestSources(t *testing.T) {
	for _, tt := range []struct {
		conf       string
		local      string
		dnsFirst   bool
		filesFirst bool
	}{
		{"", "", false, true},
		{"# hosts: dns\npasswd: files\n", "", false, true},
		{"hosts:\n", "", false, true},
		{"hosts: files dns\n", "", false, true},
		{"hosts:files dns", "", false, true},
		{"  hosts:\tfiles\tdns # comment\n", "", false, true},
		{"hosts: files\nhosts: dns\n", "", false, true},
		{"hosts: dns files\n", "", true, false},
		{"hosts: dns\n", "", true, false},
		{"hosts: dns [NOTFOUND=return] files\n", "", true, false},
		{"hosts: mdns4_minimal [NOTFOUND=return] files dns\n", "", false, false},
		{"hosts: nis\n", "", false, false},
		{"hosts: files myhostname dns\n", "nss-myhostname", false, true},
		{"hosts: myhostname files dns\n", "nss-myhostname", false, false},
		{"hosts: files dns myhostname\n", "", false, true},
		{"hosts: mymachines resolve [!UNAVAIL=return] files myhostname dns\n", "systemd-resolved", false, false},
		{"hosts: files myhostname resolve\n", "nss-myhostname", false, true},
		{"hosts: files # myhostname\n", "", false, true},
		{"hosts: myhostname2\n", "", false, false},
		{strings.Repeat("#", 64<<10) + "\nhosts: dns\n", "", false, true},
	} {
		s := hostsfile.ParseSources(strings.NewReader(tt.conf))
		if runtime.GOOS == "windows" {
			tt.local = "Windows"
		}
		assert.Equal(t, tt.local, s.LocalResolver(), "%.64q", tt.conf)
		assert.Equal(t, tt.dnsFirst, s.DNSFirst(), "%.64q", tt.conf)
		assert.Equal(t, tt.filesFirst, s.FilesFirst(), "%.64q", tt.conf)
	}
}
