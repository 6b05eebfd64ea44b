package otp

import (
	"time"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// moment is a point in time by two clocks. One may be set back, and what was over would
// not be any more. The other one is never set, but stands still while the machine sleeps.
type moment struct {
	wall   store.Instant
	steady time.Duration // since a start
}

// momentOf takes both from t, which has both if it is of [time.Now].
func momentOf(t, start time.Time) moment { return moment{store.At(t), t.Sub(start)} }

// isWithin tells whether less than d has passed since the other moment, by both clocks.
func (m moment) isWithin(d time.Duration, since moment) bool {
	return since.wall <= m.wall && m.wall < since.wall.Add(d) &&
		since.steady <= m.steady && m.steady < since.steady+d
}
