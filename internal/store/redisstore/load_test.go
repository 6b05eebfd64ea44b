package redisstore

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-otp/caddy-otp/internal/redistest"
	"github.com/caddy-otp/caddy-otp/internal/store"
	"github.com/caddy-otp/caddy-otp/internal/store/storetest"
)

// A reply that belongs to another question is no answer.
func TestLoadGetsNoOtherAnswer(t *testing.T) {
	t.Parallel()
	s := opened(t, redistest.Start(t))
	key := storetest.NewKey()
	wantAll(t, s, key, nil)
	s.reads.master.AddHook(swapper{})
	if r, err := store.ReadRecord(t.Context(), s, key); !errors.Is(err, errMixedUp) {
		t.Errorf("%+v, %v", r, err)
	}
}

// swapper makes answers those of the question before.
type swapper struct{}

func (swapper) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (swapper) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (swapper) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		if echo, ok := cmds[0].(*redis.StringCmd); ok && echo.Err() == nil {
			echo.SetVal(strings.Repeat("x", len(echo.Val())))
		}
		return err
	}
}

// TestLoadTellsNoneFromEmpty: a subject without a record is one that nothing is known
// of; a record of nothing is corrupt.
func TestLoadTellsNoneFromEmpty(t *testing.T) {
	t.Parallel()
	addr := redistest.Start(t)
	s := opened(t, addr)
	key := storetest.NewKey()
	if r, err := store.ReadRecord(t.Context(), s, key); err != nil || len(r.Counters) > 0 {
		t.Errorf("none: %+v, %v", r, err)
	}
	if err := direct(t, addr).Set(t.Context(), s.recordKey(key.Subject), "", 0).Err(); err != nil {
		t.Fatal(err)
	}
	wantAll(t, s, key, store.ErrCorrupt)
}
