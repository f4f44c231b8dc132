package imapsource

import (
	"strings"

	"mailferry/shared/migrate"
)

// asAdmin returns how the administrator opens a mailbox. Exchange's, Dovecot's and Mirapoint's forms
// are those of Microsoft's IMAP migration
// (https://learn.microsoft.com/exchange/mailbox-migration/migrating-imap-mailboxes/csv-files-for-imap-migration-batches).
func asAdmin(a migrate.Admin, login, password string) credential {
	c := credential{login: a.User, password: password}
	switch a.Style {
	case migrate.AdminDovecotMaster:
		// auth_master_user_separator: https://doc.dovecot.org/2.3/configuration_manual/authentication/master_users/
		c.login = login + a.Separator + a.User
	case migrate.AdminExchange:
		// The last part is the alias (imapsync's FAQ.Exchange.txt, "admin/authuser account"), which is
		// usually what stands before the @.
		alias, _, _ := strings.Cut(login, "@")
		c.login = a.Domain + "/" + a.User + "/" + alias
	case migrate.AdminMirapoint:
		c.login = "#" + login + "#" + a.User + "#"
	default:
		// RFC 4422 section 3.4.1, RFC 4616 section 2. Cyrus: proxyservers and admins in imapd.conf(5).
		c.authzid = login
	}
	return c
}
