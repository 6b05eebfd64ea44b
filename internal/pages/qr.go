package pages

import (
	"fmt"
	"html/template"
	"image/color"
	"strings"

	"github.com/boombuler/barcode"
	"github.com/boombuler/barcode/qr"
)

const (
	quiet   = 4   // modules of white on each side, that a reader needs (ISO/IEC 18004, section 9.1)
	qrWidth = 280 // pixels at most, unless a module would be less than 2: what a phone of 320 has room for
)

// QR draws a QR code as SVG, dark on white whatever the page's colours are, which
// readers need. The error is that the text is too long.
func QR(text string) (template.HTML, error) {
	// The lowest level of correction: nothing wears off a screen, and fewer modules
	// are larger ones.
	code, err := qr.Encode(text, qr.L, qr.Auto)
	if err != nil {
		return "", fmt.Errorf("qr code: %w", err)
	}
	size := code.Bounds().Dx() + 2*quiet
	width := size * max(2, qrWidth/size) // whole pixels a module
	return template.HTML(fmt.Sprintf(`<svg class="qr" role="img" aria-label="QR code" width="%[2]d" height="%[2]d" viewBox="0 0 %[1]d %[1]d" shape-rendering="crispEdges">`+
		`<rect width="100%%" height="100%%" fill="#fff"/><path stroke="#000" d="%[3]s"/></svg>`, size, width, runs(code))), nil
}

// runs are the dark modules as the strokes of a path: one for each run in a line.
func runs(code barcode.Barcode) string {
	var b strings.Builder
	edge := code.Bounds().Dx()
	for y := range edge {
		pen := -1 // where the pen is in this line: relative moves are shorter
		for x := 0; x < edge; x++ {
			if !dark(code, x, y) {
				continue
			}
			from := x
			for x < edge && dark(code, x, y) {
				x++
			}
			if pen < 0 {
				fmt.Fprintf(&b, "M%d %d.5", from+quiet, y+quiet)
			} else {
				fmt.Fprintf(&b, "m%d 0", from-pen)
			}
			fmt.Fprintf(&b, "h%d", x-from)
			pen = x
		}
	}
	return b.String()
}

func dark(code barcode.Barcode, x, y int) bool {
	return color.GrayModel.Convert(code.At(x, y)) == color.Gray{}
}
