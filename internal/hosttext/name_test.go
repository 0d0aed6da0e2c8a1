package hosttext_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/loopback/internal/hosttext"
)

var label = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$`)

func slowValidName(name string) bool {
	name = strings.TrimSuffix(name, ".")
	for l := range strings.SplitSeq(name, ".") {
		if !label.MatchString(l) {
			return false
		}
	}
	return len(name) <= 253
}

func checkName(t *testing.T, name string) {
	t.Helper()
	valid := slowValidName(name)
	below := strings.ToLower(strings.TrimSuffix(name, "."))
	local := valid && (below == "localhost" || strings.HasSuffix(below, ".localhost"))
	assert.Equal(t, valid, hosttext.ValidName(name), "ValidName(%q)", name)
	assert.Equal(t, local, hosttext.IsLocalhost(name), "IsLocalhost(%q)", name)
	if local {
		assert.True(t, hosttext.EndsLikeLocalhost(name), "EndsLikeLocalhost(%q)", name)
	}
}

var names = []string{
	"", ".", "..", "localhost", "LOCALHOST.", "localhost..", ".localhost", "a.localhost", "a..localhost", "-a.localhost", "a-.localhost", "a-b.localhost",
	"mylocalhost", "localhosT", "localhost-", "-", "a-", "-a", "a", "_", "a_b", "a.b-", "a.-b", "localho\u017ft", "\xccocalhost", "localhost\x00", "a b", "*.localhost",
	strings.Repeat("a", 62), strings.Repeat("a", 63), strings.Repeat("a", 64), strings.Repeat("a", 63) + ".localhost", strings.Repeat("a", 64) + ".localhost",
	strings.Repeat("a.", 122) + "localhost", strings.Repeat("a.", 122) + "localhost.", "a" + strings.Repeat("a.", 122) + "localhost", strings.Repeat("a.", 126) + "a",
	strings.Repeat("a.", 126) + "aa", strings.Repeat("a.", 126) + "a.",
}

func TestNamesAreThoseOfPackageNet(t *testing.T) {
	for _, name := range names {
		checkName(t, name)
	}
	for c := range 256 {
		b := string([]byte{byte(c)})
		for _, name := range []string{b, "a" + b, b + "a", "a" + b + "a", b + "localhost", b + ".localhost", "localhost" + b, "a" + b + ".localhost"} {
			checkName(t, name)
		}
		for i := range "localhost" {
			checkName(t, "localhost"[:i]+b+"localhost"[i+1:])
		}
	}
}

func FuzzName(f *testing.F) {
	for _, name := range names {
		f.Add(name)
	}
	f.Fuzz(checkName)
}
