package page_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/loopback/internal/page"
)

func TestColumnsAlign(t *testing.T) {
	assert.Equal(t, "  a     bcd\n  éèêë  f  the last cell may be as long as it likes\n  g\n\n",
		page.Columns([][]string{{"a", "bcd"}, {"éèêë", "f", "the last cell may be as long as it likes"}, {"g", ""}, {}}))
	assert.Empty(t, page.Columns(nil))
}

func TestListEndsAfterFour(t *testing.T) {
	assert.Equal(t, "", page.List(nil, ", ", strconv.Itoa))
	assert.Equal(t, "1, 2, 3, 4", page.List([]int{1, 2, 3, 4}, ", ", strconv.Itoa))
	assert.Equal(t, "1, 2, 3, 4, and 2 more", page.List([]int{1, 2, 3, 4, 5, 6}, ", ", strconv.Itoa))
}

func TestHangWrapsAtEightyColumns(t *testing.T) {
	assert.Equal(t, "label: text\n", page.Hang("label: ", " text "))
	assert.Equal(t, "label:\n", page.Hang("label: ", ""))
	word := strings.Repeat("x", 39)
	assert.Equal(t, word+" "+word+"x\n", page.Hang("", word+" "+word+"x"))      // 80
	assert.Equal(t, "- "+word+"\n  "+word+"\n", page.Hang("- ", word+" "+word)) // 81
	assert.Equal(t, strings.Repeat("y", 100)+"\n", page.Hang("", strings.Repeat("y", 100)), "a word is kept whole")
}
