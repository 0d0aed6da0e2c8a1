package hosttext_test

import (
	"encoding/binary"
	"math/big"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/loopback/internal/hosttext"
)

var (
	octal   = regexp.MustCompile(`^0[0-7]*$`)
	hex     = regexp.MustCompile(`^0[xX][0-9a-fA-F]*$`)
	decimal = regexp.MustCompile(`^[0-9]+$`)
	plain   = regexp.MustCompile(`^[1-9][0-9]*$`)
)

// slowLegacy4 is Legacy4 with numbers of any size.
func slowLegacy4(s string, d hosttext.Dialect) (addr netip.Addr, ok bool) {
	parts := strings.Split(s, ".")
	sum := new(big.Int)
	for i, part := range parts {
		n, base := new(big.Int), 10
		switch {
		case d == hosttext.Decimal && decimal.MatchString(part), plain.MatchString(part):
		case d == hosttext.Decimal:
			return addr, false
		case hex.MatchString(part):
			part, base = "0"+part[2:], 16
		case octal.MatchString(part):
			base = 8
		default:
			return addr, false
		}
		n.SetString(part, base)
		bits := uint(8)
		if i == len(parts)-1 {
			bits = uint(8 * (4 - i))
		}
		if i > 3 || n.BitLen() > int(bits) {
			return addr, false
		}
		sum.Add(sum.Lsh(sum, bits), n)
	}
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(sum.Uint64()))
	return netip.AddrFrom4(b), true
}

func checkLegacy4(t *testing.T, s string) {
	t.Helper()
	for _, d := range []hosttext.Dialect{hosttext.Common, hosttext.Decimal} {
		want, wantOK := slowLegacy4(s, d)
		got, ok := hosttext.Legacy4(s, d)
		assert.Equal(t, wantOK, ok, "%q in dialect %d", s, d)
		assert.Equal(t, want, got, "%q in dialect %d", s, d)
	}
}

func TestLegacy4ReadsNumbersOfAnyBase(t *testing.T) {
	numbers := []string{"", "0", "00", "1", "8", "08", "010", "127", "0127", "0177", "0x7f", "0X7F", "0x", "0xg", "255", "256", "0377", "0400", "0xff", "0x100",
		"65535", "65536", "16777215", "16777216", "2130706433", "4294967295", "4294967296", "0xffffffff", "0x100000000", "037777777777", "040000000000",
		"99999999999999999999999999", "0x0000000000000000000000007f", "+1", "1a", "a"}
	for _, a := range numbers {
		checkLegacy4(t, a)
		for _, b := range numbers {
			checkLegacy4(t, a+"."+b)
			checkLegacy4(t, a+".0."+b)
			checkLegacy4(t, "127.0."+a+"."+b)
			checkLegacy4(t, "127.0.0."+a+"."+b)
		}
	}
}

func FuzzLegacy4(f *testing.F) {
	for _, s := range []string{"127.1", "0x7f.0.0.1", "0177.1", "2130706433", "127.0.0.1.0", "08"} {
		f.Add(s)
	}
	f.Fuzz(checkLegacy4)
}
