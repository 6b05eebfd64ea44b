package caddymodule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-otp/caddy-otp/internal/otp"
	"github.com/caddy-otp/caddy-otp/internal/seal"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "otp",
		Usage: "<command>",
		Short: "Manages one-time passwords, factors and keys",
		Long: `
Looks at, and changes, what a running Caddy keeps of one subject: a user, named
by issuer and subject as in the user's tokens; and takes care of its keys. It talks
to Caddy's admin API.

Secrets are read from standard input, never from arguments.`,
		CobraFunc: func(cmd *cobra.Command) {
			// With these a misspelt command fails, instead of ending well with a help text.
			cmd.Args = cobra.NoArgs
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
			cmd.AddCommand(
				subjectCommand("show", "Prints what is known of a subject, as JSON", ""),
				subjectCommand("set-pin", "Sets a subject's PIN, read from standard input", otp.PIN),
				subjectCommand("set-password", "Sets a subject's password, read from standard input", otp.Password),
				subjectCommand("unlock", "Ends a subject's locks, and has all counts start anew", ""),
				subjectCommand("revoke", "Ends a subject's elevations and browser sessions, on all nodes", ""),
				subjectCommand("reset", "Removes a subject's factors, codes, recovery codes, sessions, elevations and counts", ""),
				rekeyCommand(),
				keygenCommand(),
			)
		},
	})
}

// subjectCommand is a command that does one thing of the admin API. Reads names
// what it reads from standard input, if anything.
func subjectCommand(name, short string, reads otp.Kind) *cobra.Command {
	cmd := &cobra.Command{Use: name + " --issuer <url> --subject <sub>", Short: short, Args: cobra.NoArgs}
	cmd.Flags().String("issuer", "", "The issuer, as in the tokens' iss; with the option subject, its realm")
	cmd.Flags().String("subject", "", "The subject, as in the tokens' sub")
	addressFlags(cmd)
	_ = cmd.MarkFlagRequired("issuer") // they are defined above
	_ = cmd.MarkFlagRequired("subject")
	cmd.RunE = caddycmd.WrapCommandFuncForCobra(func(fl caddycmd.Flags) (int, error) {
		if err := runSubjectCommand(fl, name, reads); err != nil {
			return caddy.ExitCodeFailedStartup, err
		}
		return caddy.ExitCodeSuccess, nil
	})
	return cmd
}

// addressFlags are those of Caddy's own commands that talk to the admin API.
func addressFlags(cmd *cobra.Command) {
	cmd.Flags().StringP("address", "", "", "The address of the admin API endpoint, if not the default")
	cmd.Flags().StringP("config", "c", "", "Configuration file to use to find the admin address, if --address is not set")
	cmd.Flags().StringP("adapter", "a", "", "Name of config adapter to apply (when --config is used)")
}

func runSubjectCommand(fl caddycmd.Flags, name string, reads otp.Kind) error {
	query := adminRequest{Issuer: fl.String("issuer"), Subject: fl.String("subject")}
	if reads != "" {
		secret, err := readSecret(os.Stdin, reads)
		if err != nil {
			return err
		}
		if reads == otp.PIN {
			query.PIN = secret
		} else {
			query.Password = secret
		}
	}
	body, err := json.Marshal(query)
	if err != nil {
		return err
	}
	answer, err := postToAdmin(fl, subjectsPath+name, body)
	if err != nil {
		return err
	}
	return printAnswer(os.Stdout, answer)
}

// postToAdmin sends a request to the admin API that the flags name, and returns the
// body of the answer.
func postToAdmin(fl caddycmd.Flags, path string, body []byte) ([]byte, error) {
	address, err := caddycmd.DetermineAdminAPIAddress(fl.String("address"), nil, fl.String("config"), fl.String("adapter"))
	if err != nil {
		return nil, fmt.Errorf("finding the admin API: %w", err)
	}
	answer, err := caddycmd.AdminAPIRequest(address, http.MethodPost, path, nil, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	return io.ReadAll(answer.Body)
}

// readSecret reads one line.
func readSecret(in io.Reader, kind otp.Kind) (string, error) {
	text, err := io.ReadAll(io.LimitReader(in, maxCredential+2))
	if err != nil {
		return "", err
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if !utf8.ValidString(secret) {
		return "", fmt.Errorf("the %s is not UTF-8", kind)
	}
	if secret == "" || strings.Contains(secret, "\n") {
		return "", fmt.Errorf("write the %s, and nothing else, to standard input", kind)
	}
	return secret, nil
}

// printAnswer prints JSON with indentation; an empty answer prints nothing.
func printAnswer(out io.Writer, answer []byte) error {
	if len(answer) == 0 {
		return nil
	}
	var pretty bytes.Buffer
	if json.Indent(&pretty, answer, "", "  ") != nil {
		return errNotAdminAPI
	}
	_, err := pretty.WriteTo(out)
	return err
}

var errNotAdminAPI = errors.New("the answer is not JSON: is this address the admin API?")

func keygenCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "keygen",
		Short: "Prints a new key for the option `key`, in base64",
		Args:  cobra.NoArgs,
		RunE: caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) {
			fmt.Println(seal.EncodeKey(seal.NewKey()))
			return caddy.ExitCodeSuccess, nil
		}),
	}
}
