package redisstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-otp/caddy-otp/internal/redistest"
	"github.com/caddy-otp/caddy-otp/internal/store"
	"github.com/caddy-otp/caddy-otp/internal/store/storetest"
)

// waits is how long a test waits for what has to come.
const waits = time.Minute

// onCluster and onSentinels say where a topology is.
func onCluster(c *redistest.Cluster) func(*Options) {
	return func(o *Options) { o.Mode, o.Addresses = Cluster, c.Addrs() }
}

func onSentinels(s *redistest.Sentinels) func(*Options) {
	return func(o *Options) {
		o.Mode, o.Addresses, o.MasterName = Sentinel, s.Addrs(), redistest.MasterName
	}
}

// openedOn returns a store on a topology whose canary is that of the suite.
func openedOn(t *testing.T, changes ...func(*Options)) *Store {
	t.Helper()
	s := newTestStore(t, "", func(o *Options) {
		for _, change := range changes {
			change(o)
		}
	})
	eventually(t, "the canary is read", func() error {
		_, err := s.Canary(t.Context(), storetest.Canary)
		return err
	})
	return s
}

func withTimeout(d time.Duration) func(*Options) { return func(o *Options) { o.Timeout = d } }
func withReplicas(n int) func(*Options)          { return func(o *Options) { o.Replicas = n } }

// eventually waits until done returns nil.
func eventually(t *testing.T, what string, done func() error) {
	t.Helper()
	for deadline := time.Now().Add(waits); ; time.Sleep(10 * time.Millisecond) {
		err := done()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v: %v", what, waits, err)
		}
	}
}

// many are limits that no test reaches.
var many = store.NewLimits(1<<30, time.Hour, time.Hour, 1<<30)

// traffic is what two nodes do with some subjects, all at once, whatever
// happens to Redis: they count wrong attempts and spend codes. It writes down
// what was confirmed.
type traffic struct {
	stores []*Store
	lanes  []*lane
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// lane is one subject.
type lane struct {
	key store.Key

	confirmed, uncertain atomic.Int64 // attempts
	spent                atomic.Int64 // codes

	mu     sync.Mutex
	totals map[int]bool // each that an attempt was confirmed with
	faults []string     // what must not be
}

// newTraffic starts it.
func newTraffic(keys []store.Key, stores ...*Store) *traffic {
	ctx, cancel := context.WithCancel(context.Background())
	f := &traffic{stores: stores, cancel: cancel}
	for _, key := range keys {
		l := &lane{key: key, totals: make(map[int]bool)}
		f.lanes = append(f.lanes, l)
		for _, s := range stores {
			f.wg.Go(func() { l.count(ctx, s) })
		}
		f.wg.Go(func() { l.spend(ctx, stores) })
		f.wg.Go(func() { l.read(ctx, stores) })
	}
	return f
}

// goingOn waits until each subject had n more steps confirmed of each kind.
func (f *traffic) goingOn(t *testing.T, n int64, lanes ...*lane) {
	t.Helper()
	for _, l := range lanes {
		confirmed, spent := l.confirmed.Load()+n, l.spent.Load()+n
		eventually(t, "steps of "+l.key.Subject+" are made", func() error {
			if c, s := l.confirmed.Load(), l.spent.Load(); c < confirmed || s < spent {
				return fmt.Errorf("%d attempts and %d codes, want %d and %d", c, s, confirmed, spent)
			}
			return nil
		})
	}
}

// stop ends it, and checks that what was confirmed is still there, once.
func (f *traffic) stop(t *testing.T) {
	t.Helper()
	f.cancel()
	f.wg.Wait()
	for _, l := range f.lanes {
		for _, s := range f.stores {
			r, err := store.ReadRecord(t.Context(), s, l.key)
			if err != nil {
				t.Errorf("Load of %s: %v", l.key.Subject, err)
				continue
			}
			confirmed, total := l.confirmed.Load(), int64(r.Counters["totp"].Total)
			if total < confirmed || total > confirmed+l.uncertain.Load() {
				t.Errorf("%s counts %d attempts: %d were confirmed, %d may have been made", l.key.Subject, total, confirmed, l.uncertain.Load())
			}
		}
		l.mu.Lock()
		for _, fault := range l.faults {
			t.Errorf("%s: %s", l.key.Subject, fault)
		}
		l.mu.Unlock()
		t.Logf("%s: %d attempts confirmed, %d uncertain; %d codes spent", l.key.Subject, l.confirmed.Load(), l.uncertain.Load(), l.spent.Load())
	}
}

// refused tells that a step was not made for certain.
func refused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || redis.IsReadOnlyError(err) || redis.IsClusterDownError(err)
}

func (l *lane) fault(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = append(l.faults, what)
}

// count makes wrong attempts. Two that are confirmed never see the same total:
// the later one would not have seen the earlier.
func (l *lane) count(ctx context.Context, s *Store) {
	for breathe(ctx) {
		p, err := s.Pay(context.WithoutCancel(ctx), l.key, store.Attempt{Tries: []string{"totp"}, Group: []string{"totp"}, Limits: many, Now: now})
		if err != nil {
			if !refused(err) {
				l.uncertain.Add(1)
			}
			continue
		}
		l.confirmed.Add(1)
		total := p.Record.Counters["totp"].Total
		l.mu.Lock()
		if l.totals[total] {
			l.faults = append(l.faults, "a confirmed attempt was lost")
		}
		l.totals[total] = true
		l.mu.Unlock()
	}
}

// read reads, and never finds something else than the record.
func (l *lane) read(ctx context.Context, stores []*Store) {
	for n := 0; breathe(ctx); n++ {
		_, err := store.ReadRecord(context.WithoutCancel(ctx), stores[n%len(stores)], l.key)
		if errors.Is(err, store.ErrCorrupt) || errors.Is(err, store.ErrCanary) {
			l.fault(err.Error())
		}
	}
}

// spend puts one code after the other, and has all nodes try to spend each, time
// and again until all have been told that it is spent.
func (l *lane) spend(ctx context.Context, stores []*Store) {
	for n := uint64(0); breathe(ctx); {
		// A put that failed may be made all the same, and later than the next: its
		// code is not used.
		n++
		mac := binary.BigEndian.AppendUint64(nil, n)
		c := store.NewCode{Type: "account", Code: store.Code{MAC: mac, Expires: now.Add(time.Hour)}}
		if o, err := stores[n%uint64(len(stores))].Apply(context.WithoutCancel(ctx), l.key, store.Change{Now: now, PutCode: &c}); err != nil {
			continue
		} else if o.Refused != "" {
			l.fault("a code was refused: " + string(o.Refused))
		}
		var accepted atomic.Int64
		var wg sync.WaitGroup
		for _, s := range stores {
			wg.Go(func() {
				for told := 0; told < 2 && breathe(ctx); {
					o, err := s.Apply(context.WithoutCancel(ctx), l.key, store.Change{Now: now, Spend: &store.Spend{Type: "account", MAC: mac}})
					switch {
					case err != nil:
					case o.Refused == "":
						accepted.Add(1)
					case o.Refused == store.RefusedSpent:
						told++
					}
				}
			})
		}
		wg.Wait()
		if accepted.Load() > 1 {
			l.fault("a code was accepted twice")
		}
		l.spent.Add(1)
	}
}

// breathe leaves room for others on a small machine, and tells whether to go on.
func breathe(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(2 * time.Millisecond):
		return true
	}
}
