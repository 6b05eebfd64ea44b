package token

import (
	"bytes"
	"crypto/elliptic"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// wire answers requests without a network, so that time can be simulated.
type wire struct {
	mu    sync.Mutex
	doc   []byte
	keys  []byte
	err   error
	delay time.Duration
	asked []time.Time // for keys, or for anything while err is set
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	doc, keys, err, delay := w.doc, w.keys, w.err, w.delay
	if err != nil || strings.HasSuffix(r.URL.Path, "/keys") {
		w.asked = append(w.asked, time.Now())
	}
	w.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	if err != nil {
		return nil, err
	}
	body := doc
	if strings.HasSuffix(r.URL.Path, "/keys") {
		body = keys
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(body)), Request: r}, nil
}

func (w *wire) change(f func(*wire)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(w)
}

// gaps returns the times between the requests seen, and forgets them.
func (w *wire) gaps() []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	gaps := []time.Duration{}
	for n := 1; n < len(w.asked); n++ {
		gaps = append(gaps, w.asked[n].Sub(w.asked[n-1]))
	}
	w.asked = nil
	return gaps
}

const simulated = "https://id.example.com"

func newWire(keys ...testKey) *wire {
	return &wire{
		doc:  toJSON(object{"issuer": simulated, "jwks_uri": simulated + "/keys"}),
		keys: jwks(keys...),
	}
}

func (w *wire) verifier(t *testing.T, log *slog.Logger) (*Provider, *Verifier) {
	t.Helper()
	p := NewProvider(simulated, "", ProviderOptions{Client: &http.Client{Transport: w}, Logger: log})
	i := validIssuer()
	i.Keys = p
	v, err := New([]*Issuer{i}, 1, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return p, v
}

func simulatedToken(k testKey) string {
	return k.token(object{"iss": simulated, "sub": "alice", "aud": testAudience, "exp": time.Now().Add(48 * time.Hour).Unix()})
}

func TestScheduledRefresh(t *testing.T) {
	bad, good := ecKey(t, "bad", elliptic.P256()), ecKey(t, "good", elliptic.P256())
	synctest.Test(t, func(t *testing.T) {
		w := newWire(bad, good)
		p, v := w.verifier(t, nil)
		p.Start()
		raw := simulatedToken(bad)
		mustVerify(t, v, raw)
		w.change(func(w *wire) { w.keys = jwks(good) })
		time.Sleep(refreshEvery)
		synctest.Wait()
		mustRefuse(t, v, raw, "signed with an unknown key")
		mustVerify(t, v, simulatedToken(good))
		w.gaps() // the unknown kid caused one of its own
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		gaps := w.gaps()
		if len(gaps) < 18 {
			t.Errorf("%d intervals in 5 hours", len(gaps))
		}
		for _, d := range gaps {
			if d < refreshEvery-refreshLead || d >= refreshEvery {
				t.Errorf("refreshed after %s", d)
			}
		}
		p.Close()
		synctest.Wait()
		w.gaps()
		time.Sleep(time.Hour)
		if len(w.asked) != 0 {
			t.Error("asked after Close")
		}
	})
}

func TestBackoff(t *testing.T) {
	key := ecKey(t, "k1", elliptic.P256())
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	for _, tc := range []struct {
		name        string
		err         error
		first, last time.Duration
	}{
		{"unreachable", refused, time.Second, backoffMax},
		{"answering badly", errors.New("EOF"), minInterval, backoffMax},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWire(key)
				w.err = tc.err
				var log bytes.Buffer
				p, v := w.verifier(t, slog.New(slog.NewTextHandler(&log, nil)))
				p.Start()
				defer p.Close()
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				mustBeUnavailable(t, v, simulatedToken(key))
				gaps := w.gaps()
				within := func(d, base time.Duration) bool { return base <= d && d <= base+base/4 }
				if !within(gaps[0], tc.first) || !within(gaps[len(gaps)-1], tc.last) {
					t.Errorf("asked again after %s", gaps)
				}
				w.change(func(w *wire) { w.err = nil })
				time.Sleep(backoffMax + backoffMax/4)
				synctest.Wait()
				mustVerify(t, v, simulatedToken(key))
				if n := strings.Count(log.String(), "\n"); n != 2 {
					t.Errorf("%d lines in the log:\n%s", n, &log)
				}
			})
		})
	}
}

// TestSlowProvider holds that a provider which takes connections and does not
// answer is given up, is not waited for by every request, and does not cost
// the good keys.
func TestSlowProvider(t *testing.T) {
	key, forger := ecKey(t, "k1", elliptic.P256()), ecKey(t, "x", elliptic.P256())
	synctest.Test(t, func(t *testing.T) {
		w := newWire(key)
		w.delay = time.Hour
		p, v := w.verifier(t, nil)
		p.Start()
		defer p.Close()
		took := func(f func()) time.Duration {
			start := time.Now()
			f()
			return time.Since(start)
		}
		raw := simulatedToken(key)
		if d := took(func() { mustBeUnavailable(t, v, raw) }); d != firstWait {
			t.Errorf("the first request took %s", d)
		}
		time.Sleep(fetchTimeout)
		synctest.Wait()
		if d := took(func() { mustBeUnavailable(t, v, raw) }); d != 0 {
			t.Errorf("a later request took %s", d)
		}
		w.change(func(w *wire) { w.delay = 0 })
		time.Sleep(time.Minute)
		synctest.Wait()
		mustVerify(t, v, raw)

		w.change(func(w *wire) { w.delay = time.Hour })
		forged := simulatedToken(forger)
		if d := took(func() { mustRefuse(t, v, forged, "signed with an unknown key") }); d != fetchWait {
			t.Errorf("a request with an unknown kid took %s", d)
		}
		time.Sleep(time.Hour)
		if d := took(func() { mustVerify(t, v, raw) }); d != 0 {
			t.Errorf("a good request took %s", d)
		}
		time.Sleep(keysLive)
		mustBeUnavailable(t, v, raw)
	})
}
