package loopback

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"example.com/loopback/internal/hostsfile"
	"example.com/loopback/internal/netif"
	"example.com/loopback/internal/page"
	"example.com/loopback/internal/sockctl"
	"example.com/loopback/internal/syserr"
)

// judge sets the findings and the verdict.
func (res *Resolution) judge(ctx context.Context, hosts *hostsfile.File, l lookups) {
	var (
		foreign, unknown, unreachable []Answer // not loopback; from the resolver; bound, but not connected to
		unbound                       [2][]Answer
		has                           [2]bool // the name has an address of this family, IPv4 and IPv6
		loopback, usable              bool    // one of the answers is
	)
	for _, a := range res.Answers {
		fam := family(a.Addr)
		has[fam] = true
		loopback = loopback || Is(a.Addr)
		usable = usable || a.Connect.OK()
		if a.Source == "resolver" {
			unknown = append(unknown, a)
		}
		switch {
		case !Is(a.Addr):
			foreign = append(foreign, a)
		case a.Bind.Err != nil:
			unbound[fam] = append(unbound[fam], a)
		case a.Connect.Err != nil:
			unreachable = append(unreachable, a)
		}
	}
	name, failure := res.Name, l.failed()
	inHosts := hosts.Has(l.reader())
	down := loopbackDown()
	have := [2]bool{sockctl.HasAddr(ctx, IPv4()) == nil, sockctl.HasAddr(ctx, IPv6()) == nil}
	want := have // the families that the name should have
	if down != "" || have == [2]bool{} {
		want = [2]bool{true, true}
	}

	if len(foreign) > 0 {
		is := "is " + addrsOf(foreign) + ", not loopback"
		if addrsOf(foreign) == name {
			is = "is not loopback"
		}
		res.find(VerdictNotLoopback, LevelError, sourcesOf(foreign), res.fixForeign(foreign, hosts, want),
			"%s %s%s", name, is, res.consequence())
	}
	if IsName(name) && len(unknown) > 0 && (!inHosts || l.answerer != "" || slices.ContainsFunc(unknown, func(a Answer) bool { return !Is(a.Addr) })) {
		res.fromDNS(len(foreign) == 0, hosts, want, l)
	}
	switch {
	case failure != nil:
		res.find(VerdictLookupFailed, LevelWarn, "resolver", fixHosts(hosts, name, want), "the lookup failed: %v", failure)
	case len(res.Answers) == 0:
		res.find(VerdictMissing, LevelWarn, "resolver", fixHosts(hosts, name, want), "%s has no address here", name)
	}
	if len(unreachable) > 0 {
		level, fix := LevelWarn, "let the firewall pass what goes through the loopback interface"
		if !usable {
			level = LevelError
		}
		switch {
		case unreachable[0].Addr == broadcast4:
			fix = res.fixForeign(unreachable[:1], hosts, want)
		case syserr.Exhausted(unreachable[0].Connect.Err):
			fix = fixExhausted
		}
		if down != "" {
			fix = fixDown(down)
		}
		res.find(VerdictUnreachable, level, sourcesOf(unreachable), fix, "%s can be bound but not connected to: %v%s",
			addrsOf(unreachable), unreachable[0].Connect, whyDown(down))
	}
	for fam, verdict := range []Verdict{VerdictNoIPv4, VerdictNoIPv6} {
		failed := unbound[fam]
		if len(failed) == 0 {
			continue
		}
		level := LevelWarn
		_, fix := whyAbsent(failed[0].Addr, failed[0].Bind.Err, loopInterface())
		if !syserr.Exhausted(failed[0].Bind.Err) && strings.HasPrefix(failed[0].Source, "hosts:") {
			fix = orUnclaim(fix, failed[0].Addr)
		}
		if !usable && len(unreachable) == 0 {
			level = LevelError
		}
		if down != "" {
			fix = fixDown(down)
		}
		res.find(verdict, level, sourcesOf(failed), fix, "%s cannot be bound: %v%s", addrsOf(failed), failed[0].Bind, whyDown(down))
	}
	if !isAddress(name) && loopback && failure == nil && has[0] != has[1] && have[0] && have[1] {
		// A name that the hosts file has is asked of no server: both belong there.
		if has[0] {
			res.find(VerdictIPv4Only, LevelWarn, sourcesOf(res.Answers), fixOneFamily(hosts, name, [2]bool{len(unknown) > 0, true}),
				"%s has no IPv6 address, but this machine has ::1", name)
		} else {
			res.find(VerdictIPv6Only, LevelWarn, sourcesOf(res.Answers), fixOneFamily(hosts, name, [2]bool{true, len(unknown) > 0}),
				"%s has no IPv4 address, but this machine has 127.0.0.1", name)
		}
	}
	res.Verdict = VerdictOK
	if len(res.Findings) > 0 {
		res.Verdict = res.Findings[0].Verdict
	}
	res.remarkHosts(hosts)
}

func (res *Resolution) find(verdict Verdict, level Level, evidence, fix, format string, args ...any) {
	res.Findings = append(res.Findings, Finding{verdict, level, fmt.Sprintf(format, args...), evidence, fix})
}

// fromDNS finds that answers for a localhost name did not come from the hosts
// file, unless it is known that the system made them up itself.
func (res *Resolution) fromDNS(allLoopback bool, hosts *hostsfile.File, want [2]bool, l lookups) {
	level, whence := LevelError, "a DNS server"
	switch local := hostsfile.LocalResolver(); {
	case l.server != "" || l.answerer != "":
		whence = "the DNS server " + cmp.Or(l.answerer, l.server)
	case local == "" || !allLoopback:
	case runtime.GOOS == "windows":
		return
	default:
		level, whence = LevelInfo, local+", or else from a DNS server"
	}
	res.find(VerdictFromDNS, level, "resolver", fixHosts(hosts, res.Name, want), "%s comes from %s, not from the hosts file", res.Name, whence)
}

// consequence says what the worst of net.Listen is, if it is not loopback.
func (res *Resolution) consequence() string {
	switch {
	case !res.Listen.IsValid() || Is(res.Listen):
		return ""
	case res.Listen.IsUnspecified():
		return "; net.Listen binds every interface"
	}
	return "; net.Listen binds " + res.Listen.String() + ", which others can reach"
}

// remarkHosts finds what is wrong with the hosts file, as far as it concerns
// the name.
func (res *Resolution) remarkHosts(hosts *hostsfile.File) {
	if hosts.Err != nil {
		res.find(VerdictHostsFile, LevelWarn, hosts.Path, "make it a file that everybody can read", "the hosts file cannot be read: %v", hosts.Err)
	}
	if hosts.TooBig {
		res.find(VerdictHostsFile, LevelWarn, hosts.Path, fixTooBig, "only the first %d MiB of the hosts file were read", hostsfile.MaxSize>>20)
	}
	for i, e := range hosts.Entries {
		same := func(o hostsfile.Entry) bool { return o.Problem == e.Problem }
		if e.Problem.Why == "" || slices.ContainsFunc(hosts.Entries[:i], same) {
			continue
		}
		var lines, evidence []string
		for _, e := range hosts.Entries[i:] {
			if same(e) {
				lines = append(lines, strconv.Itoa(e.Line))
				evidence = append(evidence, e.Source())
			}
		}
		res.find(VerdictHostsFile, LevelWarn, page.List(evidence, ", ", strings.Clone), e.Problem.Fix,
			"%s is not found in %s of %s: %s", res.Name, lineList(lines), hosts.Path, e.Problem.Why)
	}
}

// fixForeign returns how to get rid of answers, and what to have instead.
func (res *Resolution) fixForeign(answers []Answer, hosts *hostsfile.File, want [2]bool) string {
	var lines []string
	for _, e := range hosts.Entries {
		same := func(a Answer) bool {
			return a.Source == e.Source() || a.Addr == e.Addr && strings.HasPrefix(a.Source, "hosts:")
		}
		if e.ReadBy(hostsfile.ByLibc) && slices.ContainsFunc(answers, same) {
			lines = append(lines, strconv.Itoa(e.Line))
		}
	}
	if len(lines) == 0 {
		return fixHosts(hosts, res.Name, want)
	}
	fix := fmt.Sprintf("take %s out of %s of %s", res.Name, lineList(lines), hosts.Path)
	if put := putHosts(hosts, res.Name, want); put != "" {
		fix += "; " + put
	}
	return fix
}

// fixHosts returns how to give name its loopback addresses of the families that
// are wanted, IPv4 and IPv6.
func fixHosts(hosts *hostsfile.File, name string, want [2]bool) string {
	if isAddress(name) { // nobody looks it up
		return "use 127.0.0.1 or ::1, if it is to be loopback"
	}
	if hosts.TooBig {
		return fixTooBig
	}
	put := putHosts(hosts, name, want)
	switch {
	case hostsfile.FilesFirst() || put != "" && !hostsfile.DNSFirst():
		return put
	case put != "":
		put = "; " + put
	}
	return "name files first in the hosts line of /etc/nsswitch.conf" + put
}

const fixTooBig = "make it smaller"

// fixOneFamily is fixHosts where another lookup of name succeeded.
func fixOneFamily(hosts *hostsfile.File, name string, want [2]bool) string {
	if putHosts(hosts, name, want) == "" && runtime.GOOS == "linux" && !hostsfile.DNSFirst() {
		return "put `multi on` into /etc/host.conf" // or the GNU C library reads one line of a name: host.conf(5)
	}
	return fixHosts(hosts, name, want)
}

// putHosts returns what to put into the hosts file, or how to have what is lost
// there behind a line that is too long; "" if all is there.
func putHosts(hosts *hostsfile.File, name string, want [2]bool) string {
	var lines []string
	mend := ""
	for fam, addr := range []netip.Addr{IPv4(), IPv6()} {
		if !want[fam] {
			continue
		}
		there := func(e hostsfile.Entry) bool { return e.ReadBy(hostsfile.ByLibc) && e.Addr == addr }
		if i := slices.IndexFunc(hosts.Entries, there); i < 0 {
			lines = append(lines, fmt.Sprintf("`%v %s`", addr, name))
		} else if mend == "" {
			mend = hosts.Entries[i].Problem.Fix
		}
	}
	if len(lines) == 0 {
		return mend
	}
	put := "put " + strings.Join(lines, " and ") + " into " + hosts.Path
	if mend != "" {
		put = mend + "; " + put
	}
	if !IsName(name) {
		put += ", if it is to be loopback"
	}
	return put
}

// lineList returns "line 1" or "lines 1, 2", with no more than a few of them.
func lineList(numbers []string) string {
	if len(numbers) == 1 {
		return "line " + numbers[0]
	}
	return "lines " + page.List(numbers, ", ", strings.Clone)
}

// isAddress reports whether name is an address to package net or, as 127.1 is,
// to a C library.
func isAddress(name string) bool {
	_, err := netip.ParseAddr(name)
	_, legacy := legacy4(name, common)
	return err == nil || legacy
}

// family returns 0 for an IPv4 address and 1 for an IPv6 address.
func family(addr netip.Addr) int {
	if addr.Is4() {
		return 0
	}
	return 1
}

// addrsOf returns the addresses of answers.
func addrsOf(answers []Answer) string {
	return eachOnce(answers, func(a Answer) string { return a.Addr.String() })
}

// sourcesOf returns the sources of answers, each once.
func sourcesOf(answers []Answer) string {
	return eachOnce(answers, func(a Answer) string { return a.Source })
}

// eachOnce returns what text says of answers, each text once.
func eachOnce(answers []Answer, text func(Answer) string) string {
	var texts []string
	for _, a := range answers {
		if t := text(a); !slices.Contains(texts, t) {
			texts = append(texts, t)
		}
	}
	return strings.Join(texts, ", ")
}

// loopbackDown returns the name of the loopback interface, if there is one and
// it is down; otherwise "".
func loopbackDown() string {
	if lo, err := netif.FindLoopback(); err == nil && !lo.Up {
		return lo.Name
	}
	return ""
}

func whyDown(name string) string {
	if name == "" {
		return ""
	}
	return "; the interface " + name + " is down"
}
