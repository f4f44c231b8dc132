package imap

import (
	"cmp"
	"fmt"
	"strings"

	"mailferry/infra/local/exchange/store"
)

// envelope writes an ENVELOPE (RFC 3501, section 7.4.2).
func envelope(h store.Header) string {
	from := addressList(h, "From")
	return fmt.Sprintf("(%s %s %s %s %s %s %s %s %s %s)",
		nstring(h.Get("Date")), nstring(h.Get("Subject")),
		from, cmp.Or(nonNil(addressList(h, "Sender")), from), cmp.Or(nonNil(addressList(h, "Reply-To")), from),
		addressList(h, "To"), addressList(h, "Cc"), addressList(h, "Bcc"),
		nstring(h.Get("In-Reply-To")), nstring(h.Get("Message-Id")))
}

func nonNil(s string) string { return strings.TrimPrefix(s, "NIL") }

func addressList(h store.Header, name string) string {
	list := h.Addresses(name)
	if len(list) == 0 {
		return "NIL"
	}
	var b strings.Builder
	for _, a := range list {
		local, host, _ := strings.Cut(a.Address, "@")
		fmt.Fprintf(&b, "(%s NIL %s %s)", nstring(a.Name), nstring(local), nstring(host))
	}
	return "(" + b.String() + ")"
}

// nstring writes a string as a literal where a quoted string cannot hold it.
func nstring(s string) string {
	if s == "" {
		return "NIL"
	}
	for _, c := range []byte(s) {
		if c < 0x20 || c > 0x7e {
			return fmt.Sprintf("{%d}\r\n%s", len(s), s)
		}
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
