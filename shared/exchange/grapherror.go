package exchange

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"mailferry/shared/migrate"
)

const (
	maxErrorBody      = 64 << 10
	maxErrorText      = 300
	maxBackoffSeconds = 24 * 60 * 60 // a longer wait is none that was meant
)

// What an administrator can do.
const (
	graphAdvice = "Grant the application the Microsoft Graph application permissions User.Read.All, " +
		"MailboxSettings.Read and Mail.ReadWrite: az ad app permission add --id <client id> " +
		"--api 00000003-0000-0000-c000-000000000000 --api-permissions " +
		"df021288-bdef-4463-88db-98f22de89214=Role 40f97065-369a-49f4-947c-6a255697ae91=Role " +
		"e2a3a72e-5f79-4c64-b1b1-878b674786c9=Role && az ad app permission admin-consent --id <client id>; " +
		"where access is scoped to some mailboxes, add this one to the scope."
	imapAdvice = "Grant the application IMAP.AccessAsApp of Office 365 Exchange Online, then in Exchange Online PowerShell: " +
		"New-ServicePrincipal -AppId <client id> -ObjectId <enterprise application object id>; " +
		"Add-MailboxPermission -Identity <mailbox> -User <enterprise application object id> -AccessRights FullAccess; " +
		"Set-CASMailbox -Identity <mailbox> -ImapEnabled $true."
	credentialAdvice = "Check tenant id, client id and secret or certificate of the application."
	quotaAdvice      = "Make room in the target mailbox, or give it a larger quota or an archive."
	hiddenAdvice     = "A folder of that name exists that Graph does not list (made by an IMAP client, or hidden); rename or delete it."
)

// graphError is a failed answer of Graph
// (https://learn.microsoft.com/graph/errors: {"error":{"code","message","innerError"}}).
type graphError struct {
	Status     int
	Code       string // of the innermost error that has one this package knows, else the outer one
	Message    string
	RetryAfter time.Duration
}

func (e *graphError) Error() string {
	text := fmt.Sprintf("Graph answered %d", e.Status)
	if e.Code != "" {
		text += " " + e.Code
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

func newGraphError(resp *http.Response, body []byte, now time.Time) *graphError {
	e := &graphError{Status: resp.StatusCode}
	e.Code, e.Message = parseErrorBody(body)
	e.RetryAfter, _ = retryAfter(resp.Header.Get("Retry-After"), now)
	return e
}

// errorBody is the shape of an error and of each inner error.
type errorBody struct {
	Code       string     `json:"code"`
	Message    string     `json:"message"`
	InnerError *errorBody `json:"innerError"`
}

// parseErrorBody returns what can be read of an error body: nothing of HTML. A full mailbox is told
// by an inner error at times, so that code goes before the outer one.
func parseErrorBody(body []byte) (code, message string) {
	var b struct {
		Error errorBody `json:"error"`
	}
	if json.Unmarshal(body, &b) != nil {
		return "", ""
	}
	code = b.Error.Code
	for inner := b.Error.InnerError; inner != nil; inner = inner.InnerError {
		if inner.Code == "ErrorQuotaExceeded" || code == "" {
			code = inner.Code
		}
	}
	return clip(code), clip(b.Error.Message)
}

// clip bounds foreign text.
func clip(s string) string {
	if len(s) <= maxErrorText {
		return s
	}
	return strings.ToValidUTF8(s[:maxErrorText], "") + "…"
}

// noMailbox says in words what a code means for the mailbox that was asked for.
var noMailbox = map[string]string{
	"MailboxNotEnabledForRESTAPI": "the user has no mailbox in Exchange Online: it was never made, is still being made, or is on premises",
	"ErrorNonExistentMailbox":     "the user has no mailbox in Exchange Online",
	"MailboxNotFound":             "the user has no mailbox in Exchange Online",
	"ErrorInvalidUser":            "no user of this tenant has this address",
	"ResourceNotFound":            "no user of this tenant has this address",
	"Request_ResourceNotFound":    "no user of this tenant has this address",
}

// verdict translates a failed answer.
func (e *graphError) verdict(op string) *migrate.Error {
	v := &migrate.Error{Op: op, Kind: migrate.Unexpected, Err: e}
	if words := noMailbox[e.Code]; words != "" {
		v.Kind, v.Err = migrate.NoMailbox, fmt.Errorf("%s: %w", words, e)
		return v
	}
	switch {
	case e.Code == "ErrorQuotaExceeded":
		v.Kind, v.Advice = migrate.Full, quotaAdvice
	case pushedBack(e.Status) || e.Status == 509:
		v.Kind, v.RetryAfter = migrate.Throttled, e.RetryAfter
	case e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden:
		v.Kind, v.Advice = migrate.Permission, graphAdvice
	case e.Status == http.StatusNotFound:
		v.Kind = migrate.NoFolder
	case e.Status == http.StatusRequestTimeout || e.Status >= 500:
		v.Kind = migrate.Unreachable
	}
	return v
}

// fail makes err the context's error or a *migrate.Error. Nil stays nil.
func fail(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var done *migrate.Error
	if errors.As(err, &done) {
		return err
	}
	var answer *graphError
	if errors.As(err, &answer) {
		return answer.verdict(op)
	}
	var token *tokenError
	if errors.As(err, &token) {
		return token.verdict(op)
	}
	return connectionVerdict(op, err)
}

// verdict tells a credential that was refused from a token service that was not reached.
func (e *tokenError) verdict(op string) *migrate.Error {
	var refused *azidentity.AuthenticationFailedError
	if errors.As(e.err, &refused) {
		// The error's text carries the whole answer of the token service; its cause is not needed.
		if r := refused.RawResponse; r != nil && r.StatusCode >= 400 && r.StatusCode < 500 && r.StatusCode != http.StatusTooManyRequests {
			return &migrate.Error{Op: op, Kind: migrate.Configuration, Advice: credentialAdvice,
				Err: fmt.Errorf("get token: the token service answered %d", r.StatusCode)}
		}
	}
	return connectionVerdict(op, e)
}

// connectionVerdict translates an error that is no answer of the service. The address in a
// *url.Error names the mailbox and is left out.
func connectionVerdict(op string, err error) *migrate.Error {
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	v := &migrate.Error{Op: op, Kind: migrate.Unexpected, Err: err}
	var certificate *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var network net.Error
	switch {
	case errors.As(err, &certificate), errors.As(err, &authority):
		v.Kind = migrate.Configuration
	case request != nil, errors.As(err, &network), errors.Is(err, net.ErrClosed),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		v.Kind = migrate.Unreachable
	}
	return v
}
