package netif

import (
	"errors"
	"net"
	"net/netip"
)

// Interface is a network interface with its addresses.
type Interface struct {
	net.Interface
	Addrs []netip.Prefix // each with the prefix length that it is configured with
}

// IsLoopback reports whether the interface has the loopback flag.
func (i Interface) IsLoopback() bool { return i.Flags&net.FlagLoopback != 0 }

// IsUp reports whether the interface is up.
func (i Interface) IsUp() bool { return i.Flags&net.FlagUp != 0 }

// All returns the interfaces of this network namespace. No interfaces at all
// are an error.
func All() ([]Interface, error) {
	list, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errors.New("the system shows no interfaces")
	}
	addrs, err := addrsByIndex(list)
	if err != nil {
		return nil, err
	}
	var all []Interface
	for _, i := range list {
		all = append(all, Interface{Interface: i, Addrs: addrs[i.Index]})
	}
	return all, nil
}
