package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// News is a [store.Listener] for tests: it writes down what it hears.
type News struct {
	Revocations chan string
	States      chan bool
}

// NewNews returns a listener that has heard nothing.
func NewNews() *News { return &News{make(chan string, 100), make(chan bool, 100)} }

// Revoked writes down a subject.
func (n *News) Revoked(subject string) { n.Revocations <- subject }

// Listening writes down a state.
func (n *News) Listening(on bool) { n.States <- on }

// Await waits for the state.
func (n *News) Await(t testing.TB, want bool) {
	t.Helper()
	for {
		select {
		case got := <-n.States:
			if got == want {
				return
			}
		case <-time.After(time.Minute):
			t.Fatalf("the storage never said Listening(%v)", want)
		}
	}
}

// Watch holds what watched hears against what acting does; they may be two
// nodes of one storage, whose canary is that of the suite.
func Watch(t *testing.T, watched store.Watcher, acting store.Storage) {
	ctx, cancel := context.WithCancel(t.Context())
	news, ended := NewNews(), make(chan struct{})
	go func() {
		defer close(ended)
		watched.Watch(ctx, news)
	}()
	if first := <-news.States; first {
		t.Error("it began by saying that nothing goes unheard")
	}
	news.Await(t, true)

	apply := func(key store.Key, c store.Change) {
		t.Helper()
		c.Now = Start
		if o, err := acting.Apply(t.Context(), key, c); err != nil || o.Refused != "" {
			t.Fatalf("Apply: %v, %+v", err, o)
		}
	}
	add := func(key store.Key, id string, most int) {
		t.Helper()
		apply(key, store.Change{AddFactor: &store.NewFactor{ID: id, Most: most, Factor: store.Factor{
			Type: "device-totp", Secret: []byte("s"), Confirmed: true, CreatedAt: Start,
		}}})
	}
	for name, change := range map[string]func(store.Key){
		"revoke": func(k store.Key) { apply(k, store.Change{Revoke: Start.Add(time.Hour)}) },
		"reset":  func(k store.Key) { apply(k, store.Change{Reset: true}) },
		"remove": func(k store.Key) {
			add(k, "1", 5)
			apply(k, store.Change{RemoveFactor: &store.OldFactor{ID: "1", Type: "device-totp"}})
		},
		"replace": func(k store.Key) { add(k, "1", 1); add(k, "2", 1) },
		"end": func(k store.Key) {
			apply(k, starts("a", session("A", "", Start), ""))
			apply(k, ends(store.SessionEnd{ID: "no such"})) // of which nothing is heard
			apply(k, ends(store.SessionEnd{ID: "a"}))
		},
		"end elevations": func(k store.Key) {
			apply(k, bound("s", "totp", Start))
			apply(k, ends(store.SessionEnd{Name: "no such"})) // of which nothing is heard
			apply(k, ends(store.SessionEnd{Name: "s"}))
		},
		"void": func(k store.Key) {
			apply(k, bound("s", "recovery", Start))
			add(k, "1", 5)
		},
		"renew": func(k store.Key) {
			apply(k, starts("a", session("A", "", Start), ""))
			apply(k, renews("a", "b"))
		},
		"replace a session": func(k store.Key) {
			apply(k, starts("a", session("A", "", Start), ""))
			apply(k, starts("b", session("B", "", Start), "a"))
		},
	} {
		key := NewKey()
		apply(NewKey(), store.Change{Unlock: true}) // of which nothing is heard
		change(key)
		select {
		case got := <-news.Revocations:
			if got != key.Subject {
				t.Errorf("%s: heard of %s, want %s", name, got, key.Subject)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s: nothing heard", name)
		}
		for len(news.Revocations) > 0 { // a node may hear of its own doings twice
			<-news.Revocations
		}
	}

	cancel()
	news.Await(t, false)
	<-ended
}
