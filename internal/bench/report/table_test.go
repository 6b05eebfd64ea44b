package report

import (
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	t.Parallel()
	table := Table{Title: "One session", Notes: []string{"At 32 connections."}, Columns: []string{"design", "requests/s"}}
	table.Add("bare", "12000")
	table.Add("gate, bbolt", "11500")

	var text, markdown strings.Builder
	if err := table.Text(&text); err != nil {
		t.Fatal(err)
	}
	table.Markdown(&markdown)
	for got, want := range map[string]string{
		text.String(): `
One session

  design       requests/s
  bare         12000
  gate, bbolt  11500
`,
		markdown.String(): `## One session

At 32 connections.

| design | requests/s |
| --- | ---: |
| bare | 12000 |
| gate, bbolt | 11500 |

`,
	} {
		if got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
}

func TestTarget(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		target Target
		figure float64
		want   string
	}{
		{AtLeast(0.95), 0.95, "≥ 0.95"}, {AtLeast(0.95), 0.949, "≥ 0.95, missed"},
		{AtMost(1.07), 1.07, "≤ 1.07"}, {AtMost(1.07), 1.08, "≤ 1.07, missed"},
		{AtMost(0), 0, "≤ 0"}, {AtMost(0), 1, "≤ 0, missed"}, {Target{}, 7, ""},
	} {
		if got := c.target.Judge(c.figure); got != c.want {
			t.Errorf("%v: got %q, want %q", c.figure, got, c.want)
		}
	}
}

func TestThousands(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 100_000: "100,000", 1_002_003: "1,002,003"} {
		if got := Thousands(n); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
