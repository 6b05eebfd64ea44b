package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseTraces(t *testing.T) {
	const text = `File: caddy
Type: cpu
Duration: 28s, Total samples = 7.92s (28.28%)
-----------+-------------------------------------------------------
      10ms   crypto/sha256.Sum256 (inline)
             github.com/caddy-otp/caddy-otp/internal/token.hashOf
             github.com/caddy-otp/caddy-otp/caddymodule.(*App).admit
             net/http.(*conn).serve
-----------+-------------------------------------------------------
     1.50s   runtime.scanObject
             runtime.gcBgMarkWorker
-----------+-------------------------------------------------------
      20ms   runtime.mallocgc
             net/http.Header.Clone (inline)
             github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy.cloneRequest
             net/http.(*conn).serve
-----------+-------------------------------------------------------
      10ms   runtime.futex
             runtime.schedule
-----------+-------------------------------------------------------
      30ms   syscall.Write
             github.com/redis/go-redis/v9/internal/pool.(*Conn).WithWriter
             github.com/caddy-otp/caddy-otp/internal/store/redisstore.(*trips).run
             github.com/caddy-otp/caddy-otp/internal/otp.(*Service).Recall
-----------+-------------------------------------------------------
`
	got, err := parseTraces([]byte(text))
	want := map[string]time.Duration{
		"the token": 10 * time.Millisecond, "garbage collection": 1500 * time.Millisecond, "proxying": 20 * time.Millisecond,
		noPart: 10 * time.Millisecond, "the storage": 30 * time.Millisecond, "all": 1570 * time.Millisecond,
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if _, err := parseTraces([]byte("-----------+---\n  a minute  runtime.futex\n")); err == nil {
		t.Error("what is no time was taken for one")
	}
}
