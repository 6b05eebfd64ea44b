package wire

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

var (
	comments   = regexp.MustCompile(`(?m)^\s*//.*\n`)
	blankLines = regexp.MustCompile(`\n\n+`)
)

// TestGenerated holds the code to the file that it is made from.
func TestGenerated(t *testing.T) {
	source, err := os.ReadFile("zitadel.proto")
	if err != nil {
		t.Fatal(err)
	}
	bare := blankLines.ReplaceAllString(comments.ReplaceAllString(string(source), ""), "\n")
	if diff := cmp.Diff(bare, text(File_caddyotp_zitadel_v1_zitadel_proto)); diff != "" {
		t.Errorf("zitadel.proto, and what zitadel.pb.go was made from; run make generate:\n%s", diff)
	}
}

// text writes a file of plain messages as zitadel.proto is written.
func text(f protoreflect.FileDescriptor) string {
	var b strings.Builder
	fmt.Fprintf(&b, "syntax = %q;\npackage %s;\n", f.Syntax().String(), f.Package())
	for i := range f.Imports().Len() {
		fmt.Fprintf(&b, "import %q;\n", f.Imports().Get(i).Path())
	}
	fmt.Fprintf(&b, "option go_package = %q;\n", f.Options().(*descriptorpb.FileOptions).GetGoPackage())
	for i := range f.Messages().Len() {
		message := f.Messages().Get(i)
		fmt.Fprintf(&b, "message %s {\n", message.Name())
		for j := range message.Fields().Len() {
			field := message.Fields().Get(j)
			fmt.Fprintf(&b, "  %s %s = %d;\n", typeOf(field), field.Name(), field.Number())
		}
		b.WriteString("}\n")
	}
	return b.String()
}

func typeOf(field protoreflect.FieldDescriptor) string {
	if field.Kind() != protoreflect.MessageKind {
		return field.Kind().String()
	}
	name := string(field.Message().FullName())
	return strings.TrimPrefix(name, string(field.ParentFile().Package())+".")
}
