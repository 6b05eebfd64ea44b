package boltstore

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-otp/caddy-otp/internal/store"
	"github.com/caddy-otp/caddy-otp/internal/store/storetest"
)

// crashEnv names the file on which this binary, run as a child, makes steps.
const crashEnv = "BOLTSTORE_CRASH_TEST"

func TestMain(m *testing.M) {
	if path := os.Getenv(crashEnv); path != "" {
		if err := payForever(path); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

var crashKey = store.Key{Subject: "subject", Canary: storetest.Canary.Fingerprint}

// payForever prints the count after each attempt that was answered for.
func payForever(path string) error {
	s := New(path)
	if _, err := s.Canary(context.Background(), storetest.Canary); err != nil {
		return err
	}
	for {
		a := attempt(now)
		a.Limits.Attempts, a.Limits.Cap = 1_000_000, 1_000_000
		p, err := s.Pay(context.Background(), crashKey, a)
		if err != nil {
			return err
		}
		fmt.Println(p.Record.Counters["totp"].Total)
	}
}

// TestKill: a process that is killed in the middle of it all refunds nothing
// that it had answered for, and leaves a file that opens.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "otp.db")
	for round := range 8 {
		answered := payUntilKilled(t, path, 10+7*round)

		s := opened(t, path)
		r, err := store.ReadRecord(t.Context(), s, crashKey)
		if err != nil {
			t.Fatal(err)
		}
		stored := r.Counters["totp"].Total
		if stored < answered || stored > answered+1 { // the one that it was at may have happened
			t.Fatalf("round %d: %d attempts are stored, %d were answered for", round, stored, answered)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// payUntilKilled lets a child make steps, kills it after some of them, and
// returns the last count that it printed.
func payUntilKilled(t *testing.T, path string, steps int) (answered int) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), crashEnv+"="+path)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for i := 0; ; i++ {
		if i == steps {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		line, err := lines.ReadString('\n')
		if err != nil { // what it printed before it was killed has been read
			break
		}
		n, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			t.Fatalf("child: %s", line)
		}
		answered = n
	}
	_ = child.Wait() // it was killed
	return answered
}
