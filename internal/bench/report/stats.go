// Package report turns what was measured into tables and a plot.
package report

import (
	"cmp"
	"slices"
)

// Median returns the middle value, or the mean of the two in the middle. It is zero
// without values.
func Median[T ~int64 | ~float64](values []T) T {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// Ratios divides value by value. What is measured side by side is compared side by
// side: what else the machine does in one round concerns both.
func Ratios[T ~int64 | ~float64](values, of []T) []float64 {
	ratios := make([]float64, min(len(values), len(of)))
	for i := range ratios {
		ratios[i] = float64(values[i]) / float64(of[i])
	}
	return ratios
}

// Percentile returns the smallest value that at least p percent of the values do not
// exceed (nearest rank). It is zero without values.
func Percentile[T cmp.Ordered](values []T, p int) (v T) {
	if len(values) == 0 {
		return v
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := (len(sorted)*p + 99) / 100
	return sorted[max(rank, 1)-1]
}
