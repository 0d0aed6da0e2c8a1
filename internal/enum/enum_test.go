package enum_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/loopback/internal/enum"
)

type colour uint8

var names = []string{"red", "green"}

func TestTextAndParseAgree(t *testing.T) {
	for i, name := range names {
		assert.Equal(t, name, enum.Text(colour(i), "Colour", names))
		c := colour(9)
		assert.NoError(t, enum.Parse(&c, []byte(name), "Colour", names))
		assert.Equal(t, colour(i), c)
	}
	assert.Equal(t, "Colour(2)", enum.Text(colour(2), "Colour", names))
	assert.Equal(t, "Colour(255)", enum.Text(colour(255), "Colour", names))
}

func TestParseRefusesOtherTexts(t *testing.T) {
	for _, text := range []string{"", "Red", "red ", "Colour(2)", "2"} {
		c := colour(1)
		assert.EqualError(t, enum.Parse(&c, []byte(text), "Colour", names), `loopback: unknown Colour "`+text+`"`)
		assert.Equal(t, colour(1), c, "unchanged")
	}
	var c colour
	assert.Less(t, len(enum.Parse(&c, make([]byte, 1<<20), "Colour", names).Error()), 400)
}
