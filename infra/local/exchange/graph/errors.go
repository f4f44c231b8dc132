package graph

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"mailferry/infra/local/exchange/store"
)

// refusal is an error that the client is told
// (https://learn.microsoft.com/graph/errors).
type refusal struct {
	status        int
	code, message string
}

func (e *refusal) Error() string { return fmt.Sprintf("%d %s: %s", e.status, e.code, e.message) }

var (
	errItemNotFound   = &refusal{404, "ErrorItemNotFound", "The specified object was not found in the store."}
	errMalformedID    = &refusal{400, "ErrorInvalidIdMalformed", "Id is malformed."}
	errFolderExists   = &refusal{409, "ErrorFolderExists", "A folder with the specified name already exists."}
	errNoMailbox      = &refusal{404, "MailboxNotEnabledForRESTAPI", "The mailbox is either inactive, soft-deleted, or is hosted on-premise."}
	errDistinguished  = &refusal{400, "ErrorDeleteDistinguishedFolder", "Distinguished folders cannot be deleted."}
	errTooComplex     = &refusal{400, "InefficientFilter", "The restriction or sort order is too complex for this operation."}
	errBody           = &refusal{400, "UnableToDeserializePostBody", "were unable to deserialize "}
	errBase64         = &refusal{400, "ErrorMimeContentInvalidBase64String", "Invalid base64 string for MIME content."}
	errTooLong        = &refusal{413, "BadRequest", "Maximum request length exceeded."}
	errThrottled      = &refusal{429, "ApplicationThrottled", "Application is over its MailboxConcurrency limit."}
	errNotSupported   = &refusal{405, "ErrorInvalidRequest", "The OData request is not supported."}
	errUnsupported    = &refusal{400, "Request_UnsupportedQuery", "Unsupported Query."}
	errHeaderCount    = &refusal{400, "InvalidInternetMessageHeaderCollection", "Maximum number of headers in one message should be less than or equal to 5."}
	errPropertyFormat = &refusal{400, "ErrorInvalidPropertyId", "The extended property id is invalid."}
)

func badRequest(format string, args ...any) error {
	return &refusal{http.StatusBadRequest, "BadRequest", fmt.Sprintf(format, args...)}
}

// told turns what lies below into what the client is told.
func told(err error) *refusal {
	var r *refusal
	var tooBig *http.MaxBytesError
	switch {
	case errors.As(err, &r):
		return r
	case errors.As(err, &tooBig):
		return errTooLong
	case errors.Is(err, store.ErrNoSuchFolder), errors.Is(err, store.ErrNoSuchItem):
		return errItemNotFound
	case errors.Is(err, store.ErrFolderExists):
		return errFolderExists
	case errors.Is(err, store.ErrReadOnly):
		return errDistinguished
	case errors.Is(err, errNoProperty), errors.Is(err, errFilter):
		return &refusal{400, "BadRequest", "Invalid filter clause: " + err.Error()}
	}
	return nil
}

func (f *face) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := told(err)
	if e == nil {
		f.o.Logger.Error("serve Graph request", "method", r.Method, "error", err)
		e = &refusal{500, "ErrorInternalServerError", "An internal server error occurred. The operation failed."}
	}
	if e.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, e.status, map[string]any{"error": map[string]any{
		"code": e.code, "message": e.message,
		"innerError": map[string]any{
			"date":       f.o.Now().UTC().Format("2006-01-02T15:04:05"),
			"request-id": w.Header().Get("request-id"), "client-request-id": w.Header().Get("client-request-id"),
		},
	}})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; odata.metadata=minimal; odata.streaming=true; IEEE754Compatible=false; charset=utf-8")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // the client is gone
}

func newRequestID() string {
	var b [16]byte
	rand.Read(b[:])
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
