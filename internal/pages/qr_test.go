package pages

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/boombuler/barcode/qr"
)

// drawn returns the dark modules of a code's SVG.
func drawn(t *testing.T, page string) map[[2]int]bool {
	t.Helper()
	path := parsed(t, page).all("path")
	if len(path) != 1 {
		t.Fatalf("%d paths", len(path))
	}
	modules, x, y := make(map[[2]int]bool), 0, 0
	for _, step := range regexp.MustCompile(`M(\d+) (\d+)\.5|m(\d+) 0|h(\d+)`).FindAllStringSubmatch(path[0].get("d"), -1) {
		number := func(i int) int { n, _ := strconv.Atoi(step[i]); return n }
		switch step[0][0] {
		case 'M':
			x, y = number(1), number(2)
		case 'm':
			x += number(3)
		case 'h':
			for range number(4) {
				modules[[2]int{x, y}] = true
				x++
			}
		}
	}
	return modules
}

// The SVG has the modules that the encoder made.
func TestQR(t *testing.T) {
	for _, text := range []string{
		"a", "otpauth://totp/Example:ada@example.com?algorithm=SHA1&digits=6&issuer=Example&period=30&secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
		strings.Repeat("ä", 200), `"/><script>`,
	} {
		page, err := QR(text)
		if err != nil {
			t.Fatal(err)
		}
		code, err := qr.Encode(text, qr.L, qr.Auto)
		if err != nil {
			t.Fatal(err)
		}
		modules, edge, count := drawn(t, string(page)), code.Bounds().Dx(), 0
		for y := range edge {
			for x := range edge {
				r, _, _, _ := code.At(x, y).RGBA()
				if dark := r == 0; dark != modules[[2]int{x + quiet, y + quiet}] {
					t.Fatalf("%.20q: module %d, %d", text, x, y)
				} else if dark {
					count++
				}
			}
		}
		if len(modules) != count {
			t.Errorf("%.20q: %d modules, want %d", text, len(modules), count)
		}
		svg := parsed(t, string(page)).all("svg")[0]
		if size := fmt.Sprint(edge + 2*quiet); svg.get("viewBox") != "0 0 "+size+" "+size || svg.get("role") != "img" || svg.get("aria-label") == "" {
			t.Errorf("%.20q: %v", text, svg.Attr)
		}
		if width, err := strconv.Atoi(svg.get("width")); err != nil || width%(edge+2*quiet) != 0 {
			t.Errorf("%.20q: modules are not whole pixels: %d", text, width)
		}
		if strings.Contains(string(page), "script") {
			t.Error("the text is in the SVG")
		}
	}
	if _, err := QR(strings.Repeat("a", 3000)); err == nil {
		t.Error("a text that is too long is drawn")
	}
}
