package report

import (
	"slices"
	"testing"
)

func TestMedian(t *testing.T) {
	t.Parallel()
	for want, values := range map[float64][]float64{0: nil, 3: {3}, 2: {9, 1, 2}, 2.5: {4, 1, 2, 3}} {
		given := slices.Clone(values)
		if got := Median(values); got != want || !slices.Equal(values, given) {
			t.Errorf("%v: got %v, want %v", values, got, want)
		}
	}
}

// The median of ratios is not the ratio of medians: here each round says one half.
func TestRatios(t *testing.T) {
	t.Parallel()
	bare, gate := []float64{100, 40, 90}, []float64{50, 20, 45}
	if got := Ratios(gate, bare); !slices.Equal(got, []float64{.5, .5, .5}) {
		t.Errorf("got %v", got)
	}
}

func TestPercentile(t *testing.T) {
	t.Parallel()
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = 100 - i
	}
	for _, c := range []struct {
		values  []int
		p, want int
	}{{hundred, 99, 99}, {hundred, 50, 50}, {hundred, 100, 100}, {[]int{7}, 99, 7}, {[]int{1, 2}, 50, 1}, {[]int{3, 1, 2}, 50, 2}, {nil, 50, 0}} {
		if got := Percentile(c.values, c.p); got != c.want {
			t.Errorf("p%d of %d values: got %d, want %d", c.p, len(c.values), got, c.want)
		}
	}
}
