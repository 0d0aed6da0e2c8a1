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
