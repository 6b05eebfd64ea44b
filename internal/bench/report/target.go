package report

import "fmt"

// Target is a bound on a figure. The zero value is none.
type Target struct {
	bound float64
	sign  string // empty: no target
}

// AtLeast is met by the bound and everything above, AtMost by it and everything below.
func AtLeast(bound float64) Target { return Target{bound, "≥"} }

// AtMost is met by the bound and everything below.
func AtMost(bound float64) Target { return Target{bound, "≤"} }

// String is the bound, as in "≥ 0.95".
func (t Target) String() string {
	if t.sign == "" {
		return ""
	}
	return fmt.Sprintf("%s %v", t.sign, t.bound)
}

// Judge is the bound, and where the figure misses it, it says so.
func (t Target) Judge(figure float64) string {
	if t.sign == "≥" && figure < t.bound || t.sign == "≤" && figure > t.bound {
		return t.String() + ", missed"
	}
	return t.String()
}
