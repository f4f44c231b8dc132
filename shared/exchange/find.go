package exchange

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"mailferry/shared/migrate"
)

var messageFields = []string{"id", "parentFolderId", "internetMessageId", "receivedDateTime", "sentDateTime",
	"subject", "from", "isDraft", "isRead"}

// pageSize of message lists; Graph takes up to 1000.
const pageSize = int32(500)

// messagePage reads the first page, or the one that a nextLink names.
type messagePage func(ctx context.Context, user *users.UserItemRequestBuilder, next string) (models.MessageCollectionResponseable, error)

// Find looks through all folders, deleted items included, for the Message-ID, or without one for
// the received second.
func (t *target) Find(ctx context.Context, f migrate.Fingerprint, yield func(migrate.Found) error) error {
	const op = "find message"
	filter, err := fingerprintFilter(f)
	if err != nil {
		return &migrate.Error{Op: op, Kind: migrate.Unexpected, Err: err}
	}
	top := pageSize
	return t.messages(ctx, op, yield, func(ctx context.Context, user *users.UserItemRequestBuilder, next string) (models.MessageCollectionResponseable, error) {
		if next != "" {
			return user.Messages().WithUrl(next).Get(ctx, nil)
		}
		return user.Messages().Get(ctx, &users.ItemMessagesRequestBuilderGetRequestConfiguration{
			QueryParameters: &users.ItemMessagesRequestBuilderGetQueryParameters{Filter: &filter, Select: messageFields, Top: &top},
		})
	})
}

func fingerprintFilter(f migrate.Fingerprint) (string, error) {
	if f.MessageID != "" {
		return "internetMessageId eq " + quote(f.MessageID), nil
	}
	if f.Received.IsZero() {
		return "", errors.New("the fingerprint has neither Message-ID nor received date")
	}
	second := f.Received.UTC().Truncate(time.Second)
	return fmt.Sprintf("receivedDateTime ge %s and receivedDateTime lt %s",
		second.Format(time.RFC3339), second.Add(time.Second).Format(time.RFC3339)), nil
}

// List yields each message of a folder, in no order that can be relied on.
func (t *target) List(ctx context.Context, folder migrate.TargetFolder, yield func(migrate.Found) error) error {
	top := pageSize
	err := t.messages(ctx, "list messages", yield, func(ctx context.Context, user *users.UserItemRequestBuilder, next string) (models.MessageCollectionResponseable, error) {
		messages := user.MailFolders().ByMailFolderId(folder.ID).Messages()
		if next != "" {
			return messages.WithUrl(next).Get(ctx, nil)
		}
		return messages.Get(ctx, &users.ItemMailFoldersItemMessagesRequestBuilderGetRequestConfiguration{
			QueryParameters: &users.ItemMailFoldersItemMessagesRequestBuilderGetQueryParameters{Select: messageFields, Top: &top},
		})
	})
	if migrate.KindOf(err) == migrate.NoFolder {
		t.forgetFolders(ctx)
	}
	return err
}

// messages follows the pages. Yield's own error is returned as it is.
func (t *target) messages(ctx context.Context, op string, yield func(migrate.Found) error, get messagePage) error {
	for next := ""; ; {
		var page models.MessageCollectionResponseable
		err := t.graph(ctx, op, func(ctx context.Context, user *users.UserItemRequestBuilder) (err error) {
			page, err = get(ctx, user, next)
			return err
		})
		if err != nil {
			return err
		}
		for _, m := range page.GetValue() {
			if err := yield(t.found(m)); err != nil {
				return err
			}
		}
		if next = deref(page.GetOdataNextLink()); next == "" {
			return nil
		}
	}
}

func (t *target) found(m models.Messageable) migrate.Found {
	f := migrate.Fingerprint{
		MessageID: deref(m.GetInternetMessageId()),
		Date:      deref(m.GetSentDateTime()),
		Subject:   t.subject(deref(m.GetSubject())),
		Received:  deref(m.GetReceivedDateTime()),
	}
	if from := m.GetFrom(); from != nil && from.GetEmailAddress() != nil {
		f.From = deref(from.GetEmailAddress().GetAddress())
	}
	f = f.Normal()
	return migrate.Found{
		ID:          deref(m.GetId()),
		FolderID:    deref(m.GetParentFolderId()),
		Fingerprint: f,
		Draft:       deref(m.GetIsDraft()),
		Read:        deref(m.GetIsRead()),
		Received:    f.Received,
	}
}

// subject decodes words that Exchange passed on because it does not know their charset.
func (t *target) subject(s string) string {
	if !strings.Contains(s, "=?") {
		return s
	}
	if decoded, err := t.x.options.Words.DecodeHeader(s); err == nil {
		return decoded
	}
	return s
}
