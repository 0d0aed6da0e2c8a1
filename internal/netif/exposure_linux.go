package netif

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"example.com/loopback/internal/netlink"
)

func exposures(to netip.Addr, all []Interface) ([]Exposure, error) {
	c, err := netlink.Open(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	own := make(map[netip.Addr]bool)
	for _, i := range all {
		for _, p := range i.Addrs {
			own[p.Addr()] = true
		}
	}
	behind := routedNetworks()
	forAll := NonZero("ipv4", "all", "route_localnet")
	list := []Exposure{}
	for n := range all {
		i := &all[n]
		if i.IsLoopback() {
			continue
		}
		switch kind, _ := c.PortOf(i.Index); kind {
		case "bridge", "bond", "team", "openvswitch":
			continue
		}
		e := Exposure{Interface: i, Asked: i.IsUp(), From: []netip.Addr{}}
		// Either of the two is enough: IN_DEV_ROUTE_LOCALNET in the kernel.
		e.RouteLocalnet = append(append([]string{}, forAll...), NonZero("ipv4", i.Name, "route_localnet")...)
		if e.Asked {
			e.From, err = admitted(c, to, i.Index, sources(append(i.Addrs[:len(i.Addrs):len(i.Addrs)], behind[i.Name]...), own))
			switch {
			case errors.Is(err, unix.ENODEV):
				continue // it has gone
			case err != nil:
				return nil, err
			}
		}
		list = append(list, e)
	}
	return list, nil
}

// admitted returns those of the source addresses from which a packet to an
// address is delivered if it arrives on the interface with an index.
func admitted(c *netlink.Conn, to netip.Addr, index int, from []netip.Addr) ([]netip.Addr, error) {
	in := []netip.Addr{}
	for _, src := range from {
		delivered, err := c.Delivered(to, src, index)
		if err != nil {
			return nil, err
		}
		if delivered {
			in = append(in, src)
		}
	}
	return in, nil
}

// routedNetworks returns the IPv4 networks that are routed through each
// interface, by its name.
func routedNetworks() map[string][]netip.Prefix {
	f, err := os.Open("/proc/thread-self/net/route")
	if err != nil {
		return nil
	}
	defer f.Close()
	return parseRoutes(f)
}

// maxRoutes is how many lines of the main table are read.
const maxRoutes = 1000

// parseRoutes reads the beginning of a table in the form of
// /proc/net/route: proc_net(5). Lines of another form are passed over.
func parseRoutes(table io.Reader) map[string][]netip.Prefix {
	networks := make(map[string][]netip.Prefix)
	s := bufio.NewScanner(table)
	for range maxRoutes {
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
		networks[field[0]] = append(networks[field[0]], netip.PrefixFrom(netip.AddrFrom4(d), bits))
	}
	return networks
}
