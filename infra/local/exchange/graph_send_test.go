package exchange

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
)

// TestGraphDepartures shows that what Graph would send is recorded and nothing else is (design.md
// section 1, point 5): sendMail, send, reply, replyAll, forward, and a read receipt by isRead
// (msgraph-sdk-php issue 1169).
func TestGraphDepartures(t *testing.T) {
	s := start(t, Options{GraphRoles: []string{"Mail.ReadWrite", "Mail.Send"}})
	g := newGraph(t, s)
	base := "/users/" + anna
	to := []any{address("", "b@x.test")}
	id := g.want(g.do("POST", base+"/messages", map[string]any{
		"from": address("", "a@x.test"), "toRecipients": to, "ccRecipients": []any{address("", "c@x.test")},
	}), 201, "").body["id"].(string)
	if d := s.Departures(); len(d) != 0 {
		t.Fatalf("got %v before anything was sent", d)
	}
	g.want(g.do("POST", base+"/sendMail", map[string]any{"Message": map[string]any{"toRecipients": to}}), 202, "")
	g.want(g.do("POST", base+"/sendMail", base64.StdEncoding.EncodeToString([]byte("To: d@x.test\r\n\r\n"))), 202, "")
	g.want(g.do("POST", base+"/sendMail", map[string]any{"Message": map[string]any{}}), 400, "ErrorInvalidRecipients")
	message := base + "/messages/" + id
	g.want(g.do("POST", message+"/reply", map[string]any{"Comment": "x"}), 202, "")
	g.want(g.do("POST", message+"/replyAll", map[string]any{"comment": "x"}), 202, "")
	g.want(g.do("POST", message+"/forward", map[string]any{"comment": "x", "toRecipients": []any{address("", "e@x.test")}}), 202, "")
	g.want(g.do("POST", message+"/send", nil), 202, "")
	g.want(g.get(message), 404, "ErrorItemNotFound") // it is in Sent Items now
	var got []string
	for _, d := range s.Departures() {
		got = append(got, string(d.Kind)+" "+strings.Join(d.To, ","))
		if d.Mailbox != anna {
			t.Errorf("it comes from %s", d.Mailbox)
		}
	}
	want := []string{"mail b@x.test", "mail d@x.test", "mail a@x.test", "mail a@x.test,b@x.test,c@x.test", "mail e@x.test", "mail b@x.test,c@x.test"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	sent := g.want(g.get(base+"/mailFolders/sentitems/messages"), 200, "").values()
	if len(sent) != 1 || sent[0]["isDraft"] != false {
		t.Errorf("got %v", sent)
	}
	g.want(g.do("POST", base+"/messages/"+sent[0]["id"].(string)+"/send", nil), 400, "ErrorInvalidRequest")
}

// TestGraphReadReceipt shows that marking a message as read sends the receipt it asks for, and that one
// whose request was taken back at creation does not (msgraph-sdk-php issue 1169, MS-OXOMSG 2.2.1.29).
func TestGraphReadReceipt(t *testing.T) {
	s := start(t, Options{})
	g := newGraph(t, s)
	for i, tt := range []struct {
		body map[string]any
		want int
	}{
		{map[string]any{"isReadReceiptRequested": true, "from": address("", "a@x.test"), props: []any{prop("Integer 0x0E07", "0")}}, 1},
		{map[string]any{"isReadReceiptRequested": true, "from": address("", "a@x.test"), props: []any{prop("Integer 0x0E07", "0"), prop("Boolean 0x0029", "false")}}, 1},
		{map[string]any{"from": address("", "a@x.test"), props: []any{prop("Integer 0x0E07", "0")}}, 1},
	} {
		r := g.want(g.do("POST", "/users/"+anna+"/messages", tt.body), 201, "")
		if i == 0 && r.body["isReadReceiptRequested"] != true {
			t.Errorf("got %s", r.raw)
		}
		g.want(g.do("PATCH", "/users/"+anna+"/messages/"+r.body["id"].(string), map[string]any{"isRead": true}), 200, "")
		if d := s.Departures(); len(d) != tt.want || d[0].Kind != "read receipt" || !slices.Equal(d[0].To, []string{"a@x.test"}) {
			t.Errorf("%d: got %+v", i, d)
		}
	}
}
