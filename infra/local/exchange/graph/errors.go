package graph

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"mailferry/infra/local/exchange/store"
)

// refusal is an error that the client is told
// (https://learn.microsoft.com/graph/errors).
type refusal struct {
	status        int
	code, message string
	after         time.Duration // asks for a pause, if not 0
}

func (e *refusal) Error() string { return fmt.Sprintf("%d %s: %s", e.status, e.code, e.message) }

func refuse(status int, code, message string) *refusal {
	return &refusal{status: status, code: code, message: message}
}

var (
	errItemNotFound   = refuse(404, "ErrorItemNotFound", "The specified object was not found in the store.")
	errMalformedID    = refuse(400, "ErrorInvalidIdMalformed", "Id is malformed.")
	errFolderExists   = refuse(409, "ErrorFolderExists", "A folder with the specified name already exists.")
	errNoMailbox      = refuse(404, "MailboxNotEnabledForRESTAPI", "The mailbox is either inactive, soft-deleted, or is hosted on-premise.")
	errDistinguished  = refuse(400, "ErrorDeleteDistinguishedFolder", "Distinguished folders cannot be deleted.")
	errTooComplex     = refuse(400, "InefficientFilter", "The restriction or sort order is too complex for this operation.")
	errBody           = refuse(400, "UnableToDeserializePostBody", "were unable to deserialize ")
	errBase64         = refuse(400, "ErrorMimeContentInvalidBase64String", "Invalid base64 string for MIME content.")
	errTooLong        = refuse(413, "BadRequest", "Maximum request length exceeded.")
	errNotSupported   = refuse(405, "ErrorInvalidRequest", "The OData request is not supported.")
	errUnsupported    = refuse(400, "Request_UnsupportedQuery", "Unsupported Query.")
	errHeaderCount    = refuse(400, "InvalidInternetMessageHeaderCollection", "Maximum number of headers in one message should be less than or equal to 5.")
	errPropertyFormat = refuse(400, "ErrorInvalidPropertyId", "The extended property id is invalid.")
	errQuota          = refuse(403, "ErrorQuotaExceeded", "Mailbox has exceeded maximum mailbox size.")
	errNamedProperty  = refuse(403, "ErrorQuotaExceeded", "Cannot get ID from name.")
	// microsoftgraph/msgraph-sdk-dotnet issues 1195 and 1287.
	errConflict = refuse(412, "ErrorIrresolvableConflict", "The send or update operation could not be performed because "+
		"the change key passed in the request does not match the current change key for the item.")
	errInternal     = refuse(500, "ErrorInternalServerError", "An internal server error occurred. The operation failed.")
	errAccessDenied = refuse(403, "ErrorAccessDenied", "Access is denied. Check credentials and try again.")
	errPrivileges   = refuse(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
	// Not an answer of Graph: it tells a test that it left what is played here.
	errNotPlayed = refuse(501, "NotImplemented", "The Exchange stand-in does not play this part of Graph.")
	// calcom PR 343, terraform-provider-outlook issue 21, corso issue 3695.
	errConcurrency = &refusal{429, "ApplicationThrottled", "Application is over its MailboxConcurrency limit.", time.Second}
)

// throttled is the refusal of who is over a budget
// (https://learn.microsoft.com/graph/throttling).
func throttled(budget string, after time.Duration) *refusal {
	return &refusal{429, "ApplicationThrottled", "Application is over its " + budget + " limit.", after}
}

func badRequest(format string, args ...any) error {
	return refuse(http.StatusBadRequest, "BadRequest", fmt.Sprintf(format, args...))
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
	case errors.Is(err, store.ErrQuota):
		return errQuota
	case errors.Is(err, store.ErrFolderFull):
		return errInternal
	case errors.Is(err, store.ErrNamedProperties):
		return errNamedProperty
	case errors.Is(err, errNoProperty):
		return refuse(400, "RequestBroker--ParseUri", "Could not find a property named in the filter: "+err.Error())
	case errors.Is(err, errFilter):
		return refuse(400, "BadRequest", "Invalid filter clause: "+err.Error())
	}
	return nil
}

// errorBody is the shape of every error. A few carry the code that tells what
// happened in the inner error only.
type errorBody struct {
	Code       string     `json:"code,omitempty"`
	Message    string     `json:"message,omitempty"`
	InnerError *errorBody `json:"innerError,omitempty"`

	Date            string `json:"date,omitempty"`
	RequestID       string `json:"request-id,omitempty"`
	ClientRequestID string `json:"client-request-id,omitempty"`
}

func (f *face) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := told(err)
	if e == nil {
		f.o.Logger.Error("serve Graph request", "method", r.Method, "error", err)
		e = errInternal
	}
	if e.after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((e.after+time.Second-1)/time.Second)))
	}
	body := errorBody{Code: e.code, Message: e.message, InnerError: &errorBody{
		Date:      f.o.Now().UTC().Format("2006-01-02T15:04:05"),
		RequestID: w.Header().Get("request-id"), ClientRequestID: w.Header().Get("client-request-id"),
	}}
	if errors.Is(err, store.ErrFolderFull) {
		// What a folder of a million items answers
		// (https://support.cloudm.io/hc/en-us/articles/9116343142684).
		body.Message, body.InnerError.Code = "Cannot save changes made to an item to store.", errQuota.code
	}
	writeJSON(w, e.status, map[string]any{"error": body})
}

// Refuse answers as Graph does when it cannot or will not do its work. Gateways
// in front of it answer 502 and 504, in HTML.
func (f *face) Refuse(w http.ResponseWriter, r *http.Request, status int, after time.Duration) {
	setRequestID(w, r)
	if status == http.StatusBadGateway || status == http.StatusGatewayTimeout {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		fmt.Fprintf(w, "<html><head><title>%d %[2]s</title></head><body><h1>%[2]s</h1></body></html>", status, http.StatusText(status))
		return
	}
	e, ok := refusals[status]
	if !ok {
		e = refuse(status, "UnknownError", "")
	}
	f.fail(w, r, &refusal{status, e.code, e.message, after})
}

// refusals are what Graph says where only a status is asked for.
var refusals = map[int]*refusal{
	http.StatusUnauthorized: refuse(401, "InvalidAuthenticationToken", "Lifetime validation failed, the token is expired."),
	// An application access policy keeps the application out of the mailbox
	// (https://learn.microsoft.com/graph/auth-limit-mailbox-access).
	http.StatusForbidden:           refuse(403, "ErrorAccessDenied", "Access to OData is disabled."),
	http.StatusNotFound:            errNoMailbox, // also of a licence whose mailbox is still being made
	http.StatusConflict:            errFolderExists,
	http.StatusPreconditionFailed:  errConflict,
	http.StatusTooManyRequests:     refuse(429, "TooManyRequests", "Please retry again later."),
	http.StatusInternalServerError: errInternal,
	http.StatusServiceUnavailable:  refuse(503, "serviceNotAvailable", "The service is temporarily unavailable. Please retry later."),
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; odata.metadata=minimal; odata.streaming=true; IEEE754Compatible=false; charset=utf-8")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // the client is gone
}

// setRequestID names the request, once.
func setRequestID(w http.ResponseWriter, r *http.Request) {
	if w.Header().Get("request-id") != "" {
		return
	}
	id := newRequestID()
	w.Header().Set("request-id", id)
	w.Header().Set("client-request-id", cmp.Or(strings.TrimSpace(r.Header.Get("client-request-id")), id))
	w.Header().Set("Cache-Control", "private")
}

func newRequestID() string {
	var b [16]byte
	rand.Read(b[:])
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
