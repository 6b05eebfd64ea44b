package report

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

var plot = Plot{Title: `Share of "bare" & <more>`, Panels: []Panel{
	{Title: "Sessions", Label: "sessions", Log: true, Lines: []Line{
		{"gate, Redis", []Point{{1, .97}, {100, .96}, {2_000, .93}, {100_000, .87}}},
		{"gate, bbolt", []Point{{1, 1.12}, {100, .96}, {2_000, .93}, {100_000, .88}}},
	}},
	{Title: "Nodes", Label: "nodes", Lines: []Line{{"gate, Redis", []Point{{1, .97}, {2, .96}, {3, .96}}}}},
}}

// The plot is well-formed, has a mark for each point and one in each legend, and all of it lies inside.
func TestPlot(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	if err := plot.SVG(&text); err != nil {
		t.Fatal(err)
	}
	marks := 0
	for decoder := xml.NewDecoder(strings.NewReader(text.String())); ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if start, ok := token.(xml.StartElement); ok && (start.Name.Local == "circle" || start.Name.Local == "rect") {
			marks++
		}
	}
	if want := 8 + 3 + 3; marks != want {
		t.Errorf("%d marks, want %d", marks, want)
	}
	for _, part := range []string{
		"Share of &#34;bare&#34; &amp; &lt;more&gt;", "prefers-color-scheme: dark", ">100,000</text>", "gate, bbolt: 1.12 at 1<",
		`points="16.0,`, // the first point lies at the left, inside
	} {
		if !strings.Contains(text.String(), part) {
			t.Errorf("no %s in\n%s", part, text.String())
		}
	}
	for _, part := range []string{">2,000</text>", "NaN", "Inf", `="-8.`, "<script", "url("} {
		if strings.Contains(text.String(), part) {
			t.Errorf("%s in\n%s", part, text.String())
		}
	}
}

func TestPlotOfLittle(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]Plot{
		"nothing": {}, "no line": {Panels: []Panel{{}}},
		"one point": {Panels: []Panel{{Log: true, Lines: []Line{{"a", []Point{{1, 1}}}}}}},
	} {
		var text strings.Builder
		if err := p.SVG(&text); err != nil || strings.Contains(text.String(), "NaN") {
			t.Errorf("%s: %v\n%s", name, err, text.String())
		}
	}
}
