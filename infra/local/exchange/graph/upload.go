package graph

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"time"

	"mailferry/infra/local/exchange/store"
)

// Sizes of what goes by an upload session, and of one chunk of it
// (https://learn.microsoft.com/graph/outlook-large-attachments).
const (
	minUpload = 3 << 20
	maxUpload = 150 << 20
	maxChunk  = 4 << 20
)

// upload is an upload session.
type upload struct {
	token   string
	mailbox *store.Mailbox
	item    uint64
	app     string
	id      string // of the message, as the client knows it
	file    newAttachment
	expires time.Time

	immutable bool

	mu       sync.Mutex
	chunks   []store.Body
	received int64
}

type uploads struct {
	mu       sync.Mutex
	sessions map[string]*upload
}

// attachmentItem says what will be uploaded.
type attachmentItem struct {
	AttachmentType string `json:"attachmentType"`
	Name           string `json:"name"`
	Size           int64  `json:"size"`
	ContentType    string `json:"contentType"`
	ContentID      string `json:"contentId"`
	IsInline       bool   `json:"isInline"`
}

func (a attachmentItem) check() error {
	switch {
	case a.AttachmentType == "item" || a.AttachmentType == "reference":
		return refuse(400, "ErrorInvalidRequest", "Only file attachments can be uploaded by a session.")
	case a.AttachmentType != "file" || a.Name == "":
		return errBody
	case a.Size < minUpload:
		return refuse(400, "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize",
			fmt.Sprintf("The size of the attachment should not be less than %d bytes.", minUpload))
	case a.Size > maxUpload:
		return refuse(400, "ErrorAttachmentSizeLimitExceeded", "The attachment size exceeds the limit.")
	}
	return nil
}

// createUpload opens an upload session for an attachment of 3 to 150 MB.
func (f *face) createUpload(w http.ResponseWriter, r *request) error {
	it, err := r.message()
	if err != nil {
		return err
	}
	var b struct {
		Item attachmentItem `json:"attachmentItem"`
	}
	if err := r.decodeAction(&b, "attachmentItem"); err != nil {
		return err
	}
	a := b.Item
	if err := a.check(); err != nil {
		return err
	}
	if err := f.checkSize(r.mailbox, it.Body.Size+a.Size); err != nil {
		return err
	}
	u := &upload{
		token: randomToken(), mailbox: r.mailbox, item: it.ID, app: r.app, id: r.PathValue("id"), immutable: r.immutable,
		expires: f.o.Now().Add(f.o.Limits.UploadSession),
		file: newAttachment{
			key: newRequestID(), name: a.Name, contentType: a.ContentType, contentID: a.ContentID, inline: a.IsInline, size: a.Size,
		},
	}
	id := randomToken()
	f.keepSession(id, u)
	writeJSON(w, http.StatusCreated, map[string]any{
		"@odata.context":     baseURL(r.Request) + "/$metadata#microsoft.graph.uploadSession",
		"uploadUrl":          f.messageURL(u) + "/AttachmentSessions('" + id + "')?authtoken=" + u.token,
		"expirationDateTime": u.expires.UTC().Format(time.RFC3339Nano),
		"nextExpectedRanges": []string{"0-"},
	})
	return nil
}

// messageURL is the address of a message on the host that takes uploads.
func (f *face) messageURL(u *upload) string {
	return f.o.UploadURL + "/api/v2.0/Users('" + u.mailbox.User().ID + "@" + f.o.TenantID + "')/Messages('" + u.id + "')"
}

func randomToken() string {
	b := make([]byte, 24)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// UploadPoint names the fault point of a request to the upload host.
func (f *face) UploadPoint(r *http.Request) (point, detail string) {
	detail = r.URL.Path
	if u, _, err := f.session(r); err == nil {
		detail += " " + u.mailbox.User().UserPrincipalName
	}
	return "upload." + r.Method, detail
}

var sessionPath = regexp.MustCompile(`/AttachmentSessions\('([A-Za-z0-9_-]+)'\)$`)

// session finds the upload session of a request, which its URL alone opens.
func (f *face) session(r *http.Request) (*upload, string, error) {
	match := sessionPath.FindStringSubmatch(r.URL.Path)
	if match == nil {
		return nil, "", badRequest("Resource not found for the segment.")
	}
	f.uploads.mu.Lock()
	defer f.uploads.mu.Unlock()
	u := f.uploads.sessions[match[1]]
	switch {
	case u == nil:
		return nil, "", errItemNotFound
	case subtle.ConstantTimeCompare([]byte(r.URL.Query().Get("authtoken")), []byte(u.token)) != 1, !f.o.Now().Before(u.expires):
		return nil, "", refuse(401, "InvalidAuthenticationToken", "The upload session's token is invalid or has expired.")
	}
	return u, match[1], nil
}

// ServeUpload serves the host that takes large attachments. It takes no
// Authorization: the address is authorised by itself.
func (f *face) ServeUpload(w http.ResponseWriter, r *http.Request) {
	setRequestID(w, r)
	if err := f.serveUpload(w, r); err != nil {
		f.fail(w, r, err)
	}
}

func (f *face) serveUpload(w http.ResponseWriter, r *http.Request) error {
	if r.Header.Get("Authorization") != "" {
		return refuse(401, "InvalidAuthenticationToken", "The upload URL is pre-authenticated: send no Authorization header.")
	}
	u, id, err := f.session(r)
	if err != nil {
		return err
	}
	switch r.Method {
	case http.MethodPut:
		return f.putChunk(w, r, u, id)
	case http.MethodGet:
		u.mu.Lock()
		defer u.mu.Unlock()
		f.writeSession(w, u)
		return nil
	case http.MethodDelete:
		f.dropSession(id)
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return errNotSupported
}

// keepSession also drops what has expired.
func (f *face) keepSession(id string, u *upload) {
	f.uploads.mu.Lock()
	defer f.uploads.mu.Unlock()
	maps.DeleteFunc(f.uploads.sessions, func(_ string, old *upload) bool { return !f.o.Now().Before(old.expires) })
	f.uploads.sessions[id] = u
}

func (f *face) dropSession(id string) {
	f.uploads.mu.Lock()
	defer f.uploads.mu.Unlock()
	delete(f.uploads.sessions, id)
}

// writeSession shows where an upload stands; u.mu is held.
func (f *face) writeSession(w http.ResponseWriter, u *upload) {
	writeJSON(w, http.StatusOK, map[string]any{
		"@odata.context":     f.o.UploadURL + "/api/v2.0/$metadata#Users/Messages/AttachmentSessions/$entity",
		"ExpirationDateTime": u.expires.UTC().Format(time.RFC3339Nano),
		"nextExpectedRanges": []string{strconv.FormatInt(u.received, 10)},
	})
}

// putChunk takes the next octets of the file; they have to come in order.
func (f *face) putChunk(w http.ResponseWriter, r *http.Request, u *upload, id string) error {
	leave, err := f.gate.enter(consumer{u.app, u.mailbox.User().MailboxGUID})
	if err != nil {
		return err
	}
	taken := int64(0)
	defer func() { leave(taken) }()
	done, err := f.change(u.mailbox, u.item)
	if err != nil {
		return err
	}
	defer done()
	u.mu.Lock()
	defer u.mu.Unlock()
	from, to, err := u.checkRange(r)
	if err != nil {
		return err
	}
	chunk, err := u.mailbox.Store().Receive(r.Body, to-from+1)
	if err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return badRequest("The Content-Range header length does not match the provided number of bytes.")
		}
		return err
	}
	taken = chunk.Size
	u.chunks, u.received = append(u.chunks, chunk), to+1
	if u.received < u.file.size {
		f.writeSession(w, u)
		return nil
	}
	if err := f.finish(w, u, id); err != nil {
		// The last chunk can be sent again, once there is room for it.
		u.chunks, u.received = u.chunks[:len(u.chunks)-1], from
		return err
	}
	return nil
}

// finish attaches the file and answers with its address.
func (f *face) finish(w http.ResponseWriter, u *upload, id string) error {
	it, err := u.mailbox.Item(u.item)
	if err != nil {
		return err
	}
	var parts []io.Reader
	for _, c := range u.chunks {
		parts = append(parts, u.mailbox.Store().Open(c))
	}
	a := u.file
	a.content = io.MultiReader(parts...)
	if it, err = f.attachTo(u.mailbox, it, a); err != nil {
		return err
	}
	f.dropSession(id)
	w.Header().Set("Location", f.messageURL(u)+"/Attachments('"+attachmentID(u.mailbox, it, u.immutable, a.key)+"')")
	w.WriteHeader(http.StatusCreated)
	return nil
}
