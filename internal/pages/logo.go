package pages

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// largestLogo keeps pages small: they carry the logo.
const largestLogo = 8 << 10

// readLogo returns the image of a file as a data: URI (RFC 2397).
func readLogo(path string) (template.URL, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	image, err := io.ReadAll(io.LimitReader(file, largestLogo+1))
	if err != nil {
		return "", err
	}
	if len(image) > largestLogo {
		return "", fmt.Errorf("%s is larger than %d bytes", path, largestLogo)
	}
	mediaType, err := imageType(filepath.Ext(path), image)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return template.URL("data:" + mediaType + ";base64," + base64.StdEncoding.EncodeToString(image)), nil
}

// imageType tells what an image is. Ending and content have to agree: browsers
// show nothing else.
func imageType(ending string, image []byte) (string, error) {
	known := map[string]string{".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".gif": "image/gif"}
	named, ok := known[strings.ToLower(ending)]
	if !ok {
		return "", errors.New("not a file that ends in .svg, .png, .jpg, .jpeg, .webp or .gif")
	}
	is := http.DetectContentType(image)
	if bytes.Contains(image, []byte("<svg")) && strings.HasPrefix(is, "text/") {
		is = "image/svg+xml"
	}
	if is != named {
		return "", fmt.Errorf("not an image of type %s", named)
	}
	return named, nil
}
