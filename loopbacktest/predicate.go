package loopbacktest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/loopback"
)

// TestIs tests a predicate of addresses. It has to be true for loopback addresses
// and false for all others, as [loopback.Is] is. The loopback addresses are
// 127.0.0.0/8 and ::1, with or without a zone, and 127.0.0.0/8 as IPv4-mapped
// IPv6 addresses.
func TestIs(is func(netip.Addr) bool) error {
	if is == nil {
		return errors.New("loopbacktest: TestIs: the function is nil")
	}
	var s suite
	s.each(slices.Values(addrInputs), func(in input) bool {
		addr, _ := netip.ParseAddr(in.text) // the zero Addr for ""
		in.text = addr.String()
		return s.compare(in, loopback.Is(addr), func() bool { return is(addr) })
	})
	for _, kind := range addrKinds {
		s.eachOfMany(kind, 3, func(in input) bool {
			addr := netip.MustParseAddr(in.text)
			return s.compare(in, loopback.Is(addr), func() bool { return is(addr) })
		})
	}
	return s.failed.err()
}

// TestIsHost tests a predicate of hosts, which are the host parts of URLs or of
// host:port, without brackets. It has to be true for loopback addresses and
// localhost names and false for all others, as [loopback.IsHost] is.
func TestIsHost(isHost func(string) bool) error {
	if isHost == nil {
		return errors.New("loopbacktest: TestIsHost: the function is nil")
	}
	var s suite
	compare := func(in input) bool {
		return s.compare(in, loopback.IsHost(in.text), func() bool { return isHost(in.text) })
	}
	s.each(slices.Values(slices.Concat(hostInputs, addrInputs)), compare)
	for _, kind := range append(addrKinds, ownName) {
		s.eachOfMany(kind, 3, compare)
	}
	for _, c := range moreCharacters {
		s.eachOfMany(alteredHosts(c), 1, compare)
	}
	return s.failed.err()
}

// An input is a text and the reason for its answer.
type input struct{ text, why string }

// A suite collects what a predicate gets wrong.
type suite struct {
	failed failures
	spent  time.Duration
	ended  bool // the predicate hangs, or has taken all the time
	most   int  // failures of a kind of inputs, 0 for all
	alike  int  // failures of the kind
}

// each compares the answers to inputs, until compare returns false.
func (s *suite) each(inputs iter.Seq[input], compare func(in input) bool) {
	for in := range inputs {
		if s.ended || !compare(in) {
			return
		}
	}
}

// eachOfMany is each for a kind of inputs, which stops after so many failures.
func (s *suite) eachOfMany(inputs iter.Seq[input], most int, compare func(in input) bool) {
	s.most, s.alike = most, 0
	s.each(inputs, compare)
}

// compare compares an answer, and reports whether to go on.
func (s *suite) compare(in input, want bool, f func() bool) bool {
	start := time.Now()
	v := ask(callTime, f)
	s.spent += time.Since(start)
	if v.problem != "" || v.answer != want {
		got := v.problem
		if got == "" {
			got = strconv.FormatBool(v.answer)
		}
		s.failed = append(s.failed, &Failure{Input: in.text, Got: got, Want: strconv.FormatBool(want), Why: in.why})
		s.alike++
	}
	if s.ended = v.hung; !s.ended && s.spent > suiteTime {
		s.failed = append(s.failed, tooSlow)
		s.ended = true
	}
	return s.most == 0 || s.alike < s.most
}

var addrInputs = []input{
	{"127.0.0.1", "the loopback address everyone knows"},
	{"::1", "RFC 4291, section 2.5.3"},
	{"127.0.0.0", "all of 127.0.0.0/8 is loopback: RFC 1122, section 3.2.1.3"},
	{"127.0.0.2", "all of 127.0.0.0/8 is loopback: RFC 1122, section 3.2.1.3"},
	{"127.0.0.53", "systemd-resolved listens there"},
	{"127.0.1.1", "Debian gives it to the name of the machine"},
	{"127.1.2.3", "all of 127.0.0.0/8 is loopback: RFC 1122, section 3.2.1.3"},
	{"127.255.255.254", "all of 127.0.0.0/8 is loopback: RFC 1122, section 3.2.1.3"},
	{"127.255.255.255", "all of 127.0.0.0/8 is loopback: RFC 1122, section 3.2.1.3"},
	{"::ffff:127.0.0.1", "a socket of both families reports its IPv4 clients so"},
	{"::ffff:127.0.0.53", "a socket of both families reports its IPv4 clients so"},
	{"::ffff:127.255.255.255", "a socket of both families reports its IPv4 clients so"},
	{"::1%lo", "a zone does not change what the address is"},
	{"::1%eth0", "a zone does not change what the address is"},
	{"::ffff:127.0.0.1%lo", "a zone does not change what the address is"},

	{"", "the zero Addr is no address"},
	{"0.0.0.0", "it is unspecified: as the address of a listener it is every interface"},
	{"::", "it is unspecified: as the address of a listener it is every interface"},
	{"::ffff:0.0.0.0", "it is unspecified: as the address of a listener it is every interface"},
	{"126.255.255.255", "the last address before 127.0.0.0/8"},
	{"128.0.0.0", "the first address after 127.0.0.0/8"},
	{"::ffff:126.255.255.255", "the last address before the mapped 127.0.0.0/8"},
	{"::ffff:128.0.0.0", "the first address after the mapped 127.0.0.0/8"},
	{"1.0.0.127", "127.0.0.1 in the wrong byte order"},
	{"12.7.0.0", "it has the digits of 127, and another value"},
	{"10.127.0.1", "127 is not the first byte"},
	{"10.0.0.1", "private addresses are of a network: RFC 1918"},
	{"172.16.0.1", "private addresses are of a network: RFC 1918"},
	{"192.168.0.1", "private addresses are of a network: RFC 1918"},
	{"100.64.0.1", "shared addresses are of a network: RFC 6598"},
	{"169.254.0.1", "link-local addresses are of a network: RFC 3927"},
	{"169.254.169.254", "metadata services of clouds are there"},
	{"192.0.0.8", "not of this machine: RFC 7600"},
	{"192.0.2.1", "a documentation address: RFC 5737"},
	{"198.18.0.1", "benchmarking addresses are of a network: RFC 2544"},
	{"0.0.0.1", "its number is that of ::1, and it is IPv4"},
	{"8.8.8.8", "a public address"},
	{"224.0.0.1", "multicast reaches the network"},
	{"255.255.255.255", "broadcast reaches the network"},
	{"::2", "::1/128 is one address"},
	{"::1:1", "::1/128 is one address"},
	{"1::", "::1 in the wrong order"},
	{"100::1", "the discard prefix: RFC 6666"},
	{"fe80::1", "a link-local address, also that of the loopback interface of macOS"},
	{"fe80::1%lo0", "a link-local address, also that of the loopback interface of macOS"},
	{"fc00::1", "unique local addresses are of a network: RFC 4193"},
	{"fd00::127.0.0.1", "unique local addresses are of a network: RFC 4193"},
	{"ff01::1", "multicast, though of one interface"},
	{"ff02::1", "multicast reaches the network"},
	{"2001:db8::1", "a documentation address: RFC 3849"},
	{"3fff::1", "a documentation address: RFC 9637"},
	{"fec0::1", "site-local addresses were of a network: RFC 3879"},
	{"7f00::1", "its first byte is 127, and it is IPv6"},
	{"7f00:1::", "its first four bytes are those of 127.0.0.1, and it is IPv6"},
	{"::127.0.0.1", "an IPv4-compatible address goes to the network: RFC 4291, section 2.5.5.1"},
	{"::ffff:0:127.0.0.1", "an IPv4-translated address goes to the network: RFC 2765"},
	{"64:ff9b::127.0.0.1", "NAT64 addresses go to the network: RFC 6052"},
	{"64:ff9b:1::127.0.0.1", "NAT64 addresses go to the network: RFC 8215"},
	{"2002:7f00:1::", "6to4 addresses go to the network: RFC 3056"},
	{"2001:0:7f00:1::", "Teredo addresses go to the network: RFC 4380"},
	{"fe80::5efe:127.0.0.1", "ISATAP addresses go to the network: RFC 5214"},
	{"::fffe:127.0.0.1", "not the prefix of mapped addresses"},
	{"1::ffff:127.0.0.1", "not the prefix of mapped addresses"},
}

// addrKinds are addresses that TestIs makes, a kind at a time.
var addrKinds = []iter.Seq[input]{nearAddrs, randomAddrs, blockAddrs, alteredAddrs, ownAddrs}

// nearAddrs yields addresses that differ from loopback ones in one bit.
func nearAddrs(yield func(input) bool) {
	for _, base := range []netip.Addr{loopback.IPv4(), loopback.IPv6(), mapped(loopback.IPv4())} {
		for bit := range base.BitLen() {
			b := base.AsSlice()
			b[bit/8] ^= 0x80 >> (bit % 8)
			if addr, ok := netip.AddrFromSlice(b); ok && !yield(input{addr.String(), "one bit differs from " + base.String()}) {
				return
			}
		}
	}
}

// randomAddrs yields addresses of 127.0.0.0/8, also as mapped ones, and others.
// They are the same ones each time.
func randomAddrs(yield func(input) bool) {
	r := rand.New(rand.NewPCG(127, 1))
	for range 200 {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], 127<<24|r.Uint32()>>8)
		addr := netip.AddrFrom4(b)
		binary.BigEndian.PutUint32(b[:], r.Uint32())
		for _, addr := range []netip.Addr{addr, mapped(addr), netip.AddrFrom4(b)} {
			if !yield(input{addr.String(), "one of many similar ones"}) {
				return
			}
		}
	}
}

// blockAddrs yields an address of each block of 2^24 IPv4 addresses, also as a
// mapped one.
func blockAddrs(yield func(input) bool) {
	for first := range 256 {
		addr := netip.AddrFrom4([4]byte{byte(first), 0, 0, 1})
		why := fmt.Sprintf("127.0.0.0/8 is loopback, %d.0.0.0/8 is not", first)
		if first == 127 {
			why = "all of 127.0.0.0/8 is loopback: RFC 1122, section 3.2.1.3"
		}
		if !yield(input{addr.String(), why}) || !yield(input{mapped(addr).String(), why}) {
			return
		}
	}
}

// alteredAddrs yields the addresses of the table as mapped ones, or with the zone
// of a loopback interface.
func alteredAddrs(yield func(input) bool) {
	for _, in := range addrInputs {
		addr, err := netip.ParseAddr(in.text)
		switch {
		case err != nil || addr.Zone() != "":
			continue
		case addr.Is4():
			in.text = mapped(addr).String()
		default:
			in.text = addr.WithZone("lo").String()
		}
		if !yield(in) {
			return
		}
	}
}

// ownAddrs yields the addresses of this machine that are not loopback.
func ownAddrs(yield func(input) bool) {
	for _, addr := range otherAddrs() {
		if !yield(input{addr.String(), "an address of this machine that other machines reach"}) {
			return
		}
	}
}

// mapped returns an IPv4 address as an IPv6 one.
func mapped(addr netip.Addr) netip.Addr { return netip.AddrFrom16(addr.As16()) }

// ownName yields the name of this machine.
func ownName(yield func(input) bool) {
	if name, err := os.Hostname(); err == nil {
		yield(input{name, "the name of this machine is asked of DNS"})
	}
}

// moreCharacters are put into hosts. The hyphen and the underscore are not among
// them: a rule for labels may forbid them.
const moreCharacters = "\x00\t\n\r\x1b !\"#$%&'()*+,./:;<=>?@[\\]^`{|}~\x7f019aAzZ" +
	"\u00a0\u00ad\u00e9\u017f\u200b\u202e\u2024\u212a\u3002\ufeff\uff0e\uff11\uff61\ufffd"

// alteredHosts returns hosts that are loopback but for the character, which they
// have somewhere.
func alteredHosts(c rune) iter.Seq[input] {
	return func(yield func(input) bool) {
		for _, host := range []string{"localhost", "app.localhost", "127.0.0.1", "::1"} {
			for at := range len(host) + 1 {
				text := host[:at] + string(c) + host[at:]
				if !loopback.IsHost(text) && !yield(input{text, "one character more than " + host}) {
					return
				}
			}
		}
	}
}

// hostInputs are the hosts of TestIsHost, beside the addresses of TestIs.
var hostInputs = []input{
	{"localhost", "RFC 6761, section 6.3"},
	{"LOCALHOST", "names are compared without regard to case: RFC 4343"},
	{"LocalHost", "names are compared without regard to case: RFC 4343"},
	{"localhost.", "a final dot makes a name absolute"},
	{"LOCALHOST.", "names are compared without regard to case: RFC 4343"},
	{"app.localhost", "names below localhost are loopback: RFC 6761, section 6.3"},
	{"App.LocalHost", "names below localhost are loopback: RFC 6761, section 6.3"},
	{"app.localhost.", "names below localhost are loopback: RFC 6761, section 6.3"},
	{"a.b.c.localhost", "names below localhost are loopback: RFC 6761, section 6.3"},
	{"localhost.localhost", "names below localhost are loopback: RFC 6761, section 6.3"},
	{"127.0.0.1.localhost", "a name below localhost"},
	{"my-app.localhost", "a hyphen is of a label"},
	{"xn--bcher-kva.localhost", "names of other scripts are ASCII in DNS: RFC 5890"},
	{"8080.localhost", "a label may be a number"},
	{"0:0:0:0:0:0:0:1", "::1, written out"},
	{"0000:0000:0000:0000:0000:0000:0000:0001", "::1, written out"},
	{"::0001", "::1, with zeros"},
	{"0::1", "::1, with zeros"},
	{"::FFFF:127.0.0.1", "a mapped address in capitals"},
	{"::ffff:7f00:1", "a mapped address in hexadecimal, as browsers write it"},
	{"::FFFF:7F00:0001", "a mapped address in hexadecimal, as browsers write it"},
	{"0:0:0:0:0:ffff:127.0.0.1", "a mapped address, written out"},

	{".", "the root is no host"},
	{".localhost", "its first label is empty"},
	{"..localhost", "its first label is empty"},
	{"a..localhost", "one of its labels is empty"},
	{"localhost..", "one final dot is the most"},
	{"app.localhost..", "one final dot is the most"},
	{"evillocalhost", "it ends in localhost, and is another name"},
	{"evil-localhost", "it ends in localhost, and is another name"},
	{"notlocalhost.", "it ends in localhost, and is another name"},
	{"localhost.evil.example", "it begins with localhost, and is another name"},
	{"app.localhost.evil.example", "localhost is not its last label"},
	{"app.localhosts", "localhost is not its last label"},
	{"localhost.localhost.localdomain", "localhost is not its last label"},
	{"localhost.com", "it begins with localhost, and is another name"},
	{"localhosts", "it begins with localhost, and is another name"},
	{"localhost-evil", "it begins with localhost, and is another name"},
	{"localhos", "it is another name"},
	{"local", "it is another name"},
	{"localhost.localdomain", "it is asked of DNS where the hosts file has it not"},
	{"localhost4", "it is asked of DNS where the hosts file has it not"},
	{"localhost6", "it is asked of DNS where the hosts file has it not"},
	{"ip6-localhost", "it is asked of DNS where the hosts file has it not"},
	{"ip6-loopback", "it is asked of DNS where the hosts file has it not"},
	{"loopback", "it is asked of DNS"},
	{"localhost.local", "a name of multicast DNS, which any machine can claim"},
	{"127.0.0.1.evil.example", "a name that begins with an address"},
	{"127.evil.example", "a name that begins with 127"},
	{"127.0.0.1.nip.io", "a public name"},
	{"evil.example", "a public name"},
	{"127.", "not an address"},
	{"127", "resolvers may make 0.0.0.127 of it, others a name"},
	{"127.1", "an old spelling that net/netip refuses: readers differ"},
	{"127.0.1", "an old spelling that net/netip refuses: readers differ"},
	{"2130706433", "an old spelling that net/netip refuses: readers differ"},
	{"0x7f000001", "an old spelling that net/netip refuses: readers differ"},
	{"0x7f.0.0.1", "an old spelling that net/netip refuses: readers differ"},
	{"0x7f.1", "an old spelling that net/netip refuses: readers differ"},
	{"0177.0.0.1", "an old spelling that net/netip refuses: readers differ"},
	{"127.0.0.01", "zeros in front are octal to some readers"},
	{"127.000.000.001", "zeros in front are octal to some readers"},
	{"127.0.0.256", "no byte is greater than 255"},
	{"127.0.0.1.1", "not an address"},
	{"127.0.0", "not an address"},
	{"127.0.0.1.", "some readers drop the dot, others look it up"},
	{"127.0.0.1%lo", "an IPv4 address has no zone"},
	{"::1%", "the zone is empty"},
	{":::1", "not an address"},
	{"::1::", "not an address"},
	{"1", "resolvers may make 0.0.0.1 of it, others a name"},
	{"0", "resolvers may make 0.0.0.0 of it, others a name"},
	{"[::1]", "the brackets are of the URL, not of the host"},
	{"[localhost]", "the brackets are of the URL, not of the host"},
	{"[127.0.0.1]", "the brackets are of the URL, not of the host"},
	{"[::1", "a bracket is left over"},
	{"::1]", "a bracket is left over"},
	{"127.0.0.1:80", "a port is not of the host"},
	{"localhost:80", "a port is not of the host"},
	{"[::1]:80", "a port is not of the host"},
	{"::1:80", "it is an IPv6 address, and another one"},
	{":80", "a port without a host"},
	{"http://localhost", "a URL is not a host"},
	{"//localhost", "a URL is not a host"},
	{"localhost/", "a path is not of the host"},
	{"user@localhost", "a user is not of the host"},
	{"127.0.0.1/8", "a prefix is not a host"},
	{"::1/128", "a prefix is not a host"},
	{"*.localhost", "a pattern is not a host"},
	{"localhost,evil.example", "a list is not a host"},
	{" localhost", "white space is not of a host"},
	{"localhost ", "white space is not of a host"},
	{"localhost\n", "white space is not of a host"},
	{"127.0.0.1 ", "white space is not of a host"},
	{"\t127.0.0.1", "white space is not of a host"},
	{"localhost\x00", "a NUL is not of a host"},
	{"localhost\x00.evil.example", "a NUL is not of a host"},
	{"loc%61lhost", "an escape is not of a host"},
	{"localho\u017ft", "a long s: net/http maps it, names have ASCII alone"},
	{"\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54", "full-width letters: net/http maps them, names have ASCII alone"},
	{"127\u30020\u30020\u30021", "ideographic full stops: net/http maps them"},
	{"\uff11\uff12\uff17.0.0.1", "full-width digits: net/http maps them"},
	{"LOCALHO\u212aST", "a Kelvin sign is no letter of a name"},
	{"\u0661\u0662\u0667.\u0660.\u0660.\u0661", "digits of another script"},
	{`"localhost"`, "quotes are not of a host"},
	{"\xff.localhost", "not UTF-8, and no label of a name"},
	{"a b.localhost", "a space is not of a label"},
	{"a/b.localhost", "a slash is not of a label"},
	{strings.Repeat("a", 63) + ".localhost", "63 bytes are the most of a label: RFC 1035, section 2.3.4"},
	{strings.Repeat("a", 64) + ".localhost", "63 bytes are the most of a label: RFC 1035, section 2.3.4"},
	{strings.Repeat("a.", 122) + "localhost", "253 bytes are the most of a name: RFC 1035, section 2.3.4"},
	{strings.Repeat("a.", 123) + "localhost", "253 bytes are the most of a name: RFC 1035, section 2.3.4"},
	{strings.Repeat("localhost", 1000), "a long text"},
}
