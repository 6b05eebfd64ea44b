package redisstore

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/redis/go-redis/v9"
)

// logTo has go-redis log here instead of to standard error. It has one logger
// for the whole process: the newest store's. What it says repeats the errors
// that operations return, so that it is of use for debugging only.
func logTo(logger *slog.Logger) { redis.SetLogger(debugLog{logger}) }

type debugLog struct{ logger *slog.Logger }

// Printf implements go-redis' logger.
func (l debugLog) Printf(ctx context.Context, format string, args ...any) {
	if l.logger.Enabled(ctx, slog.LevelDebug) {
		l.logger.DebugContext(ctx, fmt.Sprintf(format, args...))
	}
}
