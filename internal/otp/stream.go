package otp

import (
	"context"
	"strings"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/audit"
	"github.com/caddy-otp/caddy-otp/internal/store"
)

// Stream is a request that is under way, and that ends with what let it pass.
type Stream struct {
	// Who makes the request.
	Who Caller
	// Type of the one-time password that let it pass, empty if the token did.
	Type Type
	// Until is when that is over, by what is known so far.
	Until time.Time
	// Judge tells by the standing that the session has now whether the request may go
	// on, and until when at most, which is later than now; or why not.
	Judge func(g Standing, now time.Time) (until time.Time, reason string)
	// Close ends the request. It does not wait for that.
	Close func()
}

// Reasons of a stream's end, besides those of Judge.
const (
	reasonUnavailable = "store_unavailable" // the session could not be looked up
	reasonNoSession   = "no_session"        // the browser's session is over
)

// Follow closes a request when what let it pass no longer holds, unless release is
// called before. The store is asked of a request that lasts for 5 seconds, then
// whenever something of the subject's ended, and when Until has come; every 5 seconds
// as long as it does not tell what ends. Where it does not answer, the request is
// closed.
func (s *Service) Follow(st Stream) (release func()) {
	f := &stream{Stream: st, handle: st.Who.Handle}
	s.streams.add(s.vault.Hash(st.Who.Subject), f)
	return func() { s.streams.remove(f) }
}

// judgeStreams judges requests of one subject, which was due since the given time.
func (s *Service) judgeStreams(list []*stream, due time.Time) {
	var r *store.Record
	err := ErrUnavailable
	if s.now().Sub(due) <= streamLate {
		r, err = s.vault.Load(context.Background(), list[0].Who.Subject)
	}
	now := s.now()
	if err == nil {
		r.Prune(store.At(now))
	}
	for _, st := range list {
		until, reason := time.Time{}, reasonUnavailable
		if err == nil {
			until, reason = s.judgeStream(st, r, now)
		}
		if reason == "" {
			s.streams.renew(st, until)
		} else if s.streams.remove(st) {
			st.Close()
			s.log(context.Background(), st.Who, audit.StreamClosed, reason, st.Type)
		}
	}
}

// judgeStream judges one by what the store knows. A browser's session that was
// renewed is still the session: it is known by its handle, and judged by what it
// proved under the id that it has now. Nothing that it proved outlasts it.
func (s *Service) judgeStream(st *stream, r *store.Record, now time.Time) (until time.Time, reason string) {
	hash, ofBrowser := strings.CutPrefix(st.Who.Session, store.SessionName(""))
	if !ofBrowser {
		return st.Judge(newStanding(r, st.Who.Session), now)
	}
	if st.handle == "" {
		st.handle = r.Sessions[hash].Handle
	}
	if st.handle == "" {
		return time.Time{}, reasonNoSession
	}
	name, ends := "", store.Instant(0) // of a session that is over
	for hash, kept := range r.Sessions {
		if kept.Handle == st.handle && !kept.Renewed && store.At(now) < s.sessionLimit(kept) {
			name, ends = store.SessionName(hash), min(kept.Expires, s.sessionLimit(kept))
		}
	}
	if name == "" {
		return time.Time{}, reasonNoSession
	}
	until, reason = st.Judge(newStanding(r, name), now)
	if ends.Time().Before(until) {
		until = ends.Time()
	}
	return until, reason
}
