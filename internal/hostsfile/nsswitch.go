package hostsfile

import (
	"bytes"
	"io"
	"runtime"
	"slices"
	"strings"
)

// Sources are where a C library looks for hosts, in this order: nsswitch.conf(5).
// Nil means that the file does not say.
type Sources []string

// ReadSources reads nsswitch.conf. Windows has none, whatever a file of that name
// on its current drive says.
func ReadSources() Sources {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := openRegular("/etc/nsswitch.conf")
	if err != nil {
		return nil
	}
	defer f.Close()
	return ParseSources(f)
}

// ParseSources reads the content of an nsswitch.conf, at most 64 KiB of it.
func ParseSources(r io.Reader) Sources {
	conf, _ := io.ReadAll(io.LimitReader(r, 64<<10))
	for line := range bytes.Lines(conf) {
		line, _ = cutComment(line)
		if sources, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("hosts:")); ok {
			return strings.Fields(string(sources))
		}
	}
	return nil
}

// LocalResolver returns the name of the source that answers for localhost names
// itself before any server is asked, or "" if there is none. Package net asks it
// where the C library or Windows resolves.
func (s Sources) LocalResolver() string {
	if runtime.GOOS == "windows" {
		return "Windows"
	}
	for _, source := range s {
		switch source {
		case "myhostname":
			return "nss-myhostname"
		case "resolve":
			return "systemd-resolved"
		case "dns":
			return ""
		}
	}
	return ""
}

// DNSFirst reports whether DNS servers are asked before the hosts file.
func (s Sources) DNSFirst() bool {
	dns, files := slices.Index(s, "dns"), slices.Index(s, "files")
	return dns >= 0 && (files < 0 || dns < files)
}

// FilesFirst reports whether the hosts file is asked before all else.
func (s Sources) FilesFirst() bool { return len(s) == 0 || s[0] == "files" }
