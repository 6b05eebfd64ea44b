package caddymodule_test

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// chromium is one browser for the scenarios of testdata/clients/chromium, each of
// which opens windows of its own in it.
type chromium struct {
	stdin io.WriteCloser

	mu      sync.Mutex
	waiting map[string]chan scenario
}

// scenario is how one came out.
type scenario struct {
	Scenario, Error string
	Steps           []string
}

func startChromium(t *testing.T) *chromium {
	t.Helper()
	need(t, "node", "chromium")
	executable, _ := exec.LookPath("chromium")
	cmd := exec.Command("node", "chromium/driver.mjs")
	cmd.Dir, cmd.Env, cmd.Stderr = clients, append(os.Environ(), "CHROMIUM="+executable), t.Output()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &chromium{stdin: stdin, waiting: make(map[string]chan scenario)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.read(stdout)
	}()
	t.Cleanup(func() {
		_ = stdin.Close() // on which it ends
		hurry := time.AfterFunc(patience, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
		defer hurry.Stop()
		<-ended
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// read hands out what the driver says, until it says no more.
func (c *chromium) read(stdout io.Reader) {
	lines := bufio.NewReader(stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		var s scenario
		if err := json.Unmarshal(line, &s); err != nil {
			continue
		}
		c.mu.Lock()
		if answer := c.waiting[s.Scenario]; answer != nil {
			answer <- s
		}
		c.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, answer := range c.waiting {
		select {
		case answer <- scenario{Scenario: name, Error: "the driver has ended"}:
		default:
		}
	}
}

// run runs a scenario to its end.
func (c *chromium) run(t *testing.T, name string, options map[string]string) {
	t.Helper()
	answer := make(chan scenario, 1)
	c.mu.Lock()
	c.waiting[name] = answer
	c.mu.Unlock()
	options["scenario"] = name
	line, err := json.Marshal(options)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.stdin.Write(append(line, '\n')); err != nil {
		t.Fatal(err)
	}
	select {
	case s := <-answer:
		for _, step := range s.Steps {
			t.Log(step)
		}
		if s.Error != "" {
			t.Error(s.Error)
		}
	case <-time.After(4 * patience):
		t.Error("the scenario does not end")
	}
}

// The scenarios of testdata/clients/chromium in a real browser: what people do, what
// may go wrong with it, and what all pages are like for who cannot see them. All of it
// on one Caddy, with two providers of different make.
func TestEndToEndChromium(t *testing.T) {
	t.Parallel()
	c, s := startChromium(t), newScenarioSite(t)
	for scenario, name := range map[string]string{
		"instruments": "what is looked for is found",

		"firstWalk":  "first sign-in to first elevation",
		"noScript":   "without JavaScript",
		"keyboard":   "keyboard only",
		"secondOP":   "oidc-provider",
		"secondOut":  "oidc-provider signs out",
		"twoIssuers": "two providers",

		"wrongCodes":      "wrong, replayed, locked, recovery",
		"lockedEnrolment": "too many wrong codes for a new factor",
		"mailedCodes":     "mailed codes",
		"recoverFactor":   "recovery code to a new factor",
		"removeFactor":    "removal of a factor",
		"nameWithMarkup":  "a name with HTML in it",

		"twoTabs":          "two tabs",
		"backAndReload":    "back and reload",
		"revokedEnrolment": "a session that is revoked during enrolment",
		"interruptedForm":  "a form before the step-up",
		"endedSession":     "a session that ends in the middle of a form",
		"signOut":          "sign-out",
		"backChannel":      "back-channel logout",

		"realErrors": "error pages, as one meets them",
		"allErrors":  "error pages, all of them",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.run(t, c, scenario)
		})
	}
	t.Run("screenshots", func(t *testing.T) {
		t.Parallel()
		testScreenshots(t, c, s)
	})
}
