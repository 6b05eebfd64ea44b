package report

import (
	"fmt"
	"html"
	"io"
	"math"
	"strconv"
)

// Plot is panels side by side, all of a share of 1 over something that grows.
type Plot struct {
	Title  string
	Panels []Panel
}

// Panel is a coordinate system with lines.
type Panel struct {
	Title string
	// Label is what grows along the horizontal axis, on a logarithmic scale with Log.
	Label string
	Log   bool
	Lines []Line
}

// Line is what one design did. The points are in order.
type Line struct {
	Name   string
	Points []Point
}

// Point is a share of bare Caddy.
type Point struct {
	X     int
	Share float64
}

// Sizes in the plot's own units, which are pixels where it is shown as large as it is.
const (
	panelWidth, panelHeight = 330, 220
	marginLeft, marginTop   = 56, 64
	gap, marginBottom       = 70, 80
	legendStep              = 150
)

// style follows the reader's light or dark mode, also inside of an <img>. The colours
// are told apart by those who see fewer, and lines by their marks too.
const style = `
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-size: 16px; font-weight: 600 }
  .note { font-size: 11px }
  .grid { stroke: #d1d9e0; stroke-width: 1 }
  .whole { stroke: #59636e; stroke-width: 1; stroke-dasharray: 4 3 }
  .line { fill: none; stroke-width: 2.5 }
  .line0 { stroke: #0969da } .mark0 { fill: #0969da }
  .line1 { stroke: #bc4c00 } .mark1 { fill: #bc4c00 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .grid { stroke: #3d444d } .whole { stroke: #9198a1 }
    .line0 { stroke: #4493f8 } .mark0 { fill: #4493f8 }
    .line1 { stroke: #f0883e } .mark1 { fill: #f0883e }
  }
`

// SVG writes the plot as an image that needs nothing else: no fonts, no scripts.
func (p Plot) SVG(w io.Writer) error {
	width := marginLeft + len(p.Panels)*(panelWidth+gap)
	height := marginTop + panelHeight + marginBottom
	out := &printer{w: w}
	out.print(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`, width, height, width, height, html.EscapeString(p.Title))
	out.print(`<style>%s</style>`, style)
	out.print(`<text class="title" x="%d" y="24">%s</text>`, marginLeft, html.EscapeString(p.Title))
	top := p.top()
	for i, panel := range p.Panels {
		out.print(`<g transform="translate(%d %d)">`, marginLeft+i*(panelWidth+gap), marginTop)
		panel.draw(out, top)
		out.print(`</g>`)
	}
	out.print(`</svg>`)
	return out.err
}

// top is where the vertical axes end: a tenth above the highest point, and above 1.
func (p Plot) top() float64 {
	highest := 1.0
	for _, panel := range p.Panels {
		for _, line := range panel.Lines {
			for _, point := range line.Points {
				highest = max(highest, point.Share)
			}
		}
	}
	return math.Ceil(highest*10+.5) / 10
}

func (p Panel) draw(out *printer, top float64) {
	y := func(share float64) float64 { return panelHeight * (1 - share/top) }
	out.print(`<text x="0" y="-12">%s</text>`, html.EscapeString(p.Title))
	for _, share := range []float64{0, .25, .5, .75, 1} {
		class := "grid"
		if share == 1 {
			class = "whole"
			out.print(`<text class="note" x="%d" y="%.1f" text-anchor="end">bare Caddy</text>`, panelWidth, y(share)-5)
		}
		out.print(`<line class="%s" x1="0" x2="%d" y1="%.1f" y2="%.1f"/>`, class, panelWidth, y(share), y(share))
		out.print(`<text x="-8" y="%.1f" text-anchor="end">%s</text>`, y(share)+4, strconv.FormatFloat(share, 'f', -1, 64))
	}
	x := p.scale()
	for _, tick := range p.ticks() {
		out.print(`<text x="%.1f" y="%d" text-anchor="middle">%s</text>`, x(tick), panelHeight+20, Thousands(tick))
	}
	out.print(`<text x="%d" y="%d" text-anchor="middle">%s</text>`, panelWidth/2, panelHeight+40, html.EscapeString(p.Label))
	for i, line := range p.Lines {
		points := ""
		for _, point := range line.Points {
			points += fmt.Sprintf("%.1f,%.1f ", x(point.X), y(point.Share))
		}
		out.print(`<polyline class="line line%d" points="%s"/>`, i, points)
		for _, point := range line.Points {
			mark(out, i, x(point.X), y(point.Share), fmt.Sprintf("%s: %.2f at %s", line.Name, point.Share, Thousands(point.X)))
		}
		mark(out, i, float64(i*legendStep+6), panelHeight+60, line.Name)
		out.print(`<text x="%d" y="%d">%s</text>`, i*legendStep+18, panelHeight+64, html.EscapeString(line.Name))
	}
}

// mark is a point of a line: circles for one, squares for the other.
func mark(out *printer, line int, x, y float64, hint string) {
	hint = html.EscapeString(hint)
	if line == 0 {
		out.print(`<circle class="mark0" cx="%.1f" cy="%.1f" r="4.5"><title>%s</title></circle>`, x, y, hint)
		return
	}
	out.print(`<rect class="mark%d" x="%.1f" y="%.1f" width="8" height="8"><title>%s</title></rect>`, line, x-4, y-4, hint)
}

// scale returns where a value lies between the smallest and the largest one.
func (p Panel) scale() func(int) float64 {
	const inset = 16
	value := func(x int) float64 { return float64(x) }
	if p.Log {
		value = func(x int) float64 { return math.Log10(float64(x)) }
	}
	ticks := p.ticks()
	if len(ticks) < 2 {
		return func(int) float64 { return panelWidth / 2 }
	}
	first, last := value(ticks[0]), value(ticks[len(ticks)-1])
	return func(x int) float64 {
		return inset + (panelWidth-2*inset)*(value(x)-first)/(last-first)
	}
}

// ticks are the values of the first line; with Log, those that are powers of ten.
func (p Panel) ticks() (ticks []int) {
	if len(p.Lines) == 0 {
		return nil
	}
	for _, point := range p.Lines[0].Points {
		if exponent := math.Log10(float64(point.X)); !p.Log || exponent == math.Trunc(exponent) {
			ticks = append(ticks, point.X)
		}
	}
	return ticks
}

// printer keeps the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) print(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}
