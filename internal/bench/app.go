package main

import (
	"io"
	"net/http"
	"time"
)

// appCommand makes this program the app behind Caddy, in a process of its own.
const appCommand = "serve-app"

// serveApp answers every request with a short 200, as fast as net/http can. So
// whatever a proxy costs shows as much as it ever will: a real app takes longer, and
// the proxy's part of it all is smaller.
func serveApp(address string) error {
	app := http.NewServeMux()
	app.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello\n") })
	server := &http.Server{Addr: address, Handler: app, ReadHeaderTimeout: 10 * time.Second}
	return server.ListenAndServe()
}
