package graph

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"mailferry/infra/local/exchange/store"
)

type emailAddress struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

type recipient struct {
	EmailAddress emailAddress `json:"emailAddress"`
}

// messageBody is a message as clients write it. Pointers tell absent from
// empty. Properties that are read-only (the dates, isDraft) are not looked at.
type messageBody struct {
	Subject *string `json:"subject"`
	Body    *struct {
		ContentType string `json:"contentType"`
		Content     string `json:"content"`
	} `json:"body"`
	From              *recipient  `json:"from"`
	Sender            *recipient  `json:"sender"`
	To                []recipient `json:"toRecipients"`
	Cc                []recipient `json:"ccRecipients"`
	Bcc               []recipient `json:"bccRecipients"`
	ReplyTo           []recipient `json:"replyTo"`
	InternetMessageID *string     `json:"internetMessageId"`
	Importance        *string     `json:"importance"`
	IsRead            *bool       `json:"isRead"`
	Categories        *[]string   `json:"categories"`
	Flag              *struct {
		FlagStatus string `json:"flagStatus"`
	} `json:"flag"`
	Headers *[]struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	} `json:"internetMessageHeaders"`
	Properties []property `json:"singleValueExtendedProperties"`
}

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
		n, err = r.fromJSON(f.o.Now())
	case err == nil && typ == "text/plain" && !inFolder:
		n, err = r.fromMIME()
	default:
		// MIME is not taken under a folder (microsoft-graph-docs-contrib issue 503).
		return errBody
	}
	if err != nil {
		return err
	}
	it, err := r.mailbox.Add(target, n)
	if err != nil {
		return err
	}
	return f.writeMessage(w, r, http.StatusCreated, it)
}

// fromMIME makes a message of base64 MIME. It is a draft, whatever it says
// (https://learn.microsoft.com/graph/api/user-post-messages).
func (r *request) fromMIME() (store.NewItem, error) {
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
	body, err := r.mailbox.Store().Receive(bytes.NewReader(raw), int64(len(raw)))
	return store.NewItem{Body: body, Flags: store.Draft | store.Seen}, err
}

// fromJSON makes a message of JSON. MAPI properties given here, and only here,
// decide on the dates and on whether it is a draft.
func (r *request) fromJSON(now time.Time) (store.NewItem, error) {
	var n store.NewItem
	var b messageBody
	if err := r.decode(&b); err != nil {
		return n, err
	}
	if err := b.checkHeaders(); err != nil {
		return n, err
	}
	it := store.Item{Flags: store.Draft | store.Seen}
	for _, p := range b.Properties {
		id, err := normalizeID(p.ID)
		if err != nil {
			return n, err
		}
		if err := atCreation(&it, id, p.Value); err != nil {
			return n, err
		}
	}
	if err := b.apply(&it); err != nil {
		return n, err
	}
	if it.Received.IsZero() {
		it.Received = now
	}
	if it.Sent.IsZero() {
		it.Sent = now
	}
	raw := b.mime(&it)
	body, err := r.mailbox.Store().Receive(bytes.NewReader(raw), int64(len(raw)))
	return store.NewItem{
		Body: body, Received: it.Received, Sent: it.Sent, Flags: it.Flags, Subject: it.Subject,
		Categories: it.Categories, Importance: it.Importance, Properties: it.Properties,
	}, err
}

// atCreation sets an extended property of a message that is not saved yet.
func atCreation(it *store.Item, id, value string) (err error) {
	switch id {
	case propMessageFlags:
		n, err := strconv.Atoi(value)
		if err != nil {
			return badProperty(id)
		}
		it.Flags &^= store.Draft | store.Seen
		if n&mfUnsent != 0 {
			it.Flags |= store.Draft
		}
		if n&mfRead != 0 {
			it.Flags |= store.Seen
		}
	case propDelivered:
		it.Received, err = parseSystemTime(id, value)
	case propSubmitted:
		it.Sent, err = parseSystemTime(id, value)
	default:
		apply(it, id, value)
	}
	return err
}

func parseSystemTime(id, value string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, value)
	if err != nil {
		return t, badProperty(id)
	}
	return t.UTC(), nil
}

func badProperty(id string) error {
	return &refusal{400, "ErrorInvalidExtendedPropertyValue", "The value of the extended property " + id + " is invalid."}
}

// checkHeaders applies the rules for custom headers
// (https://learn.microsoft.com/graph/api/resources/internetmessageheader).
func (b *messageBody) checkHeaders() error {
	if b.Headers == nil {
		return nil
	}
	if len(*b.Headers) == 0 || len(*b.Headers) > 5 {
		return errHeaderCount
	}
	for _, h := range *b.Headers {
		if _, ok := cutPrefixFold(h.Name, "x-"); !ok || len(h.Value) > 995 || strings.ContainsAny(h.Name+h.Value, "\r\n") {
			return &refusal{400, "InvalidInternetMessageHeader",
				"The internet message header name '" + h.Name + "' should start with 'x-' or 'X-'."}
		}
	}
	return nil
}

// apply sets what a client may set of a message at any time.
func (b *messageBody) apply(it *store.Item) error {
	if b.Subject != nil {
		it.Subject = *b.Subject
	}
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

// updateMessage serves PATCH. The subject and the like can be changed of
// drafts only.
func (f *face) updateMessage(w http.ResponseWriter, r *request) error {
	it, err := r.message()
	if err != nil {
		return err
	}
	var b messageBody
	if err := r.decode(&b); err != nil {
		return err
	}
	if b.Subject != nil && it.Flags&store.Draft == 0 {
		return &refusal{400, "ErrorInvalidRequest", "The property can be changed of a draft only."}
	}
	for i, p := range b.Properties {
		if b.Properties[i].ID, err = normalizeID(p.ID); err != nil {
			return err
		}
	}
	if err := b.apply(&store.Item{}); err != nil {
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
