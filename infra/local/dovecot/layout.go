package dovecot

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Layout is how mailboxes look over IMAP. The zero value has one namespace with the separator "/" and
// special uses on five folders.
type Layout struct {
	Separator string // between the levels of a name, default "/"
	Prefix    string // of the user's own folders, such as "INBOX."

	// Virtual adds a namespace of views (the virtual plugin) below Prefix: All, marked \All, Flagged,
	// marked \Flagged, and Recent, which is not marked.
	Virtual bool

	// Public adds a namespace of folders that belong to nobody. Public.<folder> is made with MakePublic.
	Public bool

	// Shared adds a namespace of other users' folders, shared/<user>/, as far as these give rights to
	// them (SETACL, RFC 4314).
	Shared bool

	// Plain leaves the special uses out.
	Plain bool
}

func (l Layout) separator() string {
	if l.Separator == "" {
		return "/"
	}
	return l.Separator
}

// namespaces is the part of dovecot.conf about them.
func (l Layout) namespaces(dir string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "namespace inbox {\n  inbox = yes\n  separator = %s\n  prefix = %s\n", l.separator(), l.Prefix)
	if !l.Plain {
		for _, name := range []string{"Drafts", "Junk", "Trash", "Sent", "Archive"} {
			fmt.Fprintf(&b, "  mailbox %s {\n    special_use = \\%s\n  }\n", name, name)
		}
	}
	b.WriteString("}\n")
	if l.Virtual {
		fmt.Fprintf(&b, `mail_plugins = $mail_plugins virtual
namespace virtual {
  prefix = %[3]svirtual%[1]s
  separator = %[1]s
  location = virtual:%[2]s/virtual:INDEX=~/virtual
  mailbox All {
    special_use = \All
  }
  mailbox Flagged {
    special_use = \Flagged
  }
}
`, l.separator(), dir, l.Prefix)
	}
	if l.Public {
		fmt.Fprintf(&b, `namespace public {
  type = public
  prefix = Public%[1]s
  separator = %[1]s
  location = maildir:%[2]s/public
}
`, l.separator(), dir)
	}
	if l.Shared { // https://doc.dovecot.org/2.3/configuration_manual/shared_mailboxes/
		fmt.Fprintf(&b, `mail_plugins = $mail_plugins acl
protocol imap {
  mail_plugins = $mail_plugins imap_acl
}
namespace shared {
  type = shared
  prefix = shared%[1]s%%%%u%[1]s
  separator = %[1]s
  location = maildir:%[2]s/mail/%%%%u
  subscriptions = no
  list = children
}
plugin {
  acl = vfile
  acl_shared_dict = file:%[2]s/mail/shared-mailboxes
}
`, l.separator(), dir)
	}
	return b.String()
}

// make writes what the namespaces need on disk.
func (l Layout) make(dir string, o owner) error {
	if l.Public {
		if err := os.MkdirAll(filepath.Join(dir, "public"), 0o755); err != nil {
			return err
		}
		if err := o.own(filepath.Join(dir, "public")); err != nil {
			return err
		}
	}
	if !l.Virtual {
		return nil
	}
	for name, search := range map[string]string{"All": "all", "Flagged": "flagged", "Recent": "younger 604800"} {
		path := filepath.Join(dir, "virtual", name)
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(path, "dovecot-virtual"), []byte("*\n"+l.Prefix+"*\n-"+l.Prefix+"virtual"+l.separator()+"*\n  "+search+"\n"), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// MakePublic makes a folder of the public namespace, its levels parted by ".".
func (s *Server) MakePublic(folder string) error {
	return s.makeMaildir(filepath.Join(s.dir, "public", "."+folder))
}
