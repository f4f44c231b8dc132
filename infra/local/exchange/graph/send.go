package graph

import (
	"encoding/base64"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"mailferry/infra/local/exchange/store"
)

// sendMail serves POST /users/{id}/sendMail. Nothing is sent: it is recorded
// (https://learn.microsoft.com/graph/api/user-sendmail).
func (f *face) sendMail(w http.ResponseWriter, r *request) error {
	typ, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if typ == "text/plain" {
		raw, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, r.Body))
		if err != nil {
			return errBase64
		}
		return f.depart(w, r, headerRecipients(store.ParseHeader(raw)))
	}
	var b struct {
		Message         messageBody `json:"message"`
		SaveToSentItems *bool       `json:"saveToSentItems"`
	}
	if err := r.decodeAction(&b, "message"); err != nil {
		return err
	}
	return f.depart(w, r, b.Message.recipients())
}

func (b *messageBody) recipients() (to []string) {
	for _, list := range [][]recipient{b.To, b.Cc, b.Bcc} {
		for _, r := range list {
			to = append(to, r.EmailAddress.Address)
		}
	}
	return to
}

func headerRecipients(h store.Header) (to []string) {
	for _, name := range []string{"To", "Cc", "Bcc"} {
		for _, a := range h.Addresses(name) {
			to = append(to, a.Address)
		}
	}
	return to
}

func (f *face) depart(w http.ResponseWriter, r *request, to []string) error {
	if len(to) == 0 {
		return refuse(400, "ErrorInvalidRecipients", "At least one recipient is not valid.")
	}
	if err := f.o.Store.Depart(r.mailbox, store.Mail, to...); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// sendDraft sends a draft and puts it into Sent Items
// (https://learn.microsoft.com/graph/api/message-send).
func (f *face) sendDraft(w http.ResponseWriter, r *request) error {
	it, err := r.message()
	if err != nil {
		return err
	}
	if it.Flags&store.Draft == 0 {
		return refuse(400, "ErrorInvalidRequest", "The message is no draft.")
	}
	h, err := r.header(it)
	if err != nil {
		return err
	}
	if err := f.depart(w, r, headerRecipients(h)); err != nil {
		return err
	}
	if _, err := r.mailbox.Update(it.ID, func(it *store.Item) { it.Flags &^= store.Draft }); err != nil {
		return err
	}
	_, err = r.mailbox.Move(it.ID, store.SentItemsID)
	return err
}

// answerMessage serves reply, replyAll and forward. The answer goes to who sent
// the message, to all in it, or to who is named
// (https://learn.microsoft.com/graph/api/message-reply).
func (f *face) answerMessage(w http.ResponseWriter, r *request) error {
	it, err := r.message()
	if err != nil {
		return err
	}
	var b struct {
		Comment string      `json:"comment"`
		To      []recipient `json:"toRecipients"`
		Message messageBody `json:"message"`
	}
	if err := r.decodeAction(&b, "message"); err != nil {
		return err
	}
	h, err := r.header(it)
	if err != nil {
		return err
	}
	to := slices.Concat((&messageBody{To: b.To}).recipients(), b.Message.recipients())
	if !strings.HasSuffix(r.URL.Path, "/forward") {
		for _, a := range h.Addresses("From") {
			to = append(to, a.Address)
		}
	}
	if strings.HasSuffix(r.URL.Path, "/replyAll") {
		to = append(to, headerRecipients(h)...)
	}
	return f.depart(w, r, to)
}
