//go:build ignore

// Generate makes zitadel.pb.go from zitadel.proto. It stands in for protoc, so
// that Go's own tools are all that it takes, in the versions of .ci/tools.mod.
package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"os"
	"os/exec"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/pluginpb"
)

const (
	source = "zitadel.proto"
	target = "zitadel.pb.go"
	// registered is the name that protobuf's registry knows the file by.
	registered = "caddyotp/zitadel/v1/zitadel.proto"
)

func main() {
	if err := generate(); err != nil {
		log.Fatal(err)
	}
}

func generate() error {
	request, err := compile()
	if err != nil {
		return err
	}
	in, err := proto.Marshal(request)
	if err != nil {
		return err
	}
	plugin := exec.Command("go", "tool", "-modfile=../../../.ci/tools.mod", "protoc-gen-go")
	plugin.Stdin, plugin.Stderr = bytes.NewReader(in), os.Stderr
	out, err := plugin.Output()
	if err != nil {
		return err
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(out, &response); err != nil {
		return err
	}
	if response.Error != nil {
		return errors.New(response.GetError())
	}
	return os.WriteFile(target, []byte(response.File[0].GetContent()), 0o644)
}

// compile returns what protoc hands to its plugins: the file to generate, after
// all that it imports.
func compile() (*pluginpb.CodeGeneratorRequest, error) {
	compiler := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{
			Accessor: func(name string) (io.ReadCloser, error) {
				if name != registered {
					return nil, os.ErrNotExist // it is one of the standard ones
				}
				return os.Open(source)
			},
		}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(context.Background(), registered)
	if err != nil {
		return nil, err
	}
	request := &pluginpb.CodeGeneratorRequest{FileToGenerate: []string{registered}}
	imports := files[0].Imports()
	for i := range imports.Len() {
		request.ProtoFile = append(request.ProtoFile, protoutil.ProtoFromFileDescriptor(imports.Get(i).FileDescriptor))
	}
	request.ProtoFile = append(request.ProtoFile, protoutil.ProtoFromFileDescriptor(files[0]))
	return request, nil
}
