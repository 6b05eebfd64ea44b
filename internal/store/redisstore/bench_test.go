package redisstore

import (
	"testing"

	"github.com/caddy-otp/caddy-otp/internal/redistest"
	"github.com/caddy-otp/caddy-otp/internal/store/storetest"
)

func BenchmarkStorage(b *testing.B) { storetest.Bench(b, opened(b, redistest.Start(b))) }
