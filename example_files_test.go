//go:build unix

package loopback_test

import (
	"fmt"
	"net"

	"example.com/loopback"
)

// A child process adopts the files as it would those of systemd. The program in
// examples/restart does so without refusing a connection.
func ExampleListener_Files() {
	ln, err := loopback.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	files, err := ln.Files() // for ExtraFiles of an exec.Cmd
	if err != nil {
		fmt.Println(err)
		return
	}
	var lns []net.Listener
	for _, f := range files {
		inherited, err := net.FileListener(f)
		f.Close()
		if err != nil {
			fmt.Println(err)
			return
		}
		lns = append(lns, inherited)
	}
	child, err := new(loopback.ListenConfig).Adopt(lns...)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer child.Close()
	ln.Close() // the parent; connections that wait are the child's
	_, err = net.Dial("tcp", child.Addr().String())
	fmt.Println(err)
	// Output: <nil>
}
