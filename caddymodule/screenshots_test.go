package caddymodule_test

import (
	"flag"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/caddy-otp/caddy-otp/internal/pages"
)

var takeScreenshots = flag.Bool("screenshots", false, "write the pictures of the pages into docs/screenshots")

const screenshots = "../docs/screenshots"

// The pictures in the documentation are of the pages as they are: whoever changes
// those takes new ones, with -screenshots. Without, they are taken all the same, to
// a folder that is thrown away.
func TestEndToEndScreenshots(t *testing.T) {
	t.Parallel()
	c, h := startChromium(t), newTheatre(t)
	dir := t.TempDir()
	if *takeScreenshots {
		var err error
		if dir, err = filepath.Abs(screenshots); err != nil {
			t.Fatal(err)
		}
	}
	h.play(t, c, "screenshots", "user", "ada", "folder", dir)
	taken, err := filepath.Glob(filepath.Join(dir, "*.png"))
	if err != nil || len(taken) == 0 {
		t.Fatal("no pictures", err)
	}
	for _, picture := range taken {
		kept := filepath.Join(screenshots, filepath.Base(picture))
		if got, want := pictureSize(t, kept), pictureSize(t, picture); got != want {
			t.Errorf("%s is %v, and would be %v: take new ones with -screenshots", kept, got, want)
		}
	}
	if kept, _ := filepath.Glob(filepath.Join(screenshots, "*.png")); len(kept) != len(taken) {
		t.Errorf("there are %d pictures, and would be %d", len(kept), len(taken))
	}
}

// pictureSize is the width and height of a picture, which must be small enough for
// a README.
func pictureSize(t *testing.T, path string) (size [2]int) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	const most = 60_000 // bytes
	if info, err := file.Stat(); err != nil || info.Size() > most {
		t.Errorf("%s has %d bytes, %v", path, info.Size(), err)
	}
	config, err := png.DecodeConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	return [2]int{config.Width, config.Height}
}

// brokenPages serves the pages that say what is wrong, by their kind: some of them
// take more than a browser to get to see.
func brokenPages(t *testing.T) (url string) {
	t.Helper()
	p, err := pages.New(pages.Options{Title: "Example"})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.Error(w, r, http.StatusOK, pages.Error{
			Kind: pages.ErrorKind(r.URL.Path[1:]), RetryURL: "/", Missing: r.URL.Query()["missing"], RequestID: "d3a1m8k2q0fg6t1v9e7r",
		})
	}))
	t.Cleanup(server.Close)
	return server.URL
}
