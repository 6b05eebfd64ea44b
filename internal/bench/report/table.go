package report

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Table is what one measurement found.
type Table struct {
	// Title says what was measured, and Notes how, a sentence or two each.
	Title string
	Notes []string
	// Columns name the cells of each row. All but the first are figures.
	Columns []string
	Rows    [][]string
}

// Add adds a row.
func (t *Table) Add(cells ...string) { t.Rows = append(t.Rows, cells) }

// Text writes the table for a terminal.
func (t *Table) Text(w io.Writer) error {
	fmt.Fprintf(w, "\n%s\n\n", t.Title)
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{t.Columns}, t.Rows...) {
		fmt.Fprintf(columns, "  %s\n", strings.Join(row, "\t"))
	}
	return columns.Flush()
}

// Markdown writes it for the documentation.
func (t *Table) Markdown(w io.Writer) {
	fmt.Fprintf(w, "## %s\n\n", t.Title)
	for _, note := range t.Notes {
		fmt.Fprintf(w, "%s\n\n", note)
	}
	line := func(cells []string) { fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")) }
	line(t.Columns)
	line(append([]string{"---"}, repeat("---:", len(t.Columns)-1)...))
	for _, row := range t.Rows {
		line(row)
	}
	fmt.Fprintln(w)
}

func repeat(s string, count int) []string {
	list := make([]string, count)
	for i := range list {
		list[i] = s
	}
	return list
}

// Thousands writes 100000 as 100,000.
func Thousands(n int) string {
	if n < 1000 {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%s,%03d", Thousands(n/1000), n%1000)
}
