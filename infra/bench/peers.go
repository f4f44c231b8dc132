package main

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"mailferry/infra/local/dovecot"
	"mailferry/infra/local/faults"
	"mailferry/infra/local/needs"
)

// mbsync reads the mailbox into a Maildir with Debian's isync, which keeps one connection and pipelines
// its commands.
func mbsync(ctx context.Context, b *bench, server *dovecot.Server) (contender, error) {
	if err := needs.Debian(ctx, "isync"); err != nil {
		return contender{}, err
	}
	read := func(ctx context.Context, proxy *faults.Proxy) (int64, error) {
		dir, err := os.MkdirTemp(b.dir, "mbsync-*")
		if err != nil {
			return 0, err
		}
		defer os.RemoveAll(dir)
		if err := mbsyncInto(ctx, dir, server, proxy); err != nil {
			return 0, err
		}
		return maildirOctets(filepath.Join(dir, "mail"))
	}
	return contender{"mbsync (isync)", read}, nil
}

func mbsyncInto(ctx context.Context, dir string, server *dovecot.Server, proxy *faults.Proxy) error {
	_, port, err := net.SplitHostPort(proxy.Addr())
	if err != nil {
		return err
	}
	config := fmt.Sprintf(`
FSync no

IMAPAccount source
Host localhost
Port %[1]s
User %[2]s
Pass %[3]s
SSLType IMAPS
CertificateFile %[4]s/ca.pem

IMAPStore source
Account source

MaildirStore copy
Path %[4]s/mail/
Inbox %[4]s/mail/INBOX
SubFolders Verbatim

Channel all
Far :source:
Near :copy:
Patterns *
Create Near
Sync Pull
CopyArrivalDate yes
SyncState %[4]s/state/
`, port, login, password, dir)
	for _, sub := range []string{"mail", "state"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), server.CA(), 0o600); err != nil {
		return err
	}
	path := filepath.Join(dir, "mbsyncrc")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "mbsync", "-q", "-c", path, "all").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// maildirOctets counts the octets of the messages as IMAP counts them, with CRLF at each line's end.
func maildirOctets(dir string) (sum int64, err error) {
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Base(filepath.Dir(path)) != "cur" && filepath.Base(filepath.Dir(path)) != "new" {
			return err
		}
		content, err := os.ReadFile(path)
		for i, c := range content {
			if c == '\n' && (i == 0 || content[i-1] != '\r') {
				sum++
			}
		}
		sum += int64(len(content) - len("X-TUID: 123456789012\r\n")) // mbsync's own field
		return err
	})
	return sum, err
}
