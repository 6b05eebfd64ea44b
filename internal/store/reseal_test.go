package store

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestReseal exchanges what is still as it was opened, and nothing else.
func TestReseal(t *testing.T) {
	old, anew, other := []byte("old"), []byte("anew"), []byte("came meanwhile")
	r := &Record{
		Factors:     map[string]Factor{"1": {Type: "totp", Secret: old, LastStep: 7}, "2": {Secret: other}},
		Credentials: map[string][]byte{"pin": old, "password": other},
		Sessions:    map[string]Session{"a": {Handle: "h", Data: old, Version: 3, Expires: start + 9}, "b": {Data: other, Expires: start + 9}},
	}
	all := func(names ...string) map[string]Resealed {
		m := map[string]Resealed{"gone": {From: old, To: anew}, "none": {To: anew}}
		for _, name := range names {
			m[name] = Resealed{From: old, To: anew}
		}
		return m
	}
	o := r.Apply(Change{Now: start, Reseal: &Reseal{Factors: all("1", "2"), Credentials: all("pin", "password"), Sessions: all("a", "b")}})
	if o.Refused != "" || o.Ended {
		t.Errorf("got %+v", o)
	}
	if diff := cmp.Diff(map[string]Factor{"1": {Type: "totp", Secret: anew, LastStep: 7}, "2": {Secret: other}}, r.Factors); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string][]byte{"pin": anew, "password": other}, r.Credentials); diff != "" {
		t.Error(diff)
	}
	want := map[string]Session{"a": {Handle: "h", Data: anew, Version: 3, Expires: start + 9}, "b": {Data: other, Expires: start + 9}}
	if diff := cmp.Diff(want, r.Sessions); diff != "" {
		t.Error(diff)
	}
	if r.FactorsAt != 0 {
		t.Error("factors are held for changed")
	}
}
