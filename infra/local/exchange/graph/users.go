package graph

import (
	"net/http"
	"regexp"
	"strings"

	"mailferry/infra/local/exchange/store"
)

// userProperties lists what a user has; true means it is shown without $select
// (https://learn.microsoft.com/graph/api/user-get).
var userProperties = []struct {
	name      string
	byDefault bool
	get       func(store.User) any
}{
	{"id", true, func(u store.User) any { return u.ID }},
	{"userPrincipalName", true, func(u store.User) any { return u.UserPrincipalName }},
	{"displayName", true, func(u store.User) any { return u.DisplayName }},
	{"mail", true, userMail},
	{"preferredLanguage", true, func(u store.User) any { return u.Language }},
	{"businessPhones", true, func(store.User) any { return []any{} }},
	{"givenName", true, none},
	{"jobTitle", true, none},
	{"mobilePhone", true, none},
	{"officeLocation", true, none},
	{"surname", true, none},
	{"proxyAddresses", false, userProxies},
	{"accountEnabled", false, func(u store.User) any { return u.AccountEnabled }},
	{"assignedLicenses", false, userLicenses},
	{"assignedPlans", false, userPlans},
	{"userType", false, func(store.User) any { return "Member" }},
	{"usageLocation", false, none},
	{"mailNickname", false, func(u store.User) any {
		local, _, _ := strings.Cut(u.UserPrincipalName, "@")
		return local
	}},
}

func none(store.User) any { return nil }

// userMail is empty for who never had a mailbox.
func userMail(u store.User) any {
	if !u.HasMailbox() {
		return nil
	}
	return u.Mail
}

func userProxies(u store.User) any {
	out := []any{}
	for _, p := range u.ProxyAddresses {
		out = append(out, p)
	}
	return out
}

func userLicenses(u store.User) any {
	if !u.Licensed {
		return []any{}
	}
	return []any{map[string]any{"skuId": "05e9a617-0261-4cee-bb44-138d3ef5d965", "disabledPlans": []any{}}}
}

func userPlans(u store.User) any {
	if !u.Licensed {
		return []any{}
	}
	return []any{map[string]any{
		"assignedDateTime": "2024-01-01T00:00:00Z", "capabilityStatus": "Enabled", "service": "exchange",
		"servicePlanId": "efb87545-963c-4e0d-99df-69c6916d9eb0",
	}}
}

func (f *face) listUsers(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r.URL)
	if err != nil {
		return err
	}
	if err := q.checkAdvanced(r); err != nil {
		return err
	}
	size, err := q.pageSize(100, 999)
	if err != nil {
		return err
	}
	var found []store.User
	for _, m := range f.o.Store.Mailboxes() {
		u := m.User()
		if q.filter != nil {
			ok, err := matches(q.filter, userObject(u))
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
		}
		found = append(found, u)
	}
	from, to := q.page(size, len(found))
	var value []any
	for _, u := range found[from:to] {
		v, err := userJSON(u, q)
		if err != nil {
			return err
		}
		value = append(value, v)
	}
	q.writePage(w, r, value, to-from, len(found))
	return nil
}

// checkAdvanced refuses queries that need ConsistencyLevel: eventual and
// $count=true (https://learn.microsoft.com/graph/aad-advanced-queries).
func (q query) checkAdvanced(r *http.Request) error {
	advanced := false
	walk(q.filter, func(e expr) {
		switch e := e.(type) {
		case negation:
			advanced = true
		case binary:
			advanced = advanced || e.op == "ne"
		case call:
			advanced = advanced || e.name == "endswith"
		}
	})
	eventual := strings.EqualFold(r.Header.Get("ConsistencyLevel"), "eventual")
	if advanced && !(eventual && q.count) || q.count && !eventual {
		return errUnsupported
	}
	return nil
}

func userObject(u store.User) object {
	return func(name string) (any, error) {
		for _, p := range userProperties {
			if p.name == name {
				return p.get(u), nil
			}
		}
		return nil, errNoProperty
	}
}

func (f *face) getUser(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r.URL)
	if err != nil {
		return err
	}
	key := r.PathValue("user")
	m, ok := f.user(key)
	if !ok {
		return noResource(key)
	}
	v, err := userJSON(m.User(), q)
	if err != nil {
		return err
	}
	v["@odata.context"] = baseURL(r) + "/$metadata#users/$entity"
	writeJSON(w, http.StatusOK, v)
	return nil
}

func noResource(key string) error {
	return refuse(404, "Request_ResourceNotFound",
		"Resource '"+key+"' does not exist or one of its queried reference-property objects are not present.")
}

// user looks a user up by id or UPN; paths take no alias
// (https://learn.microsoft.com/graph/api/user-get).
func (f *face) user(key string) (*store.Mailbox, bool) {
	m, ok := f.o.Store.Mailbox(key)
	if !ok {
		return nil, false
	}
	u := m.User()
	return m, strings.EqualFold(key, u.ID) || strings.EqualFold(key, u.UserPrincipalName)
}

var guid = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)

// findMailbox finds the mailbox that a path names; the codes tell who has none
// (alcionai/corso, errors of its Graph package).
func (f *face) findMailbox(key string) (*store.Mailbox, error) {
	m, ok := f.user(key)
	switch {
	case !ok && guid.MatchString(key):
		return nil, refuse(404, "ResourceNotFound", "Resource could not be discovered.")
	case !ok:
		return nil, refuse(404, "ErrorInvalidUser", "The requested user '"+key+"' is invalid.")
	case !m.User().HasMailbox():
		return nil, errNoMailbox
	}
	return m, nil
}

func userJSON(u store.User, q query) (map[string]any, error) {
	out := map[string]any{}
	for _, p := range userProperties {
		if q.has(p.name, p.byDefault) {
			out[p.name] = p.get(u)
		}
	}
	if q.selects != nil && len(out) < len(q.selects) {
		for _, s := range q.selects {
			if _, err := userObject(u)(s); err != nil {
				return nil, badRequest("Could not find a property named '%s' on type 'microsoft.graph.user'.", s)
			}
		}
	}
	return out, nil
}
