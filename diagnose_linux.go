package loopback

import (
	"bufio"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"example.com/loopback/internal/netif"
	"example.com/loopback/internal/netlink"
)

// wire asks the kernel of each interface that is not loopback whether a packet
// to 127.0.0.1 that arrived there would be delivered.
func wire(ifaces []iface) ([]WireReport, error) {
	c, err := netlink.Open(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	own := make(map[netip.Addr]bool)
	for _, i := range ifaces {
		for _, p := range i.addrs {
			own[p.Addr()] = true
		}
	}
	behind := routes()
	all := netif.NonZero("ipv4", "all", "route_localnet")
	reports := []WireReport{}
next:
	for _, i := range ifaces {
		if i.Flags&net.FlagLoopback != 0 {
			continue
		}
		switch kind, _ := c.PortOf(i.Index); kind {
		case "bridge", "bond", "team", "openvswitch":
			continue // what arrives here arrives on that device, whose port this is
		}
		w := WireReport{Interface: i.Name, Index: i.Index, Up: i.Flags&net.FlagUp != 0, From: []netip.Addr{}}
		// Either of the two is enough: IN_DEV_ROUTE_LOCALNET in the kernel.
		w.RouteLocalnet = append(append([]string{}, all...), netif.NonZero("ipv4", i.Name, "route_localnet")...)
		if w.Up {
			w.Exposed = new(bool)
			for _, src := range sources(append(i.addrs, behind[i.Name]...), own) {
				in, err := c.Delivered(IPv4(), src, i.Index)
				switch {
				case errors.Is(err, unix.ENODEV):
					continue next // it has gone
				case err != nil:
					return nil, err
				case in:
					*w.Exposed, w.From = true, append(w.From, src)
				}
			}
		}
		reports = append(reports, w)
	}
	return reports, nil
}

// addrsByIndex returns the addresses of the interfaces by their indices. It asks
// for all at once: package net, asked about one, hears of all, and throws them
// away but for those.
func addrsByIndex([]net.Interface) (map[int][]netip.Prefix, error) {
	table, err := syscall.NetlinkRIB(unix.RTM_GETADDR, unix.AF_UNSPEC)
	if err != nil {
		return nil, os.NewSyscallError("netlinkrib", err)
	}
	messages, err := syscall.ParseNetlinkMessage(table)
	if err != nil {
		return nil, os.NewSyscallError("parsenetlinkmessage", err)
	}
	out := make(map[int][]netip.Prefix)
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
			out[index] = append(out[index], netip.PrefixFrom(addr, int(m.Data[1])))
		}
	}
	return out, nil
}

// maxSources bounds the questions asked about one interface.
const maxSources = 32

// sources returns the addresses that a packet may come from on an interface
// with networks behind it. Which of them get in depends on rp_filter, on
// accept_local, and on policy routing.
func sources(networks []netip.Prefix, own map[netip.Addr]bool) []netip.Addr {
	var out []netip.Addr
	for _, p := range networks {
		if !p.Addr().Is4() || p.Bits() == 0 || len(out) == maxSources {
			continue
		}
		p = p.Masked()
		a := p.Addr()
		if p.Bits() < 31 {
			a = a.Next() // the first is the network's own address
		}
		for own[a] {
			a = a.Next()
		}
		if p.Contains(a) && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return append(out,
		netip.AddrFrom4([4]byte{192, 0, 2, 1}), // far away: RFC 5737
		netip.AddrFrom4([4]byte{127, 0, 0, 2}), // forged
	)
}

// routes returns the IPv4 networks that are routed through each interface, as
// far as they are at the beginning of the main table.
func routes() map[string][]netip.Prefix {
	f, err := os.Open("/proc/thread-self/net/route")
	if err != nil {
		return nil
	}
	defer f.Close()
	out := make(map[string][]netip.Prefix)
	s := bufio.NewScanner(f)
	for range 1000 {
		if !s.Scan() {
			break
		}
		// Iface Destination Gateway Flags RefCnt Use Metric Mask ...
		field := strings.Fields(s.Text())
		if len(field) < 8 {
			continue
		}
		dst, err1 := strconv.ParseUint(field[1], 16, 32)
		mask, err2 := strconv.ParseUint(field[7], 16, 32)
		if err1 != nil || err2 != nil {
			continue // the heading
		}
		var d, m [4]byte
		binary.NativeEndian.PutUint32(d[:], uint32(dst))
		binary.NativeEndian.PutUint32(m[:], uint32(mask))
		bits, _ := net.IPMask(m[:]).Size()
		out[field[0]] = append(out[field[0]], netip.PrefixFrom(netip.AddrFrom4(d), bits))
	}
	return out
}
