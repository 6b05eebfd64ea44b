package zitadel

import (
	"bytes"
	"encoding/json"
	"errors"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"connectrpc.com/connect"
)

// codec is the JSON form of the messages in all protocols: Protobuf's, with any
// field that is not known left out. Unlike Connect's own it never repeats in an
// error what was sent, which may be a code, and its output has no stray spaces.
type codec struct{ name string }

// The names of JSON in content types, as Connect has them.
var (
	jsonCodec        = codec{"json"}
	jsonCodecCharset = codec{"json; charset=utf-8"}
)

var errMessage = errors.New("the message is not the JSON form of its type")

// Name returns the name of the codec in content types.
func (c codec) Name() string { return c.name }

// Marshal writes a message.
func (codec) Marshal(message any) ([]byte, error) {
	m, ok := message.(proto.Message)
	if !ok {
		return nil, errMessage
	}
	spaced, err := protojson.Marshal(m)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = json.Compact(&b, spaced)
	return b.Bytes(), err
}

// Unmarshal reads a message.
func (codec) Unmarshal(data []byte, message any) error {
	m, ok := message.(proto.Message)
	if !ok || (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(data, m) != nil {
		return errMessage
	}
	return nil
}

// Interface guards
var _ connect.Codec = codec{}
