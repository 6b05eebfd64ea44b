package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// crowd adds subjects to a Redis until there are as many as that: copies of one that
// has enrolled a device, under keys like its own. Nobody's token leads to them; they
// take memory, and make the table of keys as large as it is where there are many users.
func (l *lab) crowd(ctx context.Context, s *storage, subjects int) error {
	missing := subjects - len(s.devices) - s.crowd
	if missing <= 0 {
		return nil
	}
	l.say(" adding %d subjects to Redis", missing)
	client := redis.NewClient(&redis.Options{Addr: s.address})
	defer client.Close()
	name, record, err := anyRecord(ctx, client)
	if err != nil {
		return err
	}
	const batch = 10_000
	for done := 0; done < missing; done += batch {
		pipe := client.Pipeline()
		for range min(batch, missing-done) {
			other := keyLike(name)
			pipe.Set(ctx, other, strings.ReplaceAll(record, name, other), 0)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
	}
	s.crowd += missing
	return nil
}

// anyRecord returns a subject's record, and its key.
func anyRecord(ctx context.Context, client *redis.Client) (name, record string, err error) {
	keys := client.Scan(ctx, 0, "otp:{*}:*", 1000).Iterator()
	for keys.Next(ctx) {
		name = keys.Val()
		if strings.HasSuffix(name, ":canary") {
			continue
		}
		record, err = client.Get(ctx, name).Result()
		return name, record, err
	}
	if err := keys.Err(); err != nil {
		return "", "", err
	}
	return "", "", fmt.Errorf("no subject in Redis")
}

// keyLike draws another subject, and returns the key where its record would lie: in
// one of 256 places, as the store of package redisstore has them.
func keyLike(name string) string {
	prefix, _, _ := strings.Cut(name, "{")
	raw := make([]byte, (len(name)-strings.LastIndexByte(name, ':')-1)/2)
	rand.Read(raw) // never fails: it ends the program instead
	subject := hex.EncodeToString(raw)
	h := fnv.New32a()
	h.Write([]byte(subject)) // never fails
	return fmt.Sprintf("%s{%02x}:%s", prefix, h.Sum32()%256, subject)
}
