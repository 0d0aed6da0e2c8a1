// Package page lays out reports as text: columns, wrapped lines and short
// lists.
package page

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	width = 80 // of a line of Hang
	most  = 4  // items of List
)

// Columns lays rows out as lines of columns, each as wide as its widest cell
// and with two spaces before it. The last cell of a row does not widen its
// column. Lines have no trailing spaces.
func Columns(rows [][]string) string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			if i < len(row)-1 {
				widths[i] = max(widths[i], utf8.RuneCountInString(cell))
			}
		}
	}
	var b strings.Builder
	for _, row := range rows {
		line := ""
		for i, cell := range row {
			line += "  " + cell + strings.Repeat(" ", max(0, widths[i]-utf8.RuneCountInString(cell)))
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

// List joins the texts of the items, up to four of them, and says how many
// are left out.
func List[T any](items []T, sep string, text func(T) string) string {
	var parts []string
	for i, item := range items {
		if i == most {
			parts = append(parts, fmt.Sprintf("and %d more", len(items)-i))
			break
		}
		parts = append(parts, text(item))
	}
	return strings.Join(parts, sep)
}

// Hang returns text behind a label, wrapped between words at 80 columns. The
// lines after the first are indented to where the text begins.
func Hang(label, text string) string {
	var b strings.Builder
	line := label
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
		case len(line)+1+len(word) > width:
			b.WriteString(line + "\n")
			line = strings.Repeat(" ", len(label))
		default:
			line += " "
		}
		line += word
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
	return b.String()
}
