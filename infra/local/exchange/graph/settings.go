package graph

import (
	"net/http"
	"slices"
	"strings"

	"mailferry/infra/local/exchange/store"
)

func (f *face) getExchangeSettings(w http.ResponseWriter, r *request) error {
	id := "MBX:" + r.mailbox.User().MailboxGUID + "@" + f.o.TenantID
	writeJSON(w, http.StatusOK, map[string]any{
		"@odata.context":          baseURL(r.Request) + "/$metadata#users('" + r.mailbox.User().ID + "')/settings/exchange/$entity",
		"primaryMailboxId":        id,
		"inPlaceArchiveMailboxId": nil,
	})
	return nil
}

// getMailboxSettings shows what the product reads of them
// (https://learn.microsoft.com/graph/api/user-get-mailboxsettings).
func (f *face) getMailboxSettings(w http.ResponseWriter, r *request) error {
	u := r.mailbox.User()
	locale, name := "en-US", "English (United States)"
	if strings.HasPrefix(strings.ToLower(u.Language), "de") {
		locale, name = "de-DE", "Deutsch (Deutschland)"
	}
	purpose := "user"
	if u.Shared {
		purpose = "shared"
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"@odata.context": baseURL(r.Request) + "/$metadata#users('" + u.ID + "')/mailboxSettings",
		"archiveFolder":  folderID(r.mailbox, store.ArchiveID), "timeZone": "W. Europe Standard Time",
		"language":    map[string]any{"locale": locale, "displayName": name},
		"userPurpose": purpose, "automaticRepliesSetting": map[string]any{"status": "disabled"},
	})
	return nil
}

// listLicenses serves licenseDetails. That a licence is there does not mean
// that the mailbox is.
func (f *face) listLicenses(w http.ResponseWriter, r *http.Request) error {
	m, ok := f.user(r.PathValue("user"))
	if !ok {
		return noResource(r.PathValue("user"))
	}
	value := []any{}
	if m.User().Licensed {
		value = append(value, map[string]any{
			"id": "4qa5WqyDgUyUZp3nEgH3yQ", "skuId": "05e9a617-0261-4cee-bb44-138d3ef5d965", "skuPartNumber": "SPE_E3",
			"servicePlans": []any{map[string]any{
				"servicePlanId": "efb87545-963c-4e0d-99df-69c6916d9eb0", "servicePlanName": "EXCHANGE_S_ENTERPRISE",
				"provisioningStatus": "Success", "appliesTo": "User",
			}},
		})
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"@odata.context": baseURL(r) + "/$metadata#users('" + m.User().ID + "')/licenseDetails", "value": value,
	})
	return nil
}

type domain struct {
	name     string
	verified bool
}

// domains are those of the users, and those that were not verified.
func (f *face) domains() []domain {
	var out []domain
	for _, m := range f.o.Store.Mailboxes() {
		_, name, _ := strings.Cut(strings.ToLower(m.User().UserPrincipalName), "@")
		if d := (domain{name, true}); !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	for _, name := range f.o.UnverifiedDomains {
		out = append(out, domain{strings.ToLower(name), false})
	}
	return out
}

func (d domain) json(first bool) map[string]any {
	return map[string]any{
		"id": d.name, "authenticationType": "Managed", "isVerified": d.verified, "isDefault": first && d.verified,
		"isInitial": strings.HasSuffix(d.name, ".onmicrosoft.com"), "isRoot": true, "isAdminManaged": true,
		"supportedServices": []string{"Email"},
	}
}

// listDomains serves https://learn.microsoft.com/graph/api/domain-list.
func (f *face) listDomains(w http.ResponseWriter, r *http.Request) error {
	value := []any{}
	for i, d := range f.domains() {
		value = append(value, d.json(i == 0))
	}
	writeJSON(w, http.StatusOK, map[string]any{"@odata.context": baseURL(r) + "/$metadata#domains", "value": value})
	return nil
}

func (f *face) domain(r *http.Request) (d domain, first bool, err error) {
	for i, d := range f.domains() {
		if strings.EqualFold(d.name, r.PathValue("domain")) {
			return d, i == 0, nil
		}
	}
	return d, false, noResource(r.PathValue("domain"))
}

func (f *face) getDomain(w http.ResponseWriter, r *http.Request) error {
	d, first, err := f.domain(r)
	if err != nil {
		return err
	}
	out := d.json(first)
	out["@odata.context"] = baseURL(r) + "/$metadata#domains/$entity"
	writeJSON(w, http.StatusOK, out)
	return nil
}

// listDomainRecords tells the MX record that a domain has to have
// (https://learn.microsoft.com/graph/api/domain-list-serviceconfigurationrecords).
func (f *face) listDomainRecords(w http.ResponseWriter, r *http.Request) error {
	d, _, err := f.domain(r)
	if err != nil {
		return err
	}
	if !d.verified {
		return refuse(400, "Request_BadRequest", "The domain is not verified.")
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"@odata.context": baseURL(r) + "/$metadata#domains('" + d.name + "')/serviceConfigurationRecords",
		"value": []any{map[string]any{
			"@odata.type": "#microsoft.graph.domainDnsMxRecord", "id": "62f9a3a2-f1c1-4a5e-9a2b-6b3a3a2f1c14",
			"isOptional": false, "label": d.name, "recordType": "Mx", "supportedService": "Email", "ttl": 3600,
			"mailExchange": strings.ReplaceAll(d.name, ".", "-") + ".mail.protection.outlook.com", "preference": 0,
		}},
	})
	return nil
}
