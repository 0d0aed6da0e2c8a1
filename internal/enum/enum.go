// Package enum writes and reads the values of an enumeration by name.
package enum

import (
	"fmt"
	"slices"
	"strconv"
)

// Text returns the name of value, which is its index in names, or "Type(9)"
// for a value without a name.
func Text[T ~uint8](value T, typ string, names []string) string {
	if int(value) < len(names) {
		return names[value]
	}
	return typ + "(" + strconv.Itoa(int(value)) + ")"
}

// Parse sets value to the one whose name is text. Any other text is an error
// that quotes it, and leaves value as it is.
func Parse[T ~uint8](value *T, text []byte, typ string, names []string) error {
	i := slices.Index(names, string(text))
	if i < 0 {
		return fmt.Errorf("loopback: unknown %s %.64q", typ, text)
	}
	*value = T(i)
	return nil
}
