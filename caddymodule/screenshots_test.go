package caddymodule_test

import (
	"flag"
	"image/png"
	"os"
	"path/filepath"
	"testing"
)

var takeScreenshots = flag.Bool("screenshots", false, "write the pictures of the pages into docs/screenshots")

const screenshots = "../docs/screenshots"

// testScreenshots takes the pictures of the documentation, to a folder that is thrown
// away: whoever changes the pages so that they have another height takes new ones,
// with -screenshots.
func testScreenshots(t *testing.T, c *chromium, s *scenarioSite) {
	dir := t.TempDir()
	if *takeScreenshots {
		var err error
		if dir, err = filepath.Abs(screenshots); err != nil {
			t.Fatal(err)
		}
	}
	s.run(t, c, "screenshots", "user", "ada", "folder", dir)
	taken, err := filepath.Glob(filepath.Join(dir, "*.png"))
	if err != nil || len(taken) == 0 {
		t.Fatal("no pictures", err)
	}
	for _, picture := range taken {
		kept := filepath.Join(screenshots, filepath.Base(picture))
		width, height := pictureSize(t, kept)
		w, h := pictureSize(t, picture)
		const margin = 24 // pixels: a line, which other browsers may break elsewhere
		if w != width || h > height+margin || h < height-margin {
			t.Errorf("%s is %d by %d, and would be %d by %d: take new ones with -screenshots", kept, width, height, w, h)
		}
	}
	if kept, err := filepath.Glob(filepath.Join(screenshots, "*.png")); err != nil || len(kept) != len(taken) {
		t.Errorf("there are %d pictures, and would be %d; %v", len(kept), len(taken), err)
	}
}

// pictureSize is the width and height of a picture, which has to be small enough for
// a page of documentation.
func pictureSize(t *testing.T, path string) (width, height int) {
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
	return config.Width, config.Height
}
