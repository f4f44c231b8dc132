package exchange

import (
	"testing"
)

// TestGraphDomains shows the domains of the tenant and the MX record each has to have (graph.md
// section 4; https://learn.microsoft.com/graph/api/domain-list-serviceconfigurationrecords).
func TestGraphDomains(t *testing.T) {
	g := newGraph(t, start(t, Options{UnverifiedDomains: []string{"new.example"}}))
	r := g.want(g.get("/domains"), 200, "")
	if list := r.values(); len(list) != 2 || list[0]["id"] != "contoso.test" || list[0]["isVerified"] != true || list[1]["isVerified"] != false {
		t.Errorf("got %s", r.raw)
	}
	r = g.want(g.get("/domains/Contoso.test/serviceConfigurationRecords"), 200, "")
	if v := r.values(); len(v) != 1 || v[0]["mailExchange"] != "contoso-test.mail.protection.outlook.com" || v[0]["@odata.type"] != "#microsoft.graph.domainDnsMxRecord" {
		t.Errorf("got %s", r.raw)
	}
	g.want(g.get("/domains/new.example/serviceConfigurationRecords"), 400, "Request_BadRequest")
	g.want(g.get("/domains/elsewhere.example"), 404, "Request_ResourceNotFound")
	if r = g.want(g.get("/domains/contoso.test"), 200, ""); r.body["isDefault"] != true {
		t.Errorf("got %s", r.raw)
	}
}

// TestGraphLicences shows what tells of a licence, which is no proof of a mailbox (graph.md section 4).
func TestGraphLicences(t *testing.T) {
	s := start(t, Options{})
	if err := s.AddUser(User{UserPrincipalName: "team@contoso.test", Shared: true}); err != nil {
		t.Fatal(err)
	}
	g := newGraph(t, s)
	for _, tt := range []struct {
		user     string
		licences int
		mailbox  bool
		purpose  string
	}{{anna, 1, true, "user"}, {"nobox@contoso.test", 0, false, ""}, {"team@contoso.test", 0, true, "shared"}} {
		if n := len(g.want(g.get("/users/"+tt.user+"/licenseDetails"), 200, "").values()); n != tt.licences {
			t.Errorf("%s: got %d licences", tt.user, n)
		}
		r := g.want(g.get("/users/"+tt.user+"?$select=id,mail,proxyAddresses,assignedLicenses,assignedPlans,accountEnabled"), 200, "")
		if n := len(r.body["assignedLicenses"].([]any)); n != tt.licences || (r.body["mail"] != nil) != tt.mailbox || len(r.body["assignedPlans"].([]any)) != tt.licences {
			t.Errorf("%s: got %s", tt.user, r.raw)
		}
		if r = g.get("/users/" + tt.user + "/mailboxSettings"); (r.status == 200) != tt.mailbox || tt.mailbox && r.body["userPurpose"] != tt.purpose {
			t.Errorf("%s: got %d %s", tt.user, r.status, r.raw)
		}
	}
	g.want(g.get("/users/elsewhere@x.test/licenseDetails"), 404, "Request_ResourceNotFound")
	if r := g.want(g.get("/users/"+olaf+"/mailboxSettings"), 200, ""); r.body["language"].(map[string]any)["locale"] != "de-DE" {
		t.Errorf("got %s", r.raw)
	}
}

// TestGraphProbe does what a pre-flight does: create a message, read back draft state and both dates,
// delete it (graph.md section 4, "write probe").
func TestGraphProbe(t *testing.T) {
	s := start(t, Options{})
	g := newGraph(t, s)
	id := g.make(anna, "inbox", 1)[0]
	path := "/users/" + anna + "/messages/" + id
	if r := g.want(g.get(path), 200, ""); r.body["isDraft"] != false || r.body["receivedDateTime"] != "2019-03-04T10:00:00Z" {
		t.Errorf("got %s", r.raw)
	}
	g.want(g.do("DELETE", path, nil), 204, "")
	m, _ := s.Mailbox(anna)
	if n := m.Stats().Messages; n != 0 || len(s.Departures()) != 0 {
		t.Errorf("got %d messages, %v", n, s.Departures())
	}
}
