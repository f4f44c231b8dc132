package dovecot

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf16"
)

// AddUser adds a login or changes its password.
func (s *Server) AddUser(login, password string) error {
	if login == "" || strings.ContainsAny(login, ":/\n\x00") || strings.ContainsAny(password, ":\n\x00") {
		return fmt.Errorf("add user %q: a login and a password cannot hold a colon, a slash or a line end", login)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, err := os.ReadFile(s.usersFile())
	if err != nil {
		return fmt.Errorf("add user %q: %w", login, err)
	}
	var lines []string
	for line := range strings.Lines(string(old)) {
		if !strings.HasPrefix(line, login+":") {
			lines = append(lines, line)
		}
	}
	lines = append(lines, login+":{PLAIN}"+password+"\n")
	// Dovecot reads the file anew when its time or inode changes, so a new file is never missed.
	temp := s.usersFile() + ".new"
	if err := os.WriteFile(temp, []byte(strings.Join(lines, "")), 0o644); err != nil {
		return fmt.Errorf("add user %q: %w", login, err)
	}
	if err := os.Rename(temp, s.usersFile()); err != nil {
		return fmt.Errorf("add user %q: %w", login, err)
	}
	return s.makeMaildir(s.MailDir(login))
}

// Item is a message to be put into a mailbox.
type Item struct {
	Folder   string    // UTF-8, segments joined by "/"; "INBOX" or empty is the inbox
	Message  []byte    // its octets: line ends are kept as they are, and IMAP shows them as CRLF
	Received time.Time // INTERNALDATE, of which the seconds are kept; zero is now
	Flags    []string  // \Seen, \Answered, \Flagged, \Deleted, \Draft
}

// Deliver puts one message into a folder, which it makes if need be.
func (s *Server) Deliver(ctx context.Context, login, folder string, message []byte, received time.Time, flags ...string) error {
	return s.Fill(ctx, login, []Item{{Folder: folder, Message: message, Received: received, Flags: flags}})
}

// Fill puts messages into a mailbox, in their order. It writes the Maildir itself: tens of thousands
// of messages take seconds. It can be called while clients are at work.
func (s *Server) Fill(ctx context.Context, login string, items []Item) error {
	made := map[string]bool{}
	for _, item := range items {
		if ctx.Err() != nil {
			return fmt.Errorf("fill mailbox: %w", context.Cause(ctx))
		}
		dir := s.folderDir(login, item.Folder)
		if !made[dir] {
			if err := s.makeMaildir(dir); err != nil {
				return fmt.Errorf("make folder %q: %w", item.Folder, err)
			}
			made[dir] = true
		}
		if err := s.write(dir, item); err != nil {
			return fmt.Errorf("deliver to %q: %w", item.Folder, err)
		}
	}
	return nil
}

// MakeFolder makes an empty folder.
func (s *Server) MakeFolder(login, folder string) error {
	if err := s.makeMaildir(s.folderDir(login, folder)); err != nil {
		return fmt.Errorf("make folder %q: %w", folder, err)
	}
	return nil
}

// MailDir returns a user's Maildir.
func (s *Server) MailDir(login string) string { return filepath.Join(s.dir, "mail", login) }

// folderDir returns a folder's Maildir++ directory: ".A.B" for A/B.
func (s *Server) folderDir(login, folder string) string {
	root := s.MailDir(login)
	if folder == "" || strings.EqualFold(folder, "INBOX") {
		return root
	}
	return filepath.Join(root, "."+strings.ReplaceAll(encodeName(folder), "/", "."))
}

func (s *Server) makeMaildir(dir string) error {
	made := []string{dir, filepath.Join(dir, "tmp"), filepath.Join(dir, "new"), filepath.Join(dir, "cur")}
	for _, path := range made {
		if err := os.Mkdir(path, 0o700); err != nil {
			if errors.Is(err, os.ErrExist) {
				continue
			}
			return err
		}
		if err := s.owner.own(path); err != nil {
			return err
		}
	}
	if dir == filepath.Join(s.dir, "mail", filepath.Base(dir)) {
		return nil
	}
	marker := filepath.Join(dir, "maildirfolder") // Maildir++: this is a folder, not a mailbox
	f, err := os.OpenFile(marker, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), s.owner.own(marker))
}

var delivered atomic.Uint64

// maildirFlags are the flag letters of a Maildir file name, which must be in this order.
var maildirFlags = []struct {
	flag   string
	letter byte
}{{`\Draft`, 'D'}, {`\Flagged`, 'F'}, {`\Answered`, 'R'}, {`\Seen`, 'S'}, {`\Deleted`, 'T'}}

// write puts a message into a folder. Dovecot gives UIDs in the order of the names and takes
// INTERNALDATE from the file's time.
func (s *Server) write(dir string, item Item) error {
	bare := bytes.Count(item.Message, []byte("\n")) - bytes.Count(item.Message, []byte("\r\n"))
	return PutIntoMaildir(dir, item, fmt.Sprintf(",S=%d,W=%d", len(item.Message), len(item.Message)+bare), s.owner.own)
}

// PutIntoMaildir puts a message into cur by way of tmp, as https://cr.yp.to/proto/maildir.html wants.
// Names are in the order of the calls; sizes is a part of them, such as ",S=123". own gives the file to
// its owner.
func PutIntoMaildir(dir string, item Item, sizes string, own func(path string) error) error {
	suffix := []byte(":2,")
	for _, f := range maildirFlags {
		for _, flag := range item.Flags {
			if strings.EqualFold(flag, f.flag) {
				suffix = append(suffix, f.letter)
			}
		}
	}
	now := time.Now()
	name := fmt.Sprintf("%d.M%06dP%dQ%09d.local%s", now.Unix(), now.Nanosecond()/1000, os.Getpid(), delivered.Add(1), sizes)
	temp := filepath.Join(dir, "tmp", name)
	if err := os.WriteFile(temp, item.Message, 0o600); err != nil {
		return err
	}
	if err := own(temp); err != nil {
		return err
	}
	if !item.Received.IsZero() {
		if err := os.Chtimes(temp, item.Received, item.Received); err != nil {
			return err
		}
	}
	return os.Rename(temp, filepath.Join(dir, "cur", name+string(suffix)))
}

var nameBase64 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding)

// encodeName writes a folder name in modified UTF-7 (RFC 3501 section 5.1.3), as Maildir++ stores it.
func encodeName(name string) string {
	var b strings.Builder
	var run []rune
	flush := func() {
		if len(run) == 0 {
			return
		}
		var octets []byte
		for _, u := range utf16.Encode(run) {
			octets = append(octets, byte(u>>8), byte(u))
		}
		b.WriteString("&" + nameBase64.EncodeToString(octets) + "-")
		run = run[:0]
	}
	for _, r := range name {
		switch {
		case r == '&':
			flush()
			b.WriteString("&-")
		case ' ' <= r && r < 0x7f:
			flush()
			b.WriteRune(r)
		default:
			run = append(run, r)
		}
	}
	flush()
	return b.String()
}
