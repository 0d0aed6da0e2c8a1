package socktab

import (
	"encoding/binary"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"

	"example.com/loopback/internal/sockctl"
)

// The tables of iphlpapi.h and iprtrmib.h.
const (
	tcpTableOwnerPIDListener = 3
	udpTableOwnerPID         = 1
)

// A table of Windows has a count and rows of 32-bit words; addresses and ports
// in them are big-endian. The offsets are those in a row, in bytes.
type table struct {
	procedure               string
	family, class           uintptr
	network                 string
	rowSize, addr, port, id int
}

var tables = []table{
	{procedure: "GetExtendedTcpTable", family: windows.AF_INET, class: tcpTableOwnerPIDListener, network: "tcp", rowSize: 24, addr: 4, port: 8, id: 20},
	{procedure: "GetExtendedTcpTable", family: windows.AF_INET6, class: tcpTableOwnerPIDListener, network: "tcp", rowSize: 56, addr: 0, port: 20, id: 52},
	{procedure: "GetExtendedUdpTable", family: windows.AF_INET, class: udpTableOwnerPID, network: "udp", rowSize: 12, addr: 0, port: 4, id: 8},
	{procedure: "GetExtendedUdpTable", family: windows.AF_INET6, class: udpTableOwnerPID, network: "udp", rowSize: 28, addr: 0, port: 20, id: 24},
}

func own() ([]OwnSocket, error) {
	var sockets []OwnSocket
	held := sync.OnceValue(heldAddrs)
	for _, t := range tables {
		data, err := t.read()
		if err != nil {
			return nil, os.NewSyscallError(t.procedure, err)
		}
		sockets = append(sockets, t.parse(data, uint32(os.Getpid()), held)...)
	}
	return sockets, nil
}

// read returns the table as it is in memory.
func (t table) read() ([]byte, error) {
	proc := windows.NewLazySystemDLL("iphlpapi.dll").NewProc(t.procedure)
	if err := proc.Find(); err != nil {
		return nil, err
	}
	size := uint32(16 << 10)
	for {
		data := make([]byte, size)
		r, _, _ := proc.Call(uintptr(unsafe.Pointer(&data[0])), uintptr(unsafe.Pointer(&size)), 0, t.family, t.class, 0)
		switch errno := syscall.Errno(r); errno {
		case 0:
			return data, nil
		case windows.ERROR_INSUFFICIENT_BUFFER: // size is now what it needed
			size += 4 << 10
		default:
			return nil, errno
		}
	}
}

// parse returns the sockets of this process, whose id is pid. An owner of 0 is
// not known; held says which addresses this process has then.
func (t table) parse(data []byte, pid uint32, held func() []netip.AddrPort) (sockets []OwnSocket) {
	if len(data) < 4 {
		return nil
	}
	rows := data[4:]
	for range binary.LittleEndian.Uint32(data) {
		if len(rows) < t.rowSize {
			break
		}
		row := rows[:t.rowSize]
		rows = rows[t.rowSize:]
		owner := binary.LittleEndian.Uint32(row[t.id:])
		if owner != pid && owner != 0 {
			continue
		}
		size := 4
		if t.family == windows.AF_INET6 {
			size = 16
		}
		addr, _ := netip.AddrFromSlice(row[t.addr : t.addr+size])
		s := OwnSocket{Network: t.network, FD: -1, Info: sockctl.Info{
			Type:      sockctl.Datagram,
			Local:     netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(row[t.port:])),
			Listening: t.network == "tcp",
		}}
		if s.Info.Listening {
			s.Info.Type = sockctl.Stream
		}
		if owner == pid || slices.Contains(held(), s.Info.Local) {
			sockets = append(sockets, s)
		}
	}
	return sockets
}

// heldAddrs returns the addresses that the sockets of this process are bound to.
// It tries every handle, and serves where the tables have no owner, as with Wine.
func heldAddrs() (addrs []netip.AddrPort) {
	const last, step = 1 << 16, 4
	for h := windows.Handle(step); h < last; h += step {
		if kind, err := windows.GetFileType(h); err != nil || kind != windows.FILE_TYPE_PIPE { // which sockets are said to be
			continue
		}
		switch sa, _ := windows.Getsockname(h); sa := sa.(type) { // nil with an error
		case *windows.SockaddrInet4:
			addrs = append(addrs, netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)))
		case *windows.SockaddrInet6:
			addrs = append(addrs, netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port)))
		}
	}
	return addrs
}
