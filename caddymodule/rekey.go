package caddymodule

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

const rekeyPath = "/otp/rekey"

// rekeyInfo is what sealing everything anew came to.
type rekeyInfo struct {
	Records    int `json:"records"`
	Resealed   int `json:"resealed"`
	Unreadable int `json:"unreadable"`
}

// rekeyHandler seals everything anew under the first key. It answers when it is
// done; whoever does not wait ends it, and may begin again.
func rekeyHandler(w http.ResponseWriter, r *http.Request) error {
	if err := checkPost(w, r); err != nil {
		return err
	}
	app, err := runningApp()
	if err != nil {
		return err
	}
	done, err := app.service.Rekey(r.Context())
	if err != nil {
		return adminError(fmt.Errorf("after %d records: %w", done.Records, err))
	}
	return writeAnswer(w, rekeyInfo(done))
}

func rekeyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rekey", Short: "Seals everything anew under the first `key`, while Caddy runs", Args: cobra.NoArgs,
		Long: `
Seals the secrets of factors, the hashes of PINs and passwords, and sessions anew
under the first key of the configuration, while Caddy runs. Prints how many records
there are, how many had something under an older key, and in how many something
opens with no key: if there are any, it fails, and they stay as they are.

Run it once, on one node, when all nodes have the new key first. Then the old key
may be removed.`,
	}
	addressFlags(cmd)
	cmd.RunE = caddycmd.WrapCommandFuncForCobra(func(fl caddycmd.Flags) (int, error) {
		if err := runRekey(fl, os.Stdout); err != nil {
			return caddy.ExitCodeFailedStartup, err
		}
		return caddy.ExitCodeSuccess, nil
	})
	return cmd
}

func runRekey(fl caddycmd.Flags, out io.Writer) error {
	answer, err := postToAdmin(fl, rekeyPath, nil)
	if err != nil {
		return err
	}
	var done rekeyInfo
	if err := json.Unmarshal(answer, &done); err != nil {
		return errNotAdminAPI
	}
	if err := printAnswer(out, answer); err != nil {
		return err
	}
	if done.Unreadable > 0 {
		return fmt.Errorf("there is something that no key opens, in so many records: %d; Caddy's log names them: put the old key back", done.Unreadable)
	}
	return nil
}
