package redisstore

import (
	"testing"

	"github.com/caddy-otp/caddy-otp/internal/redistest"
	"github.com/caddy-otp/caddy-otp/internal/store/storetest"
)

func TestRedisTellsOtherNodes(t *testing.T) {
	addr := redistest.Start(t)
	storetest.Watch(t, opened(t, addr), opened(t, addr))
}

// While there is no subscription, nothing may be cached.
func TestRedisTellsWhenNewsMayBeMissed(t *testing.T) {
	server := redistest.New(t)
	s := opened(t, server.Addr)
	news := storetest.NewNews()
	go s.Watch(t.Context(), news)
	news.Await(t, true)
	server.Kill()
	news.Await(t, false)
	server.Restart()
	news.Await(t, true)

	// A server that hangs says nothing, and closes nothing.
	server.Pause()
	news.Await(t, false)
	server.Resume()
	news.Await(t, true)
}
