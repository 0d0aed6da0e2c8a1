package netif

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// addrsByIndex returns the addresses of the interfaces by their indices. It asks
// for all at once. Package net asks for all as well, and returns those of one
// interface.
func addrsByIndex([]net.Interface) (map[int][]netip.Prefix, error) {
	table, err := syscall.NetlinkRIB(unix.RTM_GETADDR, unix.AF_UNSPEC)
	if err != nil {
		return nil, os.NewSyscallError("netlinkrib", err)
	}
	return parseAddrs(table)
}

// parseAddrs returns the addresses in a list of messages of rtnetlink(7).
func parseAddrs(table []byte) (map[int][]netip.Prefix, error) {
	messages, err := syscall.ParseNetlinkMessage(table)
	if err != nil {
		return nil, os.NewSyscallError("parsenetlinkmessage", err)
	}
	byIndex := make(map[int][]netip.Prefix)
	for _, m := range messages {
		if m.Header.Type != unix.RTM_NEWADDR {
			continue
		}
		attrs, err := syscall.ParseNetlinkRouteAttr(&m)
		if err != nil {
			return nil, os.NewSyscallError("parsenetlinkrouteattr", err)
		}
		var addr netip.Addr
		for _, a := range attrs { // of a point-to-point link, ADDRESS is the other end
			if a.Attr.Type == unix.IFA_LOCAL || a.Attr.Type == unix.IFA_ADDRESS && !addr.IsValid() {
				addr, _ = netip.AddrFromSlice(a.Value)
			}
		}
		if addr.IsValid() { // or it is of another family, such as MCTP
			// struct ifaddrmsg: family, prefixlen, flags, scope, index
			index := int(binary.NativeEndian.Uint32(m.Data[4:]))
			byIndex[index] = append(byIndex[index], netip.PrefixFrom(addr, int(m.Data[1])))
		}
	}
	return byIndex, nil
}
