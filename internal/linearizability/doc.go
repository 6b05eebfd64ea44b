// Package linearizability holds the promises of single use and of counting
// against recorded histories: several nodes work on the same few subjects while
// they, and the store below them, are killed and paused. What every caller was
// told must be what one node could have told, serving all one after the other,
// each at some moment between its call and its return (Herlihy and Wing,
// "Linearizability", 1990). The checker is porcupine.
//
// There is nothing but tests in it. model_test.go says what one node tells,
// workload_test.go what is asked, round_test.go when something fails, and
// broken_test.go has the storages whose histories must not pass.
//
// The tests read from the environment:
//
//	LINEARIZABILITY_ROUNDS  how many rounds of each kind, instead of a few
//	LINEARIZABILITY_SEED    what is asked, in which order: as a test printed that
//	                        failed. What meets what depends on more than that.
//
// A history that does not pass is printed. With the flag -artifacts of go test, its
// picture is kept.
package linearizability
