package imapsource

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"mailferry/shared/migrate"
)

// credential finds out what opens the mailbox. kept tells that it is a token from before, which may
// have been revoked since.
func (d Dialer) credential(ctx context.Context, endpoint migrate.Endpoint, mailbox migrate.Mailbox) (c credential, kept bool, err error) {
	switch {
	case endpoint.OAuth != nil:
		c.login = mailbox.Login
		c.token, kept, err = d.accessToken(ctx, endpoint, mailbox)
	case endpoint.Admin != nil:
		password := ""
		if endpoint.Admin.PasswordSetting != "" {
			password, err = d.setting(endpoint.Admin.PasswordSetting)
		}
		c = asAdmin(*endpoint.Admin, mailbox.Login, password)
	case endpoint.NeedsPassword():
		c.login = mailbox.Login
		if c.password, err = d.Password(ctx, mailbox); err != nil {
			err = fmt.Errorf("look up the password: %w", err)
		}
	default:
		c.login = mailbox.Login
	}
	if err == nil && endpoint.Kerberos != nil {
		c.ticket, err = d.ticket(endpoint, c)
	}
	c.host, c.port = endpoint.Host, endpoint.Port
	return c, kept, withoutSecrets(err, c.password)
}

// ticket gets the ticket of who signs in.
func (d Dialer) ticket(endpoint migrate.Endpoint, c credential) (*kerberosTicket, error) {
	k := *endpoint.Kerberos
	var keytab []byte
	if k.KeytabSetting != "" {
		text, err := d.setting(k.KeytabSetting)
		if err == nil {
			keytab, err = decodeKeytab(k.KeytabSetting, text)
		}
		if err != nil {
			return nil, err
		}
	}
	return getTicket(k, endpoint.Host, c.login, c.password, keytab)
}

// setting reads an app setting that the endpoint names.
func (d Dialer) setting(name string) (string, error) {
	if !migrate.SecretSetting(name) {
		return "", &migrate.Error{Op: "read app setting", Kind: migrate.Configuration, Err: errors.New("an endpoint may name app settings that begin with SOURCE_ only")}
	}
	value := ""
	if d.Setting != nil {
		var err error
		if value, err = d.Setting(name); err != nil {
			return "", &migrate.Error{Op: "read app setting", Kind: migrate.Configuration, Reason: migrate.SettingMissing, Err: err}
		}
	}
	// Who fills a vault from a file, or with echo, leaves a line end behind; each such sign-in counts towards a lock.
	if value = strings.TrimRight(value, "\r\n"); value == "" {
		return "", migrate.MissingSetting(name)
	}
	return value, nil
}
