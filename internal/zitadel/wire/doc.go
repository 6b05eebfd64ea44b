// Package wire has the messages of Zitadel's TOTP registration API. It is made
// from zitadel.proto; make generate makes it anew.
package wire

//go:generate go run -modfile=../../../.ci/tools.mod generate.go
