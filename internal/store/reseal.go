package store

import "bytes"

// Reseal exchanges sealed values for the same under another key, each only where it
// is still the one that was opened: what came meanwhile stays.
type Reseal struct {
	// Factors by id, Credentials by kind, Sessions by the hash of their id.
	Factors     map[string]Resealed `json:"factors,omitempty"`
	Credentials map[string]Resealed `json:"credentials,omitempty"`
	Sessions    map[string]Resealed `json:"sessions,omitempty"`
}

// Resealed is a value under the key that it was sealed with, and under another.
type Resealed struct {
	From []byte `json:"from"`
	To   []byte `json:"to"`
}

func (r *Record) reseal(c Reseal) {
	for id, value := range c.Factors {
		if f, exists := r.Factors[id]; exists && bytes.Equal(f.Secret, value.From) {
			f.Secret = value.To
			r.Factors[id] = f
		}
	}
	for kind, value := range c.Credentials {
		if hash, exists := r.Credentials[kind]; exists && bytes.Equal(hash, value.From) {
			r.Credentials[kind] = value.To
		}
	}
	for id, value := range c.Sessions {
		if s, exists := r.Sessions[id]; exists && bytes.Equal(s.Data, value.From) {
			s.Data = value.To
			r.Sessions[id] = s
		}
	}
}
