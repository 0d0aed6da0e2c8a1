package loopback_test

import (
	"testing"

	"example.com/loopback/loopbacktest"
)

func TestMain(m *testing.M) { loopbacktest.VerifyTestMain(m) }
