package loopback_test

import (
	"fmt"

	"example.com/loopback"
)

func ExampleIsName() {
	for _, name := range []string{"localhost", "LOCALHOST.", "app.localhost", "localhost.example.com", "mylocalhost"} {
		fmt.Println(name, loopback.IsName(name))
	}
	// Output:
	// localhost true
	// LOCALHOST. true
	// app.localhost true
	// localhost.example.com false
	// mylocalhost false
}

func ExampleIsHost() {
	for _, host := range []string{"127.0.0.53", "::1%lo", "::ffff:127.0.0.1", "localhost", "127.1", "0.0.0.0"} {
		fmt.Println(host, loopback.IsHost(host))
	}
	// Output:
	// 127.0.0.53 true
	// ::1%lo true
	// ::ffff:127.0.0.1 true
	// localhost true
	// 127.1 false
	// 0.0.0.0 false
}

func ExampleIsHostHeader() {
	for _, value := range []string{"localhost:8080", "[::1]", "127.0.0.1:", "::1", "localhost.evil.example"} {
		fmt.Println(value, loopback.IsHostHeader(value))
	}
	// Output:
	// localhost:8080 true
	// [::1] true
	// 127.0.0.1: true
	// ::1 false
	// localhost.evil.example false
}

func ExampleExplain() {
	for _, text := range []string{"127.0.0.1", "0x7f.1", "[::]:80", "http://127.0.0.1@198.51.100.7/", "localhost"} {
		e := loopback.Explain(text)
		fmt.Printf("%s: %s, valid %t, loopback %t, reaches this machine: %v\n", text, e.Form, e.Valid, e.Loopback, e.Reach)
	}
	// Output:
	// 127.0.0.1: addr, valid true, loopback true, reaches this machine: yes
	// 0x7f.1: addr, valid false, loopback false, reaches this machine: maybe
	// [::]:80: hostport, valid true, loopback false, reaches this machine: yes
	// http://127.0.0.1@198.51.100.7/: url, valid true, loopback false, reaches this machine: no
	// localhost: host, valid true, loopback true, reaches this machine: maybe
}

func ExampleExplanation_String() {
	fmt.Println(loopback.Explain(":8080"))
	// Output:
	// YES  ":8080": the host "" is empty: Go's Dial takes that for this machine, and its Listen for every interface
	//   hostport, valid, not loopback
}
