package otp

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

// race runs f many times at once, and returns how often it gave no error, and
// how often its guess was judged. Every error must be a rejection.
func race(t *testing.T, times int, f func(i int) error) (passed, judged int) {
	t.Helper()
	var right, wrong atomic.Int64
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for i := range times {
		wg.Go(func() {
			<-begin
			err := f(i)
			var r *Rejection
			switch {
			case err == nil:
				right.Add(1)
			case !errors.As(err, &r):
				t.Error(err)
			case !r.Locked:
				wrong.Add(1)
			}
		})
	}
	close(begin)
	wg.Wait()
	return int(right.Load()), int(right.Load() + wrong.Load())
}

// TestRaceForOneCode sends one code from everywhere at once, through several
// nodes and entrances: it passes once.
// Elsewhere this went wrong: CVE-2026-103655, CVE-2026-82470, CVE-2026-104105.
func TestRaceForOneCode(t *testing.T) {
	for _, attempts := range []int{5, 1000} { // with few, most find the subject locked
		config := testConfig()
		config.Limits.Attempts, config.Limits.Cap = attempts, 10000
		storage, clock := newStorage(t), &clock{t: start}
		var nodes [3]*node
		for i := range nodes {
			nodes[i] = startNode(t, config, storage, clock, plain{}, "key")
		}
		n := nodes[0]
		for _, typ := range Types() {
			t.Run(fmt.Sprint(typ, " ", attempts), func(t *testing.T) {
				who := n.newCaller(t.Name())
				code := "123456"
				if typ.onDemand() {
					n.putCode(who, typ, code)
				} else {
					code = codeAt(t, n.enrol(who, typ, "a"), start)
				}
				passed, judged := race(t, 64, func(i int) error {
					node, who := nodes[i%len(nodes)], who
					who.Session = fmt.Sprint("session ", i%7)
					if i%5 == 0 {
						_, _, err := node.AddDevice(t.Context(), who, "", Authority{Code: code[:3] + " " + code[3:]})
						return err
					}
					_, err := node.Verify(t.Context(), who, code, Types(), Use(i%2))
					return err
				})
				if passed != 1 {
					t.Errorf("it passed %d times", passed)
				}
				info := n.show(who)
				got := len(info.Elevations)
				for _, f := range info.Factors {
					if f.ID != "a" {
						got++
					}
				}
				if got != 1 {
					t.Errorf("it left %+v", info)
				}
				if attempts > 64 && judged != 64 {
					t.Errorf("%d were judged", judged)
				}
			})
		}
	}
}

// Elsewhere this went wrong: CVE-2024-4629, CVE-2023-47111.
func TestRaceOfGuesses(t *testing.T) {
	const guesses = 200
	n := newNode(t)
	for name, types := range map[string][]Type{"one type": {TOTP}, "all types": Types()} {
		who := n.newCaller(name)
		secret := n.enrol(who, TOTP, "a")
		wrong := n.wrongCode(secret)
		passed, judged := race(t, guesses, func(int) error {
			_, err := n.Verify(t.Context(), who, wrong, types, ElevateUnspent)
			return err
		})
		if passed != 0 || judged != 5 {
			t.Errorf("%s: %d passed, %d were judged", name, passed, judged)
		}
		for typ, count := range n.show(who).WrongCodes {
			if count != 5 {
				t.Errorf("%s: %s has %d", name, typ, count)
			}
		}
	}
}

// TestRaceOfPINs: elsewhere this went wrong: CVE-2024-4629, CVE-2023-47111.
func TestRaceOfPINs(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	n.setPIN(who, "2580")
	passed, judged := race(t, 200, func(i int) error {
		_, _, err := n.CreateCode(t.Context(), who, fmt.Sprint("wrong ", i), fmt.Sprintf("%04d", i))
		return err
	})
	if passed != 0 || judged != 5 {
		t.Errorf("%d passed, %d were judged", passed, judged)
	}
}

func TestRaceForOneElevation(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	n.putCode(who, Account, "123456")
	n.mustVerify(who, "123456", Account)
	passed, _ := race(t, 64, func(int) error {
		_, err := n.Spend(t.Context(), who, Types())
		if errors.Is(err, ErrNoElevation) {
			return &Rejection{}
		}
		return err
	})
	if passed != 1 {
		t.Errorf("it was spent %d times", passed)
	}
}

func TestRaceForTheFirstDevice(t *testing.T) {
	n := newNode(t)
	who := n.newCaller("user")
	passed, _ := race(t, 64, func(int) error {
		_, _, err := n.AddDevice(t.Context(), who, "", Authority{})
		if errors.Is(err, ErrEnrolment) {
			return &Rejection{}
		}
		return err
	})
	if devices := n.devices(who); passed != 1 || len(devices) != 1 {
		t.Errorf("%d passed, and added %v", passed, devices)
	}
}

// TestRaceToOpen has the first requests of several new nodes find one place.
func TestRaceToOpen(t *testing.T) {
	storage := newStorage(t)
	nodes := make([]*node, 8)
	for i := range nodes {
		nodes[i] = startNode(t, testConfig(), storage, &clock{t: start}, plain{}, "new", "old")
	}
	who := nodes[0].newCaller("user")
	race(t, 64, func(i int) error {
		_, err := nodes[i%len(nodes)].Verify(t.Context(), who, "", []Type{TOTP}, ElevateUnspent)
		return err
	})
	for _, n := range nodes {
		n.wantWrong(who, map[string]int{"totp": 5})
	}
}
