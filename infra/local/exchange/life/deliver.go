package life

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"mailferry/infra/local/exchange/store"
)

// Rule is an inbox rule. It looks at mail on delivery and at nothing else: what
// comes by APPEND or Graph passes it by
// (https://learn.microsoft.com/graph/api/resources/messagerule).
type Rule struct {
	From    string   // part of the From field, regardless of case; "" is any
	Subject string   // part of the subject, regardless of case; "" is any
	MoveTo  string   // folder; "" leaves it in Inbox
	Delete  bool     // goes to Deleted Items
	Read    bool     // is marked as read
	Forward []string // a copy would leave to these addresses
}

func (r Rule) fits(h store.Header) bool {
	return strings.Contains(strings.ToLower(h.Text("From")), strings.ToLower(r.From)) &&
		strings.Contains(strings.ToLower(h.Text("Subject")), strings.ToLower(r.Subject))
}

// SetRules replaces the inbox rules of a mailbox; the first one that fits is
// applied.
func (l *Life) SetRules(address string, rules ...Rule) error {
	m, ok := l.store.Mailbox(address)
	if !ok {
		return fmt.Errorf("there is no mailbox %q", address)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rules[m] = rules
	return nil
}

// ruleFor returns the rule for a message; the zero one leaves it in Inbox.
func (l *Life) ruleFor(m *store.Mailbox, h store.Header) Rule {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.rules[m] {
		if r.fits(h) {
			return r
		}
	}
	return Rule{}
}

// Deliver brings a message by SMTP. It becomes Exchange's own copy: with the
// Message-ID it had, or one of Exchange's, other Received fields than the copy at
// the source, and received now. Inbox rules see it before anybody does.
func (l *Life) Deliver(address string, message []byte) (*store.Item, error) {
	m, ok := l.store.Mailbox(address)
	if !ok {
		return nil, fmt.Errorf("there is no mailbox %q", address)
	}
	h := store.ParseHeader(message)
	trace := l.trace(h)
	body, err := l.store.Receive(io.MultiReader(bytes.NewReader(trace), bytes.NewReader(message)), int64(len(trace)+len(message)))
	if err != nil {
		return nil, fmt.Errorf("deliver: %w", err)
	}
	rule := l.ruleFor(m, h)
	n, folder := store.NewItem{Body: body}, store.InboxID
	if rule.Read {
		n.Flags |= store.Seen
	}
	switch {
	case rule.Delete:
		folder = store.DeletedItemsID
	case rule.MoveTo != "":
		f, err := m.FindFolder(rule.MoveTo)
		if err != nil {
			return nil, fmt.Errorf("apply inbox rule: %w", err)
		}
		folder = f.ID
	}
	if len(rule.Forward) > 0 {
		if err := l.store.Depart(m, store.Mail, rule.Forward...); err != nil {
			return nil, fmt.Errorf("apply inbox rule: %w", err)
		}
	}
	it, err := m.Add(folder, n)
	if err != nil {
		return nil, fmt.Errorf("deliver: %w", err)
	}
	return it, nil
}

// trace makes the fields that transport puts before a message.
func (l *Life) trace(h store.Header) []byte {
	now := l.now().UTC()
	const date = "Mon, 2 Jan 2006 15:04:05 +0000"
	var b bytes.Buffer
	fmt.Fprintf(&b, "Received: from EX02.local (10.0.0.2) by EX01.local (10.0.0.1) with Microsoft SMTP Server id 15.20; %s\r\n", now.Format(date))
	fmt.Fprintf(&b, "Received: from mail.example.net (192.0.2.1) by EX02.local (10.0.0.2) with Microsoft SMTP Server id 15.20; %s\r\n", now.Format(date))
	if h.Get("Message-Id") == "" {
		fmt.Fprintf(&b, "Message-ID: <%x@contoso.prod.outlook.com>\r\n", now.UnixNano())
	}
	b.WriteString("X-MS-Exchange-Organization-SCL: 1\r\n")
	return b.Bytes()
}
