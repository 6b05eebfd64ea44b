package otp

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/store"
)

// inMemory is a storage without files or a network, so that time can be simulated.
type inMemory struct {
	mu        sync.Mutex
	records   map[string][]byte
	canary    store.Canary
	listeners store.Listeners
	mute      bool          // tells nobody of what ended
	takes     time.Duration // of a load
	loading   int
	most      int // that were loading at a time
}

func (s *inMemory) Load(_ context.Context, k store.Key) (store.Raw, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text, found := s.records[k.Subject]
	s.loading++
	s.most = max(s.most, s.loading)
	takes := s.takes
	s.mu.Unlock()
	time.Sleep(takes)
	s.mu.Lock()
	s.loading--
	return store.Raw{Found: found, Text: string(text)}, nil
}

func (s *inMemory) step(k store.Key, step func(*store.Record) (ended bool)) {
	s.mu.Lock()
	r := new(store.Record)
	if kept := s.records[k.Subject]; kept != nil {
		_ = json.Unmarshal(kept, r)
	}
	ended := step(r) && !s.mute
	s.records[k.Subject], _ = json.Marshal(r)
	s.mu.Unlock()
	if ended {
		s.listeners.Revoked(k.Subject)
	}
}

func (s *inMemory) Pay(_ context.Context, k store.Key, a store.Attempt) (p *store.Payment, _ error) {
	s.step(k, func(r *store.Record) bool { p = r.Pay(a); return false })
	return p, nil
}

func (s *inMemory) Apply(_ context.Context, k store.Key, c store.Change) (o *store.Outcome, _ error) {
	s.step(k, func(r *store.Record) bool { o = r.Apply(c); return o.Ended })
	return o, nil
}

func (s *inMemory) Canary(_ context.Context, candidate store.Canary) (store.Canary, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.canary.Fingerprint == "" {
		s.canary = candidate
	}
	return s.canary, nil
}

func (s *inMemory) ReplaceCanary(context.Context, store.Canary) error { return nil }

func (s *inMemory) Walk(context.Context, func(string) error) error { return nil }

func (s *inMemory) Watch(ctx context.Context, l store.Listener) {
	l.Listening(false)
	defer s.listeners.Add(l)()
	l.Listening(true)
	<-ctx.Done()
	l.Listening(false)
}

// change has the storage behave otherwise from now on.
func (s *inMemory) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// streaming is a node in simulated time.
type streaming struct {
	*node
	memory *inMemory
	stop   func() // has it hear no more of what ends
}

func simulate(t *testing.T, test func(t *testing.T, n *streaming)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		config := testConfig()
		withSessions(&config)
		s := &inMemory{records: make(map[string][]byte)}
		n := &streaming{node: startNode(t, config, s, &clock{t: time.Now()}, plain{}, "key"), memory: s}
		n.now, n.streams.now = time.Now, time.Now
		n.vault.storage = struct {
			*tapped
			store.Watcher
		}{n.storage, s}
		must(t, n.Open(t.Context()))
		n.watch(t)
		t.Cleanup(func() { n.stop() })
		test(t, n)
	})
}

func (n *streaming) watch(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	n.stop = cancel
	go n.Watch(ctx)
	synctest.Wait()
}

// after lets time pass, and what is due then happen.
func (n *streaming) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
	n.clock.set(time.Now())
}

func (n *streaming) elevate(who Caller) {
	n.t.Helper()
	n.putCode(who, Account, "123456")
	if _, err := n.verify(who, "123456", Account); err != nil {
		n.t.Fatal(describe(err))
	}
}

// elevated is a caller who has just proved a code.
func (n *streaming) elevated(name string) Caller {
	n.t.Helper()
	who := n.newCaller(name)
	n.elevate(who)
	n.storage.made()
	n.node.audit.take(n.t)
	return who
}

const streamAge = 5 * time.Minute

// followed is a stream through a gate with a max_age of 5 minutes.
type followed struct {
	n       *streaming
	ctx     context.Context
	release func()
}

func (n *streaming) follow(who Caller) *followed {
	ctx, cancel := context.WithCancel(context.Background())
	return &followed{n, ctx, n.Follow(Stream{
		Who: who, Type: Account, Until: time.Now().Add(streamAge), Close: cancel,
		Judge: func(g Standing, now time.Time) (time.Time, string) {
			newest, found := g.Newest(Types())
			until := newest.At.Add(streamAge)
			switch {
			case !found:
				return until, "otp_required"
			case !now.Before(until):
				return until, "otp_stale"
			}
			return until, ""
		},
	})}
}

func (f *followed) wantOpen() {
	f.n.t.Helper()
	synctest.Wait()
	if f.ctx.Err() != nil {
		f.n.t.Fatal("the stream is closed")
	}
}

// wantClosed wants it to be gone without a trace but a line in the log.
func (f *followed) wantClosed(reason string) {
	f.n.t.Helper()
	synctest.Wait()
	if f.ctx.Err() == nil {
		f.n.t.Fatal("the stream is open")
	}
	found := 0
	for _, line := range f.n.node.audit.take(f.n.t) {
		if inShort(line) == "stream_closed "+reason+" account" && line["client_ip"] == "192.0.2.1" {
			found++
		}
	}
	if found != 1 {
		f.n.t.Fatalf("%d lines of %q in the audit log:\n%s", found, reason, f.n.node.audit.text())
	}
	f.release() // as the handler does, too late
}

func (n *streaming) wantSteps(want ...string) {
	n.t.Helper()
	if got := n.storage.made(); fmt.Sprint(got) != fmt.Sprint(want) {
		n.t.Fatalf("steps of the store: %v, want %v", got, want)
	}
}

func (n *streaming) wantNone() {
	n.t.Helper()
	synctest.Wait()
	n.streams.mu.Lock()
	defer n.streams.mu.Unlock()
	if len(n.streams.subjects)+len(n.streams.queue)+n.streams.judges != 0 {
		n.t.Errorf("left behind: %d subjects, %d of them due, %d judges", len(n.streams.subjects), len(n.streams.queue), n.streams.judges)
	}
}

func TestStreamEndsWithItsProof(t *testing.T) {
	simulate(t, func(t *testing.T, n *streaming) {
		f := n.follow(n.elevated("user"))
		n.after(streamCheck - 1)
		n.wantSteps()
		n.after(1)
		n.wantSteps("load")
		n.after(streamRecheck - 1)
		n.wantSteps() // news is heard
		n.after(1)
		n.wantSteps("load") // and yet
		n.after(streamAge - streamCheck - streamRecheck - 1)
		n.storage.made()
		f.wantOpen()
		n.after(1)
		n.wantSteps("load")
		f.wantClosed("otp_stale")
		n.wantNone()
		n.after(time.Hour)
		n.wantSteps()
	})
}

func TestStreamGoesOnWithANewerProof(t *testing.T) {
	simulate(t, func(t *testing.T, n *streaming) {
		who := n.elevated("user")
		f := n.follow(who)
		n.after(4 * time.Minute)
		n.elevate(who)
		n.after(streamAge - 1)
		f.wantOpen()
		n.after(1)
		f.wantClosed("otp_stale")
	})
}

// A request that passes at the last moment is answered.
func TestStreamGrace(t *testing.T) {
	simulate(t, func(t *testing.T, n *streaming) {
		who := n.elevated("user")
		n.after(streamAge)
		release := n.Follow(Stream{
			Who: who, Until: time.Now(), Close: func() {},
			Judge: func(Standing, time.Time) (time.Time, string) { return time.Time{}, "otp_stale" },
		})
		defer release()
		n.after(streamGrace - 1)
		n.wantSteps()
		n.after(1)
		n.wantSteps("load")
		n.wantNone()
	})
}

func TestStreamEndsWithItsElevation(t *testing.T) {
	for name, end := range map[string]func(*streaming, Caller) error{
		"revoke": func(n *streaming, who Caller) error { return n.Revoke(n.t.Context(), who.Subject) },
		"reset":  func(n *streaming, who Caller) error { return n.Reset(n.t.Context(), who.Subject) },
		"signed out at the provider": func(n *streaming, who Caller) error {
			return n.EndSessions(n.t.Context(), ProviderSignOut{Issuer: who.Subject.Issuer, Subject: who.Subject.ID, SID: "sid", TokenSession: who.Session}, "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, n *streaming) {
				who, other := n.elevated("user"), n.elevated("other")
				first, second, others := n.follow(who), n.follow(who), n.follow(other)
				second.release()
				n.after(time.Minute)
				n.storage.made()
				must(t, end(n, who))
				first.wantClosed("otp_required")
				n.wantSteps("apply", "load") // one look, and none for the other
				second.wantReleased()
				others.wantOpen()
				others.release()
				n.wantNone()
			})
		})
	}
}

// wantReleased wants nobody to have closed it.
func (f *followed) wantReleased() {
	f.n.t.Helper()
	synctest.Wait()
	if f.ctx.Err() != nil {
		f.n.t.Error("a request that was over is closed")
	}
}

// A factor takes along what it proved, and nothing else.
func TestStreamEndsWithItsFactor(t *testing.T) {
	simulate(t, func(t *testing.T, n *streaming) {
		who := n.newCaller("user")
		for _, id := range []string{"a", "b"} {
			n.enrol(who, DeviceTOTP, id)
		}
		secret := n.enrol(who, DeviceTOTP, "c")
		n.mustVerify(who, codeAt(t, secret, time.Now()), DeviceTOTP)
		f := n.follow(who)
		n.node.audit.take(t)
		must(t, n.RemoveFactor(t.Context(), who, DeviceTOTP, "a"))
		f.wantOpen()
		must(t, n.RemoveFactor(t.Context(), who, DeviceTOTP, "c"))
		f.wantClosed("otp_required")
	})
}

func TestStreamsWhileNewsIsMissed(t *testing.T) {
	for name, lose := range map[string]func(n *streaming){
		"configuration replaced": func(n *streaming) { n.stop() },
		"subscription fails, again and again": func(n *streaming) {
			go func() {
				for range 60 {
					n.streams.Listening(false)
					time.Sleep(time.Second)
				}
			}()
		},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, n *streaming) {
				who := n.elevated("user")
				f := n.follow(who)
				n.after(time.Minute)
				n.storage.made()
				lose(n)
				n.after(2*streamCheck + 1)
				n.wantSteps("load", "load")
				f.wantOpen()
				n.memory.change(func() { n.memory.mute = true })
				must(t, n.Revoke(t.Context(), who.Subject))
				f.wantOpen()
				n.after(streamCheck)
				f.wantClosed("otp_required")
				n.after(time.Minute)
				n.wantNone()
			})
		})
	}
}

// A storage that does not tell what ends is asked ever so often.
func TestStreamsOfAStorageThatTellsNothing(t *testing.T) {
	simulate(t, func(t *testing.T, n *streaming) {
		n.stop()
		synctest.Wait()
		who := n.elevated("user")
		f := n.follow(who)
		n.after(3 * streamCheck)
		n.wantSteps("load", "load", "load")
		var timer *time.Timer
		for st := range n.streams.subjects[n.Hash(who.Subject)].list {
			timer = st.timer
		}
		f.release()
		if timer.Stop() {
			t.Error("its timer goes on")
		}
		n.after(time.Minute)
		n.wantSteps()
		n.wantNone()
	})
}

// What ended unheard is found as soon as news is heard again.
func TestStreamsWhenNewsIsHeardAgain(t *testing.T) {
	simulate(t, func(t *testing.T, n *streaming) {
		who, other := n.elevated("user"), n.elevated("other")
		f, others := n.follow(who), n.follow(other)
		n.after(time.Minute)
		n.memory.change(func() { n.memory.mute = true })
		must(t, n.Revoke(t.Context(), who.Subject))
		f.wantOpen()
		n.storage.made()
		n.streams.Listening(false)
		n.streams.Listening(true)
		f.wantClosed("otp_required")
		others.wantOpen()
		n.wantSteps("load", "load")
		n.after(streamRecheck - 1)
		n.wantSteps()
		others.release()
	})
}

// Every error denies, also to those who were let in.
func TestStreamsOfAStoreThatFails(t *testing.T) {
	simulate(t, func(t *testing.T, n *streaming) {
		who, other := n.elevated("user"), n.elevated("other")
		f, others := n.follow(who), n.follow(other)
		n.after(streamCheck)
		n.storage.before = failing(errDown, "load")
		n.after(streamRecheck - 1) // nothing asks
		f.wantOpen()
		n.streams.Revoked(n.Hash(who.Subject))
		f.wantClosed("store_unavailable")
		others.wantOpen()
		n.streams.Listening(false)
		n.after(streamCheck)
		others.wantClosed("store_unavailable")

		// A corrupt record is its subject's fate.
		n.storage.before = nil
		n.streams.Listening(true)
		f, others = n.follow(who), n.follow(other)
		n.memory.change(func() { n.memory.records[n.Hash(who.Subject)] = []byte("{") })
		n.streams.Listening(true)
		f.wantClosed("store_unavailable")
		others.wantOpen()
		others.release()
	})
}

// News that comes during a judgement has the subject judged again.
func TestNewsDuringAJudgement(t *testing.T) {
	simulate(t, func(t *testing.T, n *streaming) {
		who := n.elevated("user")
		f := n.follow(who)
		n.memory.change(func() { n.memory.takes = time.Second }) // it reads first, and answers late
		n.after(streamCheck + time.Second/2)
		n.wantSteps("load")
		must(t, n.Revoke(t.Context(), who.Subject))
		n.after(time.Second / 2)
		f.wantOpen()
		n.after(time.Second)
		f.wantClosed("otp_required")
		n.wantSteps("apply", "load")
		n.wantNone()
	})
}

// However many there are, the store is asked by a few at a time; and one that is
// too slow for that is no store.
func TestManyStreams(t *testing.T) {
	simulate(t, func(t *testing.T, n *streaming) {
		var streams []*followed
		for i := range 500 {
			who := n.elevated(fmt.Sprint("user ", i))
			streams = append(streams, n.follow(who), n.follow(who))
		}
		n.after(2 * streamCheck)
		n.storage.made()
		n.memory.change(func() { n.memory.most, n.memory.takes = 0, 10*time.Millisecond })
		n.streams.Listening(false)
		n.streams.Listening(true)
		n.streams.Listening(true)
		n.after(time.Second)
		if made := len(n.storage.made()); made < 500 || made > 500+streamJudges {
			t.Errorf("%d looks at the store for 500 subjects", made)
		}
		if n.memory.most != streamJudges {
			t.Errorf("%d at a time, want %d", n.memory.most, streamJudges)
		}
		for _, f := range streams {
			f.wantOpen()
		}

		n.memory.change(func() { n.memory.takes = 3 * time.Second })
		n.streams.Listening(true)
		n.after(streamLate + 3*time.Second)
		open := 0
		for _, f := range streams {
			if f.ctx.Err() == nil {
				open++
			}
			f.release()
		}
		if most := 2 * streamJudges * int(streamLate/(3*time.Second)+1); open > most {
			t.Errorf("%d streams are open, want no more than %d", open, most)
		}
		n.wantNone()
	})
}

// A browser's session is the same one under its next id, and ends the stream with it.
func TestStreamsOfBrowsers(t *testing.T) {
	for _, test := range []struct {
		name, reason string
		end          func(n *streaming, b *browser)
	}{
		{"proof too old", "otp_stale", func(n *streaming, _ *browser) { n.after(streamAge) }},
		{"signed out", reasonNoSession, func(n *streaming, b *browser) { must(n.t, n.EndSession(n.t.Context(), b.ref(), "")) }},
		{"revoked", reasonNoSession, func(n *streaming, b *browser) { must(n.t, n.Revoke(n.t.Context(), b.who.Subject)) }},
		{"signed in anew", reasonNoSession, func(n *streaming, b *browser) {
			_, err := n.StartSession(n.t.Context(), b.who, NewSession{Replaces: []SessionRef{b.ref()}})
			must(n.t, err)
		}},
	} {
		for _, known := range []bool{true, false} {
			t.Run(fmt.Sprint(test.name, ", handle known: ", known), func(t *testing.T) {
				simulate(t, func(t *testing.T, n *streaming) {
					b := n.signIn("user")
					n.elevateBrowser(b)
					who := b.caller()
					if known {
						who.Handle = n.mustOpen(b.ref()).Handle
					}
					f := n.follow(who)
					for range renewals {
						n.after(time.Minute)
						n.elevateBrowser(b)
						f.wantOpen()
					}
					n.after(streamAge - time.Second)
					f.wantOpen()
					n.node.audit.take(t)
					test.end(n, b)
					f.wantClosed(test.reason)
					n.wantNone()
				})
			})
		}
	}
}

// renewals is more often than a session keeps ids that it had.
const renewals = store.MaxRenewed + 2

func (n *streaming) elevateBrowser(b *browser) {
	n.t.Helper()
	n.putCode(b.who, Account, "123456")
	if _, err := n.verify(b.caller(), "123456", Account); err != nil {
		n.t.Fatal(describe(err))
	}
}

// Nor does a stream outlast the session that nobody uses.
func TestStreamsOfIdleBrowsers(t *testing.T) {
	simulate(t, func(t *testing.T, n *streaming) {
		b := n.signIn("user")
		n.elevateBrowser(b)
		var closed atomic.Bool
		release := n.Follow(Stream{
			Who: b.caller(), Until: time.Now().Add(24 * time.Hour), Close: func() { closed.Store(true) },
			Judge: func(_ Standing, now time.Time) (time.Time, string) { return now.Add(24 * time.Hour), "" },
		})
		defer release()
		n.after(30 * time.Minute)
		n.mustOpen(b.ref()) // used
		n.after(time.Hour - 1)
		if closed.Load() {
			t.Fatal("closed before the session is over")
		}
		n.after(time.Second)
		if !closed.Load() {
			t.Fatal("it outlasts the session")
		}
		n.wantNone()
	})
}

// What the operator says now holds for sessions that began before.
func TestStreamsOfBrowsersUnderAnotherConfig(t *testing.T) {
	simulate(t, func(t *testing.T, n *streaming) {
		b := n.signIn("user")
		n.elevateBrowser(b)
		f := n.follow(b.caller())
		n.after(time.Minute)
		n.config.Sessions.Absolute = time.Minute
		n.node.audit.take(t)
		n.streams.Revoked(n.Hash(b.who.Subject))
		f.wantClosed(reasonNoSession)
	})
}

// Requests come and go at once with news of all kinds.
func TestStreamsInParallel(t *testing.T) {
	s := &streams{now: time.Now}
	s.judge = func(list []*stream, _ time.Time) {
		for i, st := range list {
			st.handle += "x" // one judge at a time
			if i%2 == 0 {
				s.renew(st, time.Now().Add(time.Hour))
			} else if s.remove(st) {
				st.Close()
			}
		}
	}
	var wait sync.WaitGroup
	for worker := range 8 {
		wait.Go(func() {
			key := fmt.Sprint("subject ", worker%3)
			for range 500 {
				st := &stream{Stream: Stream{Until: time.Now().Add(time.Hour), Close: func() {}}}
				s.add(key, st)
				s.due(st)
				s.Revoked(key)
				s.remove(st)
			}
		})
	}
	wait.Go(func() {
		for i := range 200 {
			s.Listening(i%2 == 0)
		}
	})
	wait.Wait()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		left := len(s.subjects) + len(s.queue) + s.judges
		s.mu.Unlock()
		if left == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d are left", left)
		}
	}
}

// Interface guards
var (
	_ store.Storage = (*inMemory)(nil)
	_ store.Watcher = (*inMemory)(nil)
)
