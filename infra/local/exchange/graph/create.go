package graph

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"net/http"
	"strings"

	"mailferry/infra/local/exchange/store"
	"mailferry/infra/local/exchange/strike"
	"mailferry/infra/local/faults"
)

func (f *face) createMessage(w http.ResponseWriter, r *request) error {
	target := store.DraftsID
	inFolder := r.PathValue("folder") != ""
	if inFolder {
		c, err := r.parent()
		if err != nil {
			return err
		}
		target = c.ID
	}
	typ, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	var n store.NewItem
	switch {
	case err == nil && typ == "application/json":
		n, err = f.fromJSON(r)
	case err == nil && typ == "text/plain" && !inFolder:
		n, err = f.fromMIME(r)
	default:
		// MIME is not taken under a folder (microsoft-graph-docs-contrib issues 503 and 189).
		return errBody
	}
	if err != nil {
		return err
	}
	if n.Body.Size == 0 {
		w.WriteHeader(http.StatusOK) // see Limits.LostMIME
		return nil
	}
	it, err := r.mailbox.Add(target, n)
	if err != nil {
		return err
	}
	return f.writeCreated(w, r, it)
}

// writeCreated answers with a message that came into being, which may be
// elsewhere by then.
func (f *face) writeCreated(w http.ResponseWriter, r *request, it *store.Item) error {
	out, err := r.messageJSON(it)
	if err != nil {
		return err
	}
	if rule := strike.Rule(r.Context()); rule != nil && rule.Do == faults.Move {
		if err := moveAway(r.mailbox, it, rule.To); err != nil {
			return err
		}
	}
	out["@odata.context"] = baseURL(r.Request) + "/$metadata#users('" + r.mailbox.User().ID + "')/messages/$entity"
	writeJSON(w, http.StatusCreated, out)
	return nil
}

// fromMIME makes a message of base64 MIME. It is a draft, whatever it says
// (https://learn.microsoft.com/graph/api/user-post-messages).
func (f *face) fromMIME(r *request) (store.NewItem, error) {
	encoded, err := io.ReadAll(r.Body)
	if err != nil {
		return store.NewItem{}, err
	}
	raw, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(encoded)))
	if err != nil || len(raw) == 0 {
		return store.NewItem{}, errBase64
	}
	if bytes.Count(raw, []byte("\n")) != bytes.Count(raw, []byte("\r\n")) {
		return store.NewItem{}, errBody
	}
	if f.o.Limits.LostMIME > 0 && len(raw) > f.o.Limits.LostMIME {
		return store.NewItem{}, nil
	}
	if err := f.checkSize(r.mailbox, int64(len(raw))); err != nil {
		return store.NewItem{}, err
	}
	body, err := r.mailbox.Store().Receive(bytes.NewReader(raw), int64(len(raw)))
	return store.NewItem{Body: body, Flags: store.Draft | store.Seen}, err
}

// fromJSON makes a message of JSON. MAPI properties given here, and only here,
// decide on the dates and on whether it is a draft.
func (f *face) fromJSON(r *request) (n store.NewItem, err error) {
	var b messageBody
	if err := r.decode(&b, "message"); err != nil {
		return n, err
	}
	it, files, err := f.read(r, &b)
	if err != nil {
		return n, err
	}
	raw := b.mime(it)
	db := r.mailbox.Store()
	body, err := db.Receive(bytes.NewReader(raw), int64(len(raw)))
	for _, a := range files {
		if err != nil {
			return n, err
		}
		body, err = attach(db, body, a)
	}
	if err == nil {
		err = f.checkSize(r.mailbox, body.Size)
	}
	return store.NewItem{
		Body: body, Received: it.Received, Sent: it.Sent, Flags: it.Flags, Subject: it.Subject, MessageID: it.MessageID,
		Categories: it.Categories, Importance: it.Importance, Properties: it.Properties,
	}, err
}

// read checks a message to create, and says what it will be.
func (f *face) read(r *request, b *messageBody) (*store.Item, []newAttachment, error) {
	if b.MultiValueProperties != nil || b.Extensions != nil {
		return nil, nil, errNotPlayed
	}
	if err := b.checkHeaders(); err != nil {
		return nil, nil, err
	}
	var files []newAttachment
	for _, file := range b.Attachments {
		a, err := file.attachment()
		if err != nil {
			return nil, nil, err
		}
		files = append(files, a)
	}
	it := &store.Item{Flags: store.Draft | store.Seen}
	if b.InternetMessageID != nil {
		it.MessageID = *b.InternetMessageID
	}
	if err := f.normalize(r, b.Properties, b.headers()); err != nil {
		return nil, nil, err
	}
	for _, p := range b.Properties {
		if err := atCreation(it, p.ID, p.Value); err != nil {
			return nil, nil, err
		}
	}
	if err := b.apply(it); err != nil {
		return nil, nil, err
	}
	if b.Subject != nil {
		it.Subject = *b.Subject
	}
	now := f.o.Now().UTC()
	if it.Received.IsZero() {
		it.Received = now
	}
	if it.Sent.IsZero() {
		it.Sent = now
	}
	return it, files, nil
}

// apply sets what a client may set of a message at any time.
func (b *messageBody) apply(it *store.Item) error {
	if b.IsRead != nil {
		it.Flags &^= store.Seen
		if *b.IsRead {
			it.Flags |= store.Seen
		}
	}
	if b.Categories != nil {
		it.Categories = *b.Categories
	}
	if b.Importance != nil {
		switch v := strings.ToLower(*b.Importance); v {
		case "low", "normal", "high":
			it.Importance = v
		default:
			return errBody
		}
	}
	if b.Flag != nil {
		it.Flags &^= store.Flagged
		switch b.Flag.FlagStatus {
		case "flagged":
			it.Flags |= store.Flagged
		case "notFlagged", "complete":
		default:
			return errBody
		}
	}
	return nil
}

// draftOnly tells whether the body has what can be changed of a draft only
// (https://learn.microsoft.com/graph/api/message-update).
func (b *messageBody) draftOnly() bool {
	return b.Subject != nil || b.Body != nil || b.InternetMessageID != nil || b.ReplyTo != nil || b.From != nil ||
		b.Sender != nil || b.To != nil || b.Cc != nil || b.Bcc != nil
}

// updateMessage serves PATCH. A value that is read-only is taken and changes
// nothing, the flags of PidTagMessageFlags and isDraft above all.
func (f *face) updateMessage(w http.ResponseWriter, r *request) error {
	var b messageBody
	if err := r.decode(&b, "message"); err != nil {
		return err
	}
	it, err := r.message()
	if err != nil {
		return err
	}
	switch {
	case b.draftOnly() && it.Flags&store.Draft == 0:
		return refuse(400, "ErrorInvalidRequest", "The property can be changed of a draft only.")
	case b.draftOnly(), b.Attachments != nil, b.MultiValueProperties != nil, b.Extensions != nil, b.Headers != nil:
		return errNotPlayed
	}
	if err := b.apply(&store.Item{}); err != nil {
		return err
	}
	if err := f.normalize(r, b.Properties, nil); err != nil {
		return err
	}
	it, err = r.mailbox.Update(it.ID, func(it *store.Item) {
		_ = b.apply(it) // tried above
		for _, p := range b.Properties {
			apply(it, p.ID, p.Value)
		}
	})
	if err != nil {
		return err
	}
	return f.writeMessage(w, r, http.StatusOK, it)
}
