// Package deposit puts mail into a local server over IMAP, as a mail program does.
package deposit

import (
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"mailferry/infra/local/dovecot"
)

// Account is a mailbox to sign in to in clear text.
type Account struct {
	Addr, Login, Password string
	Separator             string // of the server's folder names
	Prefix                string // of every folder but INBOX
}

// Fill appends messages to a mailbox, in their order, and makes the folders that they lie in.
func Fill(ctx context.Context, a Account, items []dovecot.Item) error {
	c, err := open(ctx, a)
	if err != nil {
		return fmt.Errorf("sign in to fill a mailbox: %w", err)
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	made := map[string]bool{"INBOX": true}
	for _, item := range items {
		name := a.name(item.Folder)
		if !made[name] {
			made[name] = true
			_ = c.Create(name, nil).Wait() // it may be there; APPEND tells
		}
		cmd := c.Append(name, int64(len(item.Message)), options(item))
		_, err := cmd.Write(item.Message)
		if err == nil {
			err = cmd.Close()
		}
		if err == nil {
			_, err = cmd.Wait()
		}
		if err != nil {
			return fmt.Errorf("append to %q: %w", name, err)
		}
	}
	return leave(c)
}

// leave returns when the server has ended the connection, so that it counts to no limit any more.
func leave(c *imapclient.Client) error {
	if err := c.Logout().Wait(); err != nil {
		return err
	}
	<-c.Closed()
	return nil
}

func options(item dovecot.Item) *imap.AppendOptions {
	o := &imap.AppendOptions{Time: item.Received}
	for _, flag := range item.Flags {
		o.Flags = append(o.Flags, imap.Flag(flag))
	}
	return o
}

func (a Account) name(folder string) string {
	if folder == "" || strings.EqualFold(folder, "INBOX") {
		return "INBOX"
	}
	return a.Prefix + strings.ReplaceAll(folder, "/", a.Separator)
}

// Do signs in and lets do work with the client.
func Do(ctx context.Context, a Account, do func(*imapclient.Client) error) error {
	c, err := open(ctx, a)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if err := do(c); err != nil {
		return err
	}
	return leave(c)
}

func open(ctx context.Context, a Account) (*imapclient.Client, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", a.Addr)
	if err != nil {
		return nil, err
	}
	c := imapclient.New(conn, nil)
	if err := c.Login(a.Login, a.Password).Wait(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Grant gives a user rights to a folder of the account, of which the name is as IMAP has it (RFC 4314).
func Grant(ctx context.Context, a Account, folder, user, rights string) error {
	err := Do(ctx, a, func(c *imapclient.Client) error {
		return c.SetACL(folder, imap.RightsIdentifier(user), imap.RightModificationReplace, imap.RightSet(rights)).Wait()
	})
	if err != nil {
		return fmt.Errorf("grant %s on %q to %s: %w", rights, folder, user, err)
	}
	return nil
}
