package netif

import (
	"fmt"
	"net"
	"os"
	"strings"
)

func nonZero(family, iface, key string) []string {
	b, err := os.ReadFile("/proc/sys/net/" + family + "/conf/" + iface + "/" + key)
	if value := strings.TrimSpace(string(b)); err != nil || value == "0" {
		return nil
	}
	return []string{Parameter(family, iface, key)}
}

func ipv6Off(lo net.Interface) (cause, fix string) {
	if _, err := os.Stat("/proc/sys/net/ipv4"); err != nil {
		return "", "" // not known: a sandbox may hide what /proc has
	}
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
		return "the kernel has no IPv6", "modprobe ipv6 # or boot without ipv6.disable=1"
	}
	if names := nonZero("ipv6", lo.Name, "disable_ipv6"); names != nil {
		return names[0] + "=1", "sysctl -w " + names[0] + "=0"
	}
	if lo.MTU < 1280 { // RFC 8200, section 5
		return fmt.Sprintf("the MTU of %s is %d, and IPv6 needs 1280", lo.Name, lo.MTU),
			"ip link set dev " + lo.Name + " mtu 65536 && ip addr replace ::1/128 dev " + lo.Name
	}
	return "", ""
}
