package socktab

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// processesOf returns the processes that have each of the sockets, by inode.
// Those of other users are seen by a privileged process alone.
func processesOf(sockets []Socket) map[uint32][]Process {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1) // what was read before an error counts
	holders := make(map[uint32][]Process)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		for inode := range socketsOf(name) {
			if slices.ContainsFunc(sockets, func(s Socket) bool { return s.Inode == inode }) {
				holders[inode] = append(holders[inode], Process{PID: pid, Name: commandName(name), Image: image(name)})
			}
		}
	}
	for _, processes := range holders {
		slices.SortFunc(processes, func(a, b Process) int { return a.PID - b.PID })
	}
	return holders
}

// socketsOf returns the inodes of the sockets that a process has open.
func socketsOf(pid string) map[uint32]bool {
	dir, err := os.Open("/proc/" + pid + "/fd")
	if err != nil {
		return nil
	}
	defer dir.Close()
	fds, _ := dir.Readdirnames(-1)
	inodes := make(map[uint32]bool)
	for _, fd := range fds {
		target, _ := os.Readlink("/proc/" + pid + "/fd/" + fd)
		if text, ok := strings.CutPrefix(target, "socket:["); ok {
			if inode, err := strconv.ParseUint(strings.TrimSuffix(text, "]"), 10, 32); err == nil {
				inodes[uint32(inode)] = true
			}
		}
	}
	return inodes
}

// commandName returns the name of a process, as ps shows it: with a question mark
// for what does not print. A process may give itself any name.
func commandName(pid string) string {
	b, _ := os.ReadFile("/proc/" + pid + "/comm")
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, string(bytes.TrimSuffix(b, []byte("\n"))))
}

// image returns Process.Image: the auxiliary vector, in which addresses are that
// the kernel chooses at random when a program is executed, and a fork leaves as
// they are. getauxval(3), proc_pid_auxv(5).
func image(pid string) string {
	b, _ := os.ReadFile("/proc/" + pid + "/auxv")
	return string(b)
}

// overflowUID stands for every user who has no id in the user namespace:
// user_namespaces(7).
const overflowUID = 65534

// named reports whether uid is certainly a user of this user namespace. The
// overflow id is only where the namespace has every id: in any other it may be
// anyone.
func named(uid uint32) bool { return namedBy("/proc/self/uid_map", uid) }

func namedBy(uidMap string, uid uint32) bool {
	if uid != overflowUID {
		return true
	}
	f, err := os.Open(uidMap)
	if err != nil {
		return false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var inside, outside, count uint64
		if _, err := fmt.Sscan(lines.Text(), &inside, &outside, &count); err == nil &&
			inside == 0 && outside == 0 && count >= 1<<32-1 {
			return true
		}
	}
	return false
}
