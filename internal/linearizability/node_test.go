package linearizability

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/rpc"
	"os"
	"testing"
	"time"

	"github.com/caddy-otp/caddy-otp/internal/audit"
	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/seal"
	"github.com/caddy-otp/caddy-otp/internal/store"
	"github.com/caddy-otp/caddy-otp/internal/store/boltstore"
	"github.com/caddy-otp/caddy-otp/internal/store/redisstore"
)

// nodeEnv has the nodeConfig of this binary, run as a node.
const nodeEnv = "LINEARIZABILITY_NODE"

// nodeConfig is what a node stands on: one of the storages.
type nodeConfig struct {
	Bolt   string // path
	Redis  redisConfig
	Broken string // one of the broken storages, empty: none
}

// redisConfig are those of [redisstore.Options] that differ.
type redisConfig struct {
	Mode       redisstore.Mode
	Addresses  []string
	MasterName string
	Replicas   int
}

func TestMain(m *testing.M) {
	if text := os.Getenv(nodeEnv); text != "" {
		if err := serveNode(text); err != nil {
			fmt.Fprintln(os.Stderr, "node:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// serveNode answers on stdin and stdout until the parent closes them or ends.
func serveNode(text string) error {
	var config nodeConfig
	if err := json.Unmarshal([]byte(text), &config); err != nil {
		return err
	}
	storage, err := config.storage()
	if err != nil {
		return err
	}
	ring, err := seal.NewRing(make([]byte, seal.KeySize))
	if err != nil {
		return err
	}
	logger := slog.New(slog.DiscardHandler)
	outOfReach := store.NewLimits(1_000_000, 24*time.Hour, 24*time.Hour, 1_000_000)
	limits := outOfReach
	limits.Attempts = attempts
	node := &Node{otp.New(otp.Config{
		Digits: 8, Lifetime: time.Hour, Skew: 1, Devices: 5, Remembered: 100,
		Limits: limits, CredentialLimits: outOfReach,
	}, otp.Parts{
		Vault: otp.NewVault(storage, ring, logger), Ring: ring, Credentials: trusting{},
		Now: func() time.Time { return start }, Audit: audit.New(logger), Logger: logger,
	})}
	server := rpc.NewServer()
	if err := server.Register(node); err != nil {
		return err
	}
	server.ServeConn(stdio{os.Stdin, os.Stdout})
	return nil
}

// storage returns the one to test, behind delays.
func (c nodeConfig) storage() (s store.Storage, err error) {
	r := c.Redis
	if c.Bolt != "" {
		s = boltstore.New(c.Bolt)
	} else if s, err = redisstore.New(redisstore.Options{
		Mode: r.Mode, Addresses: r.Addresses, MasterName: r.MasterName, Replicas: r.Replicas, Timeout: stepTimeout,
	}); err != nil {
		return nil, err
	}
	broken, exists := brokenStorages[c.Broken]
	switch {
	case exists:
		s = broken(s)
	case c.Broken != "":
		return nil, fmt.Errorf("no broken storage %q", c.Broken)
	}
	return delayed{s}, nil
}

// start is the time on all nodes.
var start = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// stepTimeout is how long a step on Redis may take.
const stepTimeout = 400 * time.Millisecond

// delayed has the steps of several callers meet in more ways: others come between
// two of a verification, seldom many.
type delayed struct{ store.Storage }

func (d delayed) Apply(ctx context.Context, k store.Key, c store.Change) (*store.Outcome, error) {
	longest := 3 * time.Millisecond
	if rand.N(4) == 0 {
		longest *= 10
	}
	time.Sleep(rand.N(longest))
	return d.Storage.Apply(ctx, k, c)
}

// trusting takes every PIN.
type trusting struct{}

func (trusting) Check(context.Context, otp.Credential) (bool, error) { return true, nil }

type stdio struct {
	io.Reader
	io.Writer
}

func (stdio) Close() error { return nil }

// Node is what the parent calls.
type Node struct{ service *otp.Service }

// Request is one operation of a caller.
type Request struct {
	Do      kind
	Subject string
	Session string
	Code    string
	Wide    bool
}

// verify is a kind of request that is two kinds of steps.
const verify kind = "verify"

// Reply is what the caller is told.
type Reply struct {
	// Unavailable tells that nothing is known.
	Unavailable bool
	// Reason of the rejection of a guess, empty if it was right.
	Reason string
	// Refused tells that there was no elevation to spend.
	Refused bool
	// Code that was made.
	Code string
	// Of show.
	Account, TOTP int
	Locked        bool
	Sessions      []string
}

// Do is one operation. Its error is one that no caller should ever be told.
func (n *Node) Do(q Request, reply *Reply) (err error) {
	var r Reply // net/rpc would send what an error leaves
	defer func() {
		if errors.Is(err, otp.ErrUnavailable) {
			r, err = Reply{Unavailable: true}, nil
		}
		*reply = r
	}()
	ctx := context.Background()
	who := otp.Caller{Subject: otp.Subject{Issuer: "https://id.example.com", ID: q.Subject}, Session: q.Session}
	switch q.Do {
	case create:
		r.Code, _, err = n.service.CreateCode(ctx, who, "", "0000")
	case unlock:
		err = n.service.Unlock(ctx, who.Subject)
	case revoke:
		err = n.service.Revoke(ctx, who.Subject)
	case spend:
		_, err = n.service.Spend(ctx, who, []otp.Type{otp.Account})
		if errors.Is(err, otp.ErrNoElevation) {
			r.Refused, err = true, nil
		}
	case verify:
		types := []otp.Type{otp.Account}
		if q.Wide {
			types = append(types, otp.TOTP)
		}
		_, err = n.service.Verify(ctx, who, q.Code, types, otp.ElevateUnspent)
		var rejection *otp.Rejection
		if errors.As(err, &rejection) {
			r.Reason, err = rejection.Reason, nil
		}
	case show:
		var info otp.SubjectInfo
		info, err = n.service.Show(ctx, who.Subject)
		r.Account, r.TOTP, r.Locked = info.WrongCodes[string(otp.Account)], info.WrongCodes[string(otp.TOTP)], !info.LockedUntil.IsZero()
		for _, e := range info.Elevations {
			r.Sessions = append(r.Sessions, e.Session)
		}
	default:
		err = fmt.Errorf("no operation %q", q.Do)
	}
	return err
}
