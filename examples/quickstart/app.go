package main

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// app is what stands behind Caddy: it knows nothing of tokens and one-time
// passwords, and greets with what it was told of the user.
func app(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, "Hello from the app: %s %s\n", r.Method, r.URL.Path)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		if strings.HasPrefix(name, "Remote-") {
			fmt.Fprintf(w, "%s: %s\n", name, strings.Join(r.Header[name], ", "))
		}
	}
}
