// Package graph is the Microsoft Graph face of the Exchange Online stand-in:
// users, domains, mail folders, messages and attachments of version 1.0, with
// the paging, ids, draft rules, limits and errors of the Outlook service. What
// it does not play it refuses with 501, which Graph never does.
//
// Fault points are graph.<METHOD>, with the path and the user principal name as
// detail, and upload.PUT (upload.<METHOD>) on the second host. Besides what
// package strike knows, graph.POST and graph.PATCH know move (a message is
// moved after the work, before the client has its answer) and every point of
// graph knows expire (the token of the request has run out).
package graph

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"mailferry/infra/local/exchange/store"
	"mailferry/infra/local/exchange/strike"
	"mailferry/infra/local/exchange/token"
	"mailferry/infra/local/faults"
)

// maxRequest is the length of a request body
// (microsoft-graph-docs-contrib issue 682).
const maxRequest = 4 << 20

// Options say what is served.
type Options struct {
	Store    *store.Store
	TenantID string
	// Check returns an error of package token unless the bearer token opens
	// Graph.
	Check func(token string) (token.Claims, error)
	// Expire ends a token.
	Expire func(token string)
	// UploadURL is the base URL of the host that takes large attachments.
	UploadURL string
	// UnverifiedDomains are domains of the tenant that were not verified. The
	// verified ones are those of the users.
	UnverifiedDomains []string
	Limits            Limits
	Logger            *slog.Logger
	Now               func() time.Time
}

// Face is the handler of /v1.0/, and holds the uploads that are under way.
type Face struct{ *face }

type face struct {
	o       Options
	mux     *http.ServeMux
	gate    gate
	uploads uploads

	mu      sync.Mutex
	writing map[*store.Mailbox]map[uint64]bool // items that are being changed
}

// New returns a face.
func New(o Options) *Face {
	o.Limits = o.Limits.withDefaults()
	f := &face{
		o: o, mux: http.NewServeMux(), writing: map[*store.Mailbox]map[uint64]bool{},
		gate: gate{limits: o.Limits, now: o.Now, usage: map[consumer]*usage{}},
	}
	f.uploads.sessions = map[string]*upload{}
	f.routes()
	return &Face{f}
}

// Point names the fault point of a request.
func (f *face) Point(r *http.Request) (point, detail string) {
	detail = r.URL.Path
	if path := strings.Split(canonical(r).URL.Path, "/"); len(path) > 3 && path[2] == "users" {
		if m, ok := f.o.Store.Mailbox(path[3]); ok {
			detail += " " + m.User().UserPrincipalName
		}
	}
	return "graph." + r.Method, detail
}

// Application permissions, any of which opens a resource
// (https://learn.microsoft.com/graph/permissions-reference).
var (
	readUsers    = []string{"User.Read.All", "User.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"}
	readDomains  = []string{"Domain.Read.All", "Domain.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"}
	readSettings = []string{"MailboxSettings.Read", "MailboxSettings.ReadWrite"}
	readMail     = []string{"Mail.ReadBasic.All", "Mail.Read", "Mail.ReadWrite"}
	readContents = []string{"Mail.Read", "Mail.ReadWrite"}
	writeMail    = []string{"Mail.ReadWrite"}
	sendMail     = []string{"Mail.Send"}
)

func (f *face) routes() {
	f.directory("GET /v1.0/users", readUsers, f.listUsers)
	f.directory("GET /v1.0/users/{user}", readUsers, f.getUser)
	f.directory("GET /v1.0/users/{user}/licenseDetails", readUsers, f.listLicenses)
	f.directory("GET /v1.0/domains", readDomains, f.listDomains)
	f.directory("GET /v1.0/domains/{domain}", readDomains, f.getDomain)
	f.directory("GET /v1.0/domains/{domain}/serviceConfigurationRecords", readDomains, f.listDomainRecords)
	const user, folder = "/v1.0/users/{user}", "/v1.0/users/{user}/mailFolders/{folder}"
	f.mail("GET "+user+"/settings/exchange", readSettings, f.getExchangeSettings)
	f.mail("GET "+user+"/mailboxSettings", readSettings, f.getMailboxSettings)
	f.mail("GET "+user+"/mailFolders", readMail, f.listFolders)
	f.mail("POST "+user+"/mailFolders", writeMail, f.createFolder)
	f.mail("GET "+folder, readMail, f.getFolder)
	f.mail("PATCH "+folder, writeMail, f.updateFolder)
	f.mail("DELETE "+folder, writeMail, f.deleteFolder)
	f.mail("POST "+folder+"/move", writeMail, f.moveFolder)
	f.mail("POST "+folder+"/copy", writeMail, f.copyFolder)
	f.mail("GET "+folder+"/childFolders", readMail, f.listFolders)
	f.mail("POST "+folder+"/childFolders", writeMail, f.createFolder)
	f.mail("POST "+user+"/sendMail", sendMail, f.sendMail)
	f.messageRoutes(user + "/messages")
	f.messageRoutes(folder + "/messages")
	for _, path := range []string{
		"POST /v1.0/$batch", "POST " + user + "/translateExchangeIds", "POST " + user + "/events",
		"GET " + user + "/messages/delta", "GET " + folder + "/messages/delta", "GET " + user + "/mailFolders/delta",
		"POST " + user + "/messages/{id}/createReply", "POST " + user + "/messages/{id}/createForward",
	} {
		f.mux.HandleFunc(path, f.serve(nil, func(http.ResponseWriter, *http.Request) error { return errNotPlayed }))
	}
	f.mux.HandleFunc("/v1.0/me/", f.serve(nil, func(http.ResponseWriter, *http.Request) error {
		return badRequest("/me request is only valid with delegated authentication flow.")
	}))
	f.mux.HandleFunc("/", f.serve(nil, func(_ http.ResponseWriter, r *http.Request) error {
		return badRequest("Resource not found for the segment '%s'.", r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:])
	}))
}

func (f *face) messageRoutes(messages string) {
	one, attachments := messages+"/{id}", messages+"/{id}/attachments"
	f.mail("GET "+messages, readMail, f.listMessages)
	f.mail("GET "+messages+"/$count", readMail, f.countMessages)
	f.mail("POST "+messages, writeMail, f.createMessage)
	f.mail("GET "+one, readMail, f.getMessage)
	f.mail("PATCH "+one, writeMail, f.changing(f.updateMessage))
	f.mail("DELETE "+one, writeMail, f.changing(f.deleteMessage))
	f.mail("POST "+one+"/move", writeMail, f.changing(f.moveMessage))
	f.mail("POST "+one+"/copy", writeMail, f.copyMessage)
	f.mail("GET "+one+"/$value", readContents, f.getMIME)
	f.mail("GET "+attachments, readContents, f.listAttachments)
	f.mail("POST "+attachments, writeMail, f.changing(f.addAttachment))
	f.mail("POST "+attachments+"/createUploadSession", writeMail, f.createUpload)
	f.mail("GET "+attachments+"/{attachment}", readContents, f.getAttachment)
	f.mail("GET "+attachments+"/{attachment}/$value", readContents, f.getAttachmentContent)
	f.mail("DELETE "+attachments+"/{attachment}", writeMail, f.changing(f.deleteAttachment))
	f.mail("POST "+one+"/send", sendMail, f.changing(f.sendDraft))
	for _, action := range []string{"/reply", "/replyAll", "/forward"} {
		f.mail("POST "+one+action, sendMail, f.answerMessage)
	}
}

// ServeHTTP serves a request that was let in by the fault plan.
func (f *face) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	setRequestID(w, r)
	r = canonical(r)
	r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
	f.mux.ServeHTTP(w, r)
}

// authorize checks the token, and that it carries one of the roles.
func (f *face) authorize(r *http.Request, roles []string, missing error) (token.Claims, error) {
	scheme, raw, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || raw == "" {
		return token.Claims{}, refuse(401, "InvalidAuthenticationToken", "Access token is empty.")
	}
	if rule := strike.Rule(r.Context()); rule != nil && rule.Do == faults.Expire {
		f.o.Expire(raw)
	}
	claims, err := f.o.Check(raw)
	switch {
	case errors.Is(err, token.ErrAudience):
		return claims, refuse(401, "InvalidAuthenticationToken", "Access token validation failure. Invalid audience.")
	case errors.Is(err, token.ErrExpired):
		return claims, refuse(401, "InvalidAuthenticationToken", "Lifetime validation failed, the token is expired.")
	case err != nil:
		return claims, refuse(401, "InvalidAuthenticationToken", "CompactToken parsing failed with error code: 80049217")
	case roles != nil && !claims.HasRole(roles...):
		return claims, missing
	}
	return claims, nil
}

type handler func(http.ResponseWriter, *http.Request) error

func (f *face) serve(roles []string, h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, err := f.authorize(r, roles, errPrivileges)
		if err == nil {
			err = h(w, r)
		}
		if err != nil {
			f.fail(w, r, err)
		}
	}
}

// directory adds a route of the directory.
func (f *face) directory(pattern string, roles []string, h handler) {
	f.mux.HandleFunc(pattern, f.serve(roles, h))
}

// mailHandler serves a request for something in a mailbox.
type mailHandler func(w http.ResponseWriter, r *request) error

// request is an HTTP request with the mailbox it is for.
type request struct {
	*http.Request
	mailbox   *store.Mailbox
	app       string
	immutable bool // ids were asked for that survive moves
	textBody  bool // bodies were asked for as text
	query     query
}

// mail adds a route to something in a mailbox.
func (f *face) mail(pattern string, roles []string, h mailHandler) {
	f.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		claims, err := f.authorize(r, roles, errAccessDenied)
		if err == nil {
			err = f.enter(w, r, claims, h)
		}
		if err != nil {
			f.fail(w, r, err)
		}
	})
}

// enter finds the mailbox and keeps the requests to it within the limits.
func (f *face) enter(w http.ResponseWriter, r *http.Request, claims token.Claims, h mailHandler) error {
	m, err := f.findMailbox(r.PathValue("user"))
	if err != nil {
		return err
	}
	leave, err := f.gate.enter(consumer{claims.AppID, m.User().MailboxGUID})
	if err != nil {
		return err
	}
	counted := &countedBody{ReadCloser: r.Body}
	r.Body = counted
	defer func() { leave(counted.n) }()
	q, err := parseQuery(r.URL)
	if err != nil {
		return err
	}
	req := &request{Request: r, mailbox: m, app: claims.AppID, query: q}
	req.prefer(w)
	return h(w, req)
}

// prefer reads the Prefer header
// (https://learn.microsoft.com/graph/outlook-immutable-id).
func (r *request) prefer(w http.ResponseWriter) {
	for _, p := range r.Header.Values("Prefer") {
		p = strings.ToLower(p)
		if strings.Contains(p, `idtype="immutableid"`) {
			r.immutable = true
			w.Header().Add("Preference-Applied", `IdType="ImmutableId"`)
		}
		if strings.Contains(p, `outlook.body-content-type="text"`) {
			r.textBody = true
			w.Header().Add("Preference-Applied", `outlook.body-content-type="text"`)
		}
	}
}

// countedBody counts what is uploaded.
type countedBody struct {
	io.ReadCloser
	n int64
}

func (c *countedBody) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n += int64(n)
	return n, err
}
