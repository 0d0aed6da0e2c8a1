package faulttest_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/loopback/internal/faulttest"
)

const child = "LOOPBACK_TEST_FAULTS"

func TestFaults(t *testing.T) {
	if os.Getenv(child) == "" { // a filter is for ever
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestFaults$", "-test.v")
		cmd.Env = append(os.Environ(), child+"=1")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		t.Logf("%s", out)
		return
	}
	unixSocket := faulttest.Call{Name: "socket AF_UNIX", Number: unix.SYS_SOCKET, Args: func(args [6]uint64) bool { return args[0] == unix.AF_UNIX }}
	in := faulttest.Start(t, unixSocket)
	var errs []error
	open := func() {
		errs = nil
		for _, family := range []int{unix.AF_UNIX, unix.AF_INET, unix.AF_UNIX, unix.AF_UNIX} {
			fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
			unix.Close(fd)
			errs = append(errs, err)
		}
	}
	failed := in.During(faulttest.Fault{Call: unixSocket, Errno: unix.ENFILE, First: 2, Last: 2}, open)
	assert.Equal(t, 1, failed)
	assert.Equal(t, []error{nil, nil, unix.ENFILE, nil}, errs)
	open()
	assert.Equal(t, []error{nil, nil, nil, nil}, errs)

	var faults []string
	n := in.Each(faulttest.Plan{Calls: []faulttest.Call{unixSocket}, Errnos: []unix.Errno{unix.ENOMEM, unix.EPERM}}, func(f faulttest.Fault, during func(func())) {
		during(open)
		for i, call := range []int{1, 0, 2, 3} { // of AF_UNIX
			if call != 0 && call >= f.First && (f.Last == 0 || call <= f.Last) {
				assert.Equal(t, f.Errno, errs[i], "%v", f)
			} else {
				assert.NoError(t, errs[i], "%v", f)
			}
		}
		faults = append(faults, f.String())
	})
	assert.Equal(t, 12, n)
	assert.Contains(t, faults, "socket AF_UNIX 2: EPERM")
	assert.Contains(t, faults, "socket AF_UNIX 3-: ENOMEM")
}
