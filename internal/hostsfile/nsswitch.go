package hostsfile

import (
	"bytes"
	"io"
	"runtime"
	"strings"
)

// LocalResolver returns the part of the system that answers for localhost
// names itself before any server is asked, if package net asks the system; ""
// if there is none.
func LocalResolver() string {
	if runtime.GOOS == "windows" {
		return "Windows"
	}
	for _, source := range nsswitch() {
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

// DNSFirst reports whether the system asks DNS servers before it looks into the
// hosts file.
func DNSFirst() bool {
	for _, source := range nsswitch() {
		switch source {
		case "files":
			return false
		case "dns":
			return true
		}
	}
	return false
}

// FilesFirst reports whether the system asks no other source before it looks into the
// hosts file, as far as nsswitch.conf says.
func FilesFirst() bool {
	sources := nsswitch()
	return len(sources) == 0 || sources[0] == "files"
}

// nsswitch returns where the system looks for hosts, in this order, as
// nsswitch.conf(5) has it.
func nsswitch() []string {
	f, err := openRegular("/etc/nsswitch.conf")
	if err != nil {
		return nil
	}
	defer f.Close()
	conf, _ := io.ReadAll(io.LimitReader(f, 64<<10))
	for line := range bytes.Lines(conf) {
		line, _, _ = bytes.Cut(line, []byte("#"))
		if db, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("hosts:")); ok {
			return strings.Fields(string(db))
		}
	}
	return nil
}
