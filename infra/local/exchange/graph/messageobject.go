package graph

import (
	"net/mail"
	"strings"

	"mailferry/infra/local/exchange/store"
)

// messageObject gives a filter the properties of a message.
func (r *request) messageObject(it *store.Item) object {
	return func(name string) (any, error) {
		switch name {
		case "receivedDateTime":
			return it.Received, nil
		case "sentDateTime":
			return it.Sent, nil
		case "createdDateTime":
			return it.Created, nil
		case "lastModifiedDateTime":
			return it.Modified, nil
		case "internetMessageId":
			return it.MessageID, nil
		case "subject":
			return it.Subject, nil
		case "isRead":
			return it.Flags&store.Seen != 0, nil
		case "isDraft":
			return it.Flags&store.Draft != 0, nil
		case "importance":
			return importance(it), nil
		case "parentFolderId":
			return folderID(r.mailbox, it.Folder), nil
		case "categories":
			return anySlice(it.Categories), nil
		case "flag":
			return object(func(name string) (any, error) {
				if name != "flagStatus" {
					return nil, errNoProperty
				}
				return flagStatus(it), nil
			}), nil
		case "singleValueExtendedProperties":
			return r.propertyObjects(it)
		case "from", "sender", "hasAttachments":
			return r.headerObject(it, name)
		}
		return nil, errNoProperty
	}
}

// headerObject gives a filter the properties that lie on disk.
func (r *request) headerObject(it *store.Item, name string) (any, error) {
	h, err := r.header(it)
	if err != nil {
		return nil, err
	}
	if name == "hasAttachments" {
		return r.hasAttachments(it, h), nil
	}
	var a mail.Address
	if list := h.Addresses(name); len(list) > 0 {
		a = *list[0]
	}
	email := object(func(name string) (any, error) {
		switch name {
		case "address":
			return a.Address, nil
		case "name":
			return a.Name, nil
		}
		return nil, errNoProperty
	})
	return object(func(name string) (any, error) {
		if name != "emailAddress" {
			return nil, errNoProperty
		}
		return email, nil
	}), nil
}

func propertyObject(id, value string) object {
	typ, _, _ := strings.Cut(id, " ")
	return func(name string) (any, error) {
		switch name {
		case "id":
			return propertyID(id), nil
		case "value":
			return propertyValue{typ, value}, nil
		}
		return nil, errNoProperty
	}
}

// propertyObjects gives a filter the extended properties that it names.
func (r *request) propertyObjects(it *store.Item) (any, error) {
	out := []any{}
	for _, id := range r.query.filtered {
		v, ok, err := r.propertyOf(it, id)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, propertyObject(id, v))
		}
	}
	return out, nil
}

func anySlice(in []string) []any {
	out := []any{}
	for _, s := range in {
		out = append(out, s)
	}
	return out
}

func importance(it *store.Item) string {
	if it.Importance == "" {
		return "normal"
	}
	return it.Importance
}

func flagStatus(it *store.Item) string {
	if it.Flags&store.Flagged != 0 {
		return "flagged"
	}
	return "notFlagged"
}
