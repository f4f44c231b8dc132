package imap

import (
	"errors"
	"strings"

	"mailferry/infra/local/exchange/store"
)

// attributes that Exchange shows for well-known folders (RFC 6154).
var specialUse = map[string]string{
	"drafts": `\Drafts`, "sentitems": `\Sent`, "deleteditems": `\Trash`, "junkemail": `\Junk`, "archive": `\Archive`,
}

// reservedName cannot be given to a folder at the top: Exchange keeps a hidden
// one of that name (imapsync, FAQ.Office365.txt, "Folder name is reserved").
const reservedName = "Files"

// node is a folder with its IMAP name.
type node struct {
	store.Folder
	name string // in modified UTF-7
}

// tree lists the folders with their names; Inbox has that name in every
// language (MailKit issue 1282). A folder with "/" in its name is out of reach
// with all below it (node-imap issue 553, Microsoft's "Tips for optimizing IMAP
// migrations").
func (s *session) tree() []node {
	folders := s.mailbox.Folders()
	byID := map[uint64]store.Folder{}
	for _, f := range folders {
		byID[f.ID] = f
	}
	out := make([]node, 0, len(folders))
	for _, f := range folders {
		if name := fullName(byID, f); name != "" {
			out = append(out, node{f, name})
		}
	}
	return out
}

// fullName returns "" for a folder out of reach.
func fullName(byID map[uint64]store.Folder, f store.Folder) string {
	name := encodeName(f.Name)
	if f.ID == store.InboxID {
		name = inboxName
	}
	if strings.Contains(f.Name, "/") {
		return ""
	}
	parent, ok := byID[f.Parent]
	if !ok {
		return name
	}
	above := fullName(byID, parent)
	if above == "" {
		return ""
	}
	return above + "/" + name
}

const inboxName = "Inbox"

// find looks a folder up by its IMAP name, regardless of case.
func (s *session) find(name string) (store.Folder, error) {
	levels, err := splitName(name)
	if err != nil {
		return store.Folder{}, err
	}
	if strings.EqualFold(levels[0], inboxName) {
		inbox, err := s.mailbox.Folder(store.InboxID)
		if err != nil {
			return store.Folder{}, err
		}
		levels[0] = inbox.Name
	}
	return s.mailbox.FolderByPath(levels)
}

// splitName decodes the levels of an IMAP name.
func splitName(name string) ([]string, error) {
	levels := strings.Split(strings.TrimSuffix(name, "/"), "/")
	for i, l := range levels {
		d, err := decodeName(l)
		if err != nil {
			return nil, badArgument
		}
		if strings.TrimSpace(d) == "" || strings.Contains(d, "/") {
			return nil, badArgument
		}
		levels[i] = d
	}
	return levels, nil
}

// text returns argument i if it is an atom or string.
func (c command) text(i int) (string, error) {
	if i >= len(c.args) || c.args[i].isList {
		return "", badArgument
	}
	return c.args[i].text, nil
}

// folder returns the folder that argument i names; missing is the reply if
// there is none.
func (s *session) folder(c command, i int, missing noReply) (store.Folder, error) {
	name, err := c.text(i)
	if err != nil {
		return store.Folder{}, err
	}
	f, err := s.find(name)
	if errors.Is(err, store.ErrNoSuchFolder) {
		return f, missing
	}
	return f, err
}

func (s *session) namespace(command) (string, error) {
	s.untagged(`NAMESPACE (("" "/")) NIL NIL`)
	return "NAMESPACE completed.", nil
}

// list answers LIST and LSUB; all folders count as subscribed.
func (s *session) list(c command) (string, error) {
	reference, err := c.text(0)
	if err != nil {
		return "", err
	}
	pattern, err := c.text(1)
	if err != nil || len(c.args) > 2 {
		return "", badArgument
	}
	if pattern == "" && c.name == "LIST" {
		s.untagged(`LIST (\Noselect \HasChildren) "/" ""`)
		return "LIST completed.", nil
	}
	for _, n := range s.tree() {
		if !match(strings.ToLower(reference+pattern), strings.ToLower(n.name)) {
			continue
		}
		flags := []string{`\HasNoChildren`}
		if n.Children > 0 {
			flags[0] = `\HasChildren`
		}
		if use := specialUse[n.WellKnown]; use != "" {
			flags = append(flags, use)
		}
		s.untagged(`%s (%s) "/" %s`, c.name, strings.Join(flags, " "), quote(n.name))
	}
	return c.name + " completed.", nil
}

// match tells whether a LIST pattern fits: "*" stands for anything, "%" for
// anything within a level. It takes time of pattern times name at most.
func match(pattern, name string) bool {
	// at[i] tells whether what was read of the pattern fits the first i octets.
	at := make([]bool, len(name)+1)
	at[0] = true
	for _, p := range []byte(pattern) {
		if p == '*' || p == '%' {
			for i := range len(name) {
				at[i+1] = at[i+1] || at[i] && (p == '*' || name[i] != '/')
			}
			continue
		}
		for i := len(name); i > 0; i-- {
			at[i] = at[i-1] && name[i-1] == p
		}
		at[0] = false
	}
	return at[len(name)]
}

// quote writes a string as an atom where that is possible, else quoted.
func quote(s string) string {
	if s != "" && !strings.ContainsAny(s, " (){%*\"\\]") {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

func (s *session) subscribe(c command) (string, error) {
	_, err := s.folder(c, 0, noReply(c.name+" failed."))
	return c.name + " completed.", err
}

// create makes a folder and the levels above it. Its class is IPF.Imap.
func (s *session) create(c command) (string, error) {
	name, err := c.text(0)
	if err != nil {
		return "", err
	}
	levels, err := splitName(name)
	if err != nil {
		return "", err
	}
	if strings.EqualFold(levels[0], reservedName) {
		return "", noReply("Folder name is reserved.")
	}
	parent, made := store.RootID, false
	for i := range levels {
		encoded := make([]string, i+1)
		for j, l := range levels[:i+1] {
			encoded[j] = encodeName(l)
		}
		if f, err := s.find(strings.Join(encoded, "/")); err == nil {
			parent = f.ID
			continue
		}
		f, err := s.mailbox.CreateFolder(parent, levels[i], store.ClassIMAP)
		if errors.Is(err, store.ErrFolderExists) {
			return "", noReply("CREATE failed.")
		}
		if err != nil {
			return "", err
		}
		parent, made = f.ID, true
	}
	if !made {
		return "", noReply("Mailbox already exists.")
	}
	return "CREATE completed.", nil
}

func (s *session) deleteFolder(c command) (string, error) {
	f, err := s.folder(c, 0, "Mailbox doesn't exist.")
	if err != nil {
		return "", err
	}
	if f.Children > 0 {
		return "", noReply("DELETE failed.")
	}
	if err := s.mailbox.DeleteFolder(f.ID); err != nil {
		return "", refusal(err, "DELETE failed.")
	}
	return "DELETE completed.", nil
}

func (s *session) rename(c command) (string, error) {
	f, err := s.folder(c, 0, "Mailbox doesn't exist.")
	if err != nil {
		return "", err
	}
	name, err := c.text(1)
	if err != nil {
		return "", err
	}
	levels, err := splitName(name)
	if err != nil {
		return "", err
	}
	parent := store.RootID
	if i := strings.LastIndexByte(name, '/'); len(levels) > 1 {
		p, err := s.find(name[:i])
		if err != nil {
			return "", noReply("RENAME failed.")
		}
		parent = p.ID
	}
	if _, err := s.mailbox.RenameFolder(f.ID, parent, levels[len(levels)-1]); err != nil {
		return "", refusal(err, "RENAME failed.")
	}
	return "RENAME completed.", nil
}

// refusal turns what the store refuses into a NO reply.
func refusal(err error, reply noReply) error {
	for _, known := range []error{store.ErrReadOnly, store.ErrFolderExists, store.ErrNoSuchFolder, store.ErrNoSuchItem} {
		if errors.Is(err, known) {
			return reply
		}
	}
	return err
}

func (s *session) status(c command) (string, error) {
	if len(c.args) != 2 || !c.args[1].isList {
		return "", badArgument
	}
	f, err := s.folder(c, 0, "Mailbox doesn't exist.")
	if err != nil {
		return "", err
	}
	values := map[string]int64{
		"MESSAGES": int64(f.Total), "RECENT": 0, "UIDNEXT": int64(f.UIDNext),
		"UIDVALIDITY": int64(f.UIDValidity), "UNSEEN": int64(f.Unread),
	}
	var out []string
	for _, v := range c.args[1].list {
		item := strings.ToUpper(v.text)
		n, ok := values[item]
		if !ok {
			return "", badArgument
		}
		out = append(out, item+" "+number(n))
	}
	s.untagged("STATUS %s (%s)", quote(c.args[0].text), strings.Join(out, " "))
	return "STATUS completed.", nil
}
