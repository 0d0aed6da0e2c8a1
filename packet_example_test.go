//go:build !windows

// Wine, in which the tests run for Windows, has too little of UDP.

package loopback_test

import (
	"fmt"
	"log"
	"net"

	"example.com/loopback"
)

// A server that answers from the address that was asked.
func ExampleListenPacket() {
	pc, err := loopback.ListenPacket("udp", ":0")
	if err != nil {
		log.Fatal(err)
	}
	defer pc.Close()
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFromUDPAddrPort(buf)
			if err != nil {
				return // closed
			}
			pc.WriteToUDPAddrPort(buf[:n], from)
		}
	}()

	client, err := net.Dial("udp", pc.LocalAddr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	fmt.Fprint(client, "echo")
	answer := make([]byte, 10)
	n, err := client.Read(answer)
	fmt.Println(string(answer[:n]), err)
	// Output: echo <nil>
}
