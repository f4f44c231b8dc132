package dovecot

import (
	"fmt"
	"strings"
)

// SignIn is how clients may sign in besides PLAIN and LOGIN with a user's own password.
type SignIn struct {
	// Mechanisms are offered besides PLAIN and LOGIN: cram-md5, scram-sha-1, scram-sha-256,
	// gssapi, xoauth2, oauthbearer.
	Mechanisms []string

	// NTLMPassword is everybody's password for ntlm: Dovecot leaves that to Samba's ntlm_auth, which
	// without a domain knows one. Empty: ntlm is not offered.
	NTLMPassword string

	// Master may open every mailbox, as user*master or by PLAIN's authorization identity. Empty: nobody.
	Master, MasterPassword string

	// Keytab is the file with the key of imap/localhost, and KerberosConf a krb5.conf(5), for gssapi.
	Keytab, KerberosConf string

	// Introspection is where access tokens are checked (RFC 7662), for xoauth2 and oauthbearer: the
	// token is appended to the address. Its answer names the user as "username".
	Introspection string
}

// packages are the Debian packages that are needed.
func (s SignIn) packages() []string {
	packages := []string{"dovecot-imapd"}
	if s.Keytab != "" {
		packages = append(packages, "dovecot-gssapi")
	}
	if s.NTLMPassword != "" {
		packages = append(packages, "winbind")
	}
	return packages
}

// environment is what Dovecot's processes need to find.
func (s SignIn) environment() []string {
	if s.KerberosConf == "" {
		return nil
	}
	return []string{"KRB5_CONFIG=" + s.KerberosConf}
}

// settings are the global settings.
func (s SignIn) settings(dir string) string {
	var b strings.Builder
	b.WriteString("disable_plaintext_auth = no\n")
	mechanisms := append([]string{"plain", "login"}, s.Mechanisms...)
	if s.NTLMPassword != "" {
		mechanisms = append(mechanisms, "ntlm")
		fmt.Fprintf(&b, "auth_use_winbind = yes\nauth_winbind_helper_path = %s/ntlm\n", dir)
	}
	fmt.Fprintf(&b, "auth_mechanisms = %s\n", strings.Join(mechanisms, " "))
	if s.Master != "" {
		b.WriteString("auth_master_user_separator = *\n")
	}
	if s.Keytab != "" {
		fmt.Fprintf(&b, "auth_krb5_keytab = %s\nauth_gssapi_hostname = localhost\n", s.Keytab)
	}
	if s.KerberosConf != "" {
		b.WriteString("import_environment = TZ KRB5_CONFIG\n")
	}
	return b.String()
}

// databases are the password databases that go before the users'.
func (s SignIn) databases(dir string) string {
	var b strings.Builder
	if s.Master != "" {
		fmt.Fprintf(&b, "passdb {\n  driver = passwd-file\n  args = scheme=PLAIN username_format=%%u %s/masters\n  master = yes\n  result_success = continue\n}\n", dir)
	}
	if s.Introspection != "" {
		fmt.Fprintf(&b, "passdb {\n  driver = oauth2\n  mechanisms = xoauth2 oauthbearer\n  args = %s/oauth2.conf\n}\n", dir)
	}
	return b.String()
}

// files are what the databases read, by name.
func (s SignIn) files() map[string]string {
	files := map[string]string{}
	if s.Master != "" {
		files["masters"] = s.Master + ":{PLAIN}" + s.MasterPassword + "\n"
	}
	if s.NTLMPassword != "" {
		files["ntlm"] = "#!/bin/sh\nexec /usr/bin/ntlm_auth \"$@\" --password='" + strings.ReplaceAll(s.NTLMPassword, "'", `'\''`) + "'\n"
	}
	if s.Introspection != "" {
		files["oauth2.conf"] = "introspection_mode = get\nintrospection_url = " + s.Introspection +
			"\nusername_attribute = username\nactive_attribute = active\nactive_value = true\n"
	}
	return files
}
