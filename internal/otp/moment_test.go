package otp

import (
	"testing"
	"time"
)

// TestMoment: what is over by one of the clocks is over.
func TestMoment(t *testing.T) {
	then := momentOf(start, start)
	for name, test := range map[string]struct {
		wall, steady time.Duration
		want         bool
	}{
		"at once":                         {0, 0, true},
		"in time":                         {remembered - time.Millisecond, remembered - time.Nanosecond, true},
		"too late":                        {remembered, remembered, false},
		"set back before":                 {-time.Millisecond, time.Second, false},
		"set back, and too late":          {time.Second, remembered, false},
		"set back as far as time went on": {0, time.Minute, false},
		"set forward":                     {time.Hour, time.Second, false},
		"asleep":                          {time.Hour, 0, false},
	} {
		now := moment{then.wall.Add(test.wall), then.steady + test.steady}
		if got := now.isWithin(remembered, then); got != test.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
	began := time.Now()
	if got := momentOf(began.Add(time.Second), began); got.steady != time.Second || got.wall == 0 {
		t.Errorf("got %+v", got)
	}
}
