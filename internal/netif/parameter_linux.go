package netif

import (
	"fmt"
	"net"
	"net/netip"
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
	disabled := Parameter("ipv6", lo.Name, "disable_ipv6")
	enable := "sysctl -w " + disabled + "=0"
	off := nonZero("ipv6", lo.Name, "disable_ipv6") != nil
	if off {
		cause, fix = disabled+"=1", enable
	}
	if lo.MTU < 1280 { // RFC 8200, section 5
		if off {
			cause += ", and "
		}
		cause += fmt.Sprintf("the MTU of %s is %d, and IPv6 needs 1280", lo.Name, lo.MTU)
		fix = "ip link set dev " + lo.Name + " mtu 65536 && "
		if off || nonZero("ipv6", "default", "disable_ipv6") != nil { // which holds for lo once it has IPv6 again
			fix += enable + " && "
		}
		fix += "ip addr replace ::1/128 dev " + lo.Name
	}
	return cause, fix
}

func nonlocalBind(addr netip.Addr) string {
	family := "ipv4"
	if addr.Is6() {
		family = "ipv6"
	}
	b, err := os.ReadFile("/proc/sys/net/" + family + "/ip_nonlocal_bind")
	if value := strings.TrimSpace(string(b)); err != nil || value == "0" {
		return ""
	}
	return "net." + family + ".ip_nonlocal_bind"
}
