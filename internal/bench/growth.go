package main

import "github.com/caddy-otp/caddy-otp/internal/bench/report"

// growth is what the plot shows: the share of bare Caddy, as sessions and nodes grow.
type growth struct{ sessions, nodes lines }

type lines []report.Line

// add adds a point to the line of that name.
func (l *lines) add(name string, x int, share float64) {
	point := report.Point{X: x, Share: share}
	for i := range *l {
		if (*l)[i].Name == name {
			(*l)[i].Points = append((*l)[i].Points, point)
			return
		}
	}
	*l = append(*l, report.Line{Name: name, Points: []report.Point{point}})
}

// plot shows what was measured of it.
func (g growth) plot() report.Plot {
	p := report.Plot{Title: "Requests a second, as a share of bare Caddy's"}
	if g.sessions != nil {
		p.Panels = append(p.Panels, report.Panel{Title: "One node, many sessions", Label: "sessions in random order, on a logarithmic scale", Log: true, Lines: g.sessions})
	}
	if g.nodes != nil {
		p.Panels = append(p.Panels, report.Panel{Title: "Many nodes on one Redis", Label: "nodes, all on one machine", Lines: g.nodes})
	}
	return p
}
