package migrate

import (
	"strings"
	"testing"
)

func TestSignInFields(t *testing.T) {
	const (
		google = `"oauth":{"provider":"google","serviceAccountSetting":"SOURCE_KEY"}`
		ms     = `"oauth":{"provider":"microsoft","tenant":"contoso.example","grant":"client-credentials","clientID":"1","clientSecretSetting":"SOURCE_SECRET"}`
		custom = `"oauth":{"provider":"custom","clientID":"1","tokenURL":"https://token.example/"}`
		master = `"admin":{"style":"dovecot-master","user":"m","passwordSetting":"SOURCE_M"}`
		krb    = `"kerberos":{"realm":"EXAMPLE.TEST"}`
		keytab = `"kerberos":{"realm":"EXAMPLE.TEST","keytabSetting":"SOURCE_KEYTAB"}`
	)
	for _, c := range []struct {
		fields string // besides host
		bad    string // part of the error; empty: it is good
		needs  bool   // passwords, if it is good
	}{
		{`"auth":"scram-sha-256"`, "", true},
		{`"auth":"scram"`, "auth \"scram\" is none of", false},
		{`"minTLS":"1.0"`, "", true},
		{`"minTLS":"1"`, "minTLS", false},
		{`"fingerprint":"` + strings.Repeat("aB:", 31) + `cd"`, "", true},
		{`"fingerprint":"abcd"`, "fingerprint is not", false},
		{`"security":"none","fingerprint":"` + strings.Repeat("ab", 32) + `"`, "fingerprint needs", false},
		{google, "", false},
		{ms, "", false},
		{custom, "", true},
		{ms + `,"auth":"oauthbearer"`, "", false},
		{ms + `,"auth":"plain"`, "oauth goes with", false},
		{ms + `,"security":"none"`, "oauth needs security", false},
		{ms + "," + master, "exclude", false},
		{`"auth":"xoauth2"`, "needs oauth", false},
		{`"oauth":{"provider":"yahoo","clientID":"1"}`, "oauth.provider", false},
		{`"oauth":{"provider":"google"}`, "oauth.clientID", false},
		{`"oauth":{"provider":"google","serviceAccountSetting":"SEAL_IDENTITY"}`, "begins with SOURCE_", false},
		{`"oauth":{"provider":"custom","clientID":"1","tokenURL":"http://token.example/"}`, "https", false},
		{`"oauth":{"provider":"microsoft","clientID":"1"}`, "oauth.tenant", false},
		{`"oauth":{"provider":"microsoft","tenant":"../x","clientID":"1"}`, "neither an id nor a domain", false},
		{`"oauth":{"provider":"google","clientSecret":"in the clear"}`, "unknown field", false},
		{master, "", false},
		{`"admin":{"style":"authzid","user":"m","passwordSetting":"SOURCE_M"},"auth":"ntlm"`, "authzid goes with", false},
		{`"admin":{"style":"authzid","user":"m"}`, "admin.passwordSetting is missing", false},
		{`"admin":{"style":"exchange","user":"m","passwordSetting":"SOURCE_M"}`, "admin.domain", false},
		{`"admin":{"style":"root","user":"m","passwordSetting":"SOURCE_M"}`, "admin.style", false},
		{`"admin":{"style":"mirapoint","passwordSetting":"SOURCE_M"}`, "admin.user is missing", false},
		{`"auth":"gssapi"`, "needs kerberos", false},
		{krb, "", true},
		{keytab, "", false},
		{keytab + `,"admin":{"style":"authzid","user":"m"}`, "", false},
		{keytab + "," + master, "admin.style is authzid", false},
		{`"kerberos":{"realm":"X = {"}`, "brace", false},
		{`"kerberos":{"realm":"X","kdc":["a\n[libdefaults]"]}`, "brace", false},
	} {
		e, err := ParseEndpoint("old", []byte(`{"host":"mail.example",`+c.fields+`}`))
		switch {
		case c.bad == "" && (err != nil || e.NeedsPassword() != c.needs):
			t.Errorf("%s: needs passwords %t, %v", c.fields, e.NeedsPassword(), err)
		case c.bad != "" && (err == nil || !strings.Contains(err.Error(), c.bad)):
			t.Errorf("%s: got %v, want %q", c.fields, err, c.bad)
		}
	}
}

// What is left out has a safe value, and a fingerprint may be written as browsers show it.
func TestSignInDefaults(t *testing.T) {
	e, err := ParseEndpoint("old", []byte(`{"host":"mail.example","fingerprint":"`+strings.Repeat("AB:", 31)+`CD"}`))
	if err != nil || e.Auth != "auto" || e.MinTLS != "1.2" || e.Fingerprint != strings.Repeat("ab", 31)+"cd" {
		t.Errorf("%+v, %v", e, err)
	}
	e, err = ParseEndpoint("old", []byte(`{"host":"h","admin":{"style":"dovecot-master","user":"m","passwordSetting":"SOURCE_M"}}`))
	if err != nil || e.Admin.Separator != "*" {
		t.Errorf("%+v, %v", e.Admin, err)
	}
	for name, want := range map[string]bool{"SOURCE_A": true, "SOURCE_": false, "SEAL_IDENTITY": false, "source_a": false, "XSOURCE_A": false, "SOURCE_A\n": false} {
		if SecretSetting(name) != want {
			t.Errorf("%q: %t", name, !want)
		}
	}
}
