package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// envelope is what the host posts for a trigger that is not proxied HTTP.
type envelope struct {
	Data     map[string]json.RawMessage
	Metadata map[string]json.RawMessage
}

// maxEnvelope bounds a request: a CSV of 10 MB in base64, and room.
const maxEnvelope = 64 << 20

func readEnvelope(r *http.Request) (envelope, error) {
	var e envelope
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxEnvelope))
	if err == nil {
		err = json.Unmarshal(body, &e)
	}
	if err != nil {
		return envelope{}, fmt.Errorf("read envelope: %w", err)
	}
	return e, nil
}

// text reads a Metadata value that is a string: on the wire a JSON string that holds a JSON string
// (ScriptInvocationContextExtensions.GetHttpScriptInvocationContextValue). Older hosts send it
// singly encoded.
func (e envelope) text(key string) (string, error) {
	raw, ok := e.Metadata[key]
	if !ok {
		for k, v := range e.Metadata { // the host's dictionaries ignore case
			if strings.EqualFold(k, key) {
				raw, ok = v, true
			}
		}
	}
	if !ok {
		return "", fmt.Errorf("metadata %s is missing", key)
	}
	var outer, inner string
	if err := json.Unmarshal(raw, &outer); err != nil {
		return "", fmt.Errorf("metadata %s: %w", key, err)
	}
	if json.Unmarshal([]byte(outer), &inner) == nil {
		return inner, nil
	}
	return outer, nil
}

// octets reads a Data value of a binding with dataType binary: base64 in a JSON string.
func (e envelope) octets(binding string) ([]byte, error) {
	raw, ok := e.Data[binding]
	if !ok {
		return nil, fmt.Errorf("data %s is missing", binding)
	}
	var encoded string
	if err := json.Unmarshal(raw, &encoded); err != nil {
		return nil, fmt.Errorf("data %s: %w", binding, err)
	}
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, fmt.Errorf("data %s: %w", binding, err)
	}
	return decoded, nil
}

// answer is what the host wants back. A 200 without it leaves the invocation hanging.
type answer struct {
	Outputs     map[string]any
	Logs        []string
	ReturnValue any
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the host is gone if this fails
}
