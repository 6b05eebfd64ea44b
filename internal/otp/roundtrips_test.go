package otp_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/otptest"
	"github.com/caddy-otp/caddy-otp/internal/redistest"
	"github.com/caddy-otp/caddy-otp/internal/store/redisstore"
)

// TestRoundTrips: what waits for Redis waits as seldom as can be. A guess is paid for
// before it is judged, and only a right one is spent.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	meter := newMeter(t, redistest.Start(t))
	storage, err := redisstore.New(redisstore.Options{Addresses: []string{meter.addr}, Timeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = storage.Close() })
	clock := otptest.NewClock(time.Now())
	service := otptest.NewService(t, otptest.Config(), storage, nil, nil, clock)
	who := otp.Caller{Subject: otp.Subject{Issuer: "https://id.example.com", ID: "user"}, Session: "session", AuthTime: clock.Now()}
	ctx := context.Background()
	_, secret, err := service.AddDevice(ctx, who, "", otp.Authority{})
	if err != nil {
		t.Fatal(err)
	}
	guess := func(who otp.Caller, code string) error {
		_, err := service.Verify(ctx, who, code, []otp.Type{otp.DeviceTOTP, otp.Account}, otp.ElevateUnspent)
		return err
	}
	right := func() error {
		clock.Advance(time.Minute)
		code, err := totp.GenerateCode(secret, clock.Now())
		if err != nil {
			return err
		}
		return guess(who, code)
	}
	rejected := func(err error) error {
		if r := (*otp.Rejection)(nil); errors.As(err, &r) {
			return nil
		}
		return errors.Join(errors.New("not a rejection"), err)
	}

	// Once the server has the scripts, and the subjects' places are not new.
	nobody := who
	nobody.Subject.ID = "nobody"
	for _, c := range []otp.Caller{who, nobody} {
		if _, err := service.Standing(ctx, c); err != nil {
			t.Fatal(err)
		}
		if err := rejected(guess(c, "wrong")); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name string
		want int64
		do   func() error
	}{
		{"a look", 1, func() error { _, err := service.Standing(ctx, who); return err }},
		{"a wrong code", 1, func() error { return rejected(guess(who, "wrong")) }},
		{"a right code", 2, right},
		{"spending the elevation", 1, func() error { _, err := service.Spend(ctx, who, []otp.Type{otp.DeviceTOTP}); return err }},
		{"an unknown user", 1, func() error { return rejected(guess(nobody, "000000")) }},
	} {
		before := meter.roundTrips.Load()
		if err := test.do(); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if got := meter.roundTrips.Load() - before; got != test.want {
			t.Errorf("%s: %d round trips, want %d", test.name, got, test.want)
		}
	}
}

// meter stands between clients and a server, and counts how often they wait for it:
// how often a client speaks after the server did. What is sent in one go counts once.
type meter struct {
	addr       string
	roundTrips atomic.Int64
}

func newMeter(t *testing.T, server string) *meter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	m := &meter{addr: l.Addr().String()}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go m.serve(client, server)
		}
	}()
	return m
}

// serve passes on what client and server say to each other, until one has enough.
func (m *meter) serve(client net.Conn, addr string) {
	defer client.Close()
	server, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer server.Close()
	var asked atomic.Bool // and not answered yet
	var done sync.WaitGroup
	done.Go(func() {
		defer server.Close()
		_, _ = io.Copy(server, heard{client, func() {
			if !asked.Swap(true) {
				m.roundTrips.Add(1)
			}
		}})
	})
	done.Go(func() {
		defer client.Close()
		_, _ = io.Copy(client, heard{server, func() { asked.Store(false) }})
	})
	done.Wait()
}

// heard calls back whenever something was read, before it is passed on.
type heard struct {
	io.Reader
	callback func()
}

func (h heard) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	if n > 0 {
		h.callback()
	}
	return n, err
}
