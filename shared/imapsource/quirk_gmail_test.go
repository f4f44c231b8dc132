package imapsource

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"mailferry/shared/migrate"
)

// gmail is a scripted Gmail. A message lies in the folder of each of its labels and, unless it is spam or in
// the bin, in All Mail (support.google.com/mail, "All Mail"). Its lines are those of
//
//   - capabilities: nextcloud/mail issue 10279 (2024), without COMPRESS, which a script cannot do;
//   - LIST: that page, section "Special-Use Extension of the LIST command"; STATUS: owncloud-archive/mail
//     issue 664;
//   - EXAMINE: mscdex/node-imap pull request 546 (of SELECT) and Webklex/php-imap issue 108;
//   - FETCH: mscdex/node-imap issue 852 (UID, then INTERNALDATE, FLAGS and at the end BODY[]) and, for
//     RFC822.SIZE, dhanji/sitebricks, MessageStatusExtractorTest.java (UID, RFC822.SIZE, INTERNALDATE, FLAGS).
type gmail struct {
	folders []*gmailFolder

	mu      sync.Mutex
	open    map[*peer]*gmailFolder
	bodies  map[string]int // that were asked for, by folder
	headers map[string]int
}

type gmailFolder struct {
	list  string // its line
	name  string
	texts []string // by sequence number; UIDs have gaps
}

func (f *gmailFolder) uid(i int) migrate.UID { return migrate.UID(3*i + 5) }

const (
	allMail   = "[Gmail]/All Mail"
	important = "[Gmail]/Important"
	starred   = "[Gmail]/Starred"
	sentMail  = "[Gmail]/Sent Mail"
	drafts    = "[Gmail]/Drafts"
	spam      = "[Gmail]/Spam"
	trash     = "[Gmail]/Trash"
)

func newGmail() *gmail {
	g := &gmail{open: map[*peer]*gmailFolder{}, bodies: map[string]int{}, headers: map[string]int{}}
	for _, line := range []string{
		`(\HasNoChildren) "/" "INBOX"`, `(\HasNoChildren) "/" "B&APw-ro"`, `(\HasChildren) "/" "Work"`, `(\HasNoChildren) "/" "Work/Deep"`,
		`(\Noselect \HasChildren) "/" "[Gmail]"`, `(\HasNoChildren \All) "/" "[Gmail]/All Mail"`, `(\HasNoChildren \Drafts) "/" "[Gmail]/Drafts"`,
		`(\HasNoChildren \Important) "/" "[Gmail]/Important"`, `(\HasNoChildren \Sent) "/" "[Gmail]/Sent Mail"`, `(\HasNoChildren \Junk) "/" "[Gmail]/Spam"`,
		`(\HasNoChildren \Flagged) "/" "[Gmail]/Starred"`, `(\HasNoChildren \Trash) "/" "[Gmail]/Trash"`,
	} {
		_, quoted, _ := strings.Cut(line, `"/" `)
		g.folders = append(g.folders, &gmailFolder{list: line, name: strings.Trim(quoted, `"`)})
	}
	return g
}

// add delivers a message with labels.
func (g *gmail) add(subject string, labels ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !slices.Contains(labels, spam) && !slices.Contains(labels, trash) {
		labels = append(labels, allMail)
	}
	for _, f := range g.folders {
		if slices.Contains(labels, f.name) {
			f.texts = append(f.texts, fmt.Sprintf("Message-ID: <%s@example.com>\r\nSubject: %[1]s\r\n\r\n%[1]s\r\n", subject))
		}
	}
}

// label gives a message that is in All Mail one label more.
func (g *gmail) label(subject, label string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	has := func(text string) bool { return strings.Contains(text, "Subject: "+subject+"\r\n") }
	all, to := g.folder(allMail), g.folder(label)
	to.texts = append(to.texts, all.texts[slices.IndexFunc(all.texts, has)])
}

func (g *gmail) folder(name string) *gmailFolder {
	return g.folders[slices.IndexFunc(g.folders, func(f *gmailFolder) bool { return f.name == name })]
}

func (g *gmail) hook(p *peer, tag, command string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	words := strings.SplitN(command, " ", 4)
	switch {
	case words[0] == "AUTHENTICATE":
		p.send("* CAPABILITY IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN X-GM-EXT-1 UIDPLUS ENABLE MOVE CONDSTORE ESEARCH UTF8=ACCEPT LIST-EXTENDED LIST-STATUS LITERAL- SPECIAL-USE APPENDLIMIT=35651584\r\n"+
			"%s OK u@gmail.com authenticated (Success)\r\n", tag)
	case words[0] == "NAMESPACE":
		p.send("* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n%s OK Success\r\n", tag)
	case words[0] == "LIST":
		for _, f := range g.folders {
			p.send("* LIST %s\r\n", f.list)
			if strings.Contains(command, "STATUS") && !strings.Contains(f.list, "Noselect") {
				p.send("* STATUS \"%s\" (MESSAGES %d UIDNEXT %d UIDVALIDITY 7 HIGHESTMODSEQ 48445442)\r\n", f.name, len(f.texts), f.uid(len(f.texts)))
			}
		}
		p.send("%s OK Success\r\n", tag)
	case words[0] == "EXAMINE":
		name, _, _ := cutQuoted(strings.TrimPrefix(command, "EXAMINE "))
		if name == "" {
			name = words[1]
		}
		f := g.folder(name)
		g.open[p] = f
		p.send("* FLAGS (\\Answered \\Flagged \\Draft \\Deleted \\Seen $NotPhishing $Phishing)\r\n* OK [PERMANENTFLAGS ()] Flags permitted.\r\n"+
			"* OK [UIDVALIDITY 7] UIDs valid.\r\n* %d EXISTS\r\n* 0 RECENT\r\n* OK [UIDNEXT %d] Predicted next UID.\r\n"+
			"* OK [HIGHESTMODSEQ 48445442]\r\n%s OK [READ-ONLY] %s selected. (Success)\r\n", len(f.texts), f.uid(len(f.texts)), tag, name)
	case words[0] == "UID" && words[1] == "FETCH":
		g.fetch(p, words[2], words[3])
		p.send("%s OK Success\r\n", tag)
	default:
		return false
	}
	return true
}

func (g *gmail) fetch(p *peer, uids, items string) {
	set, err := migrate.ParseUIDSet(uids)
	f := g.open[p]
	for i, text := range f.texts {
		if err != nil || !set.Contains(f.uid(i)) {
			continue
		}
		p.send("* %d FETCH (UID %d", i+1, f.uid(i))
		for _, item := range []struct{ name, value string }{
			{"RFC822.SIZE", fmt.Sprint(len(text))}, {"INTERNALDATE", `"26-Aug-2021 14:42:56 +0000"`}, {"FLAGS", `(\Seen)`},
		} {
			if strings.Contains(items, item.name) {
				p.send(" %s %s", item.name, item.value)
			}
		}
		switch header, _, _ := strings.Cut(text, "\r\n\r\n"); {
		case strings.Contains(items, "BODY.PEEK[HEADER]"):
			g.headers[f.name]++
			p.send(" BODY[HEADER] {%d}\r\n%s\r\n\r\n", len(header)+4, header)
		case strings.Contains(items, "BODY.PEEK[]"):
			g.bodies[f.name]++
			p.send(" BODY[] {%d}\r\n%s", len(text), text)
		}
		p.send(")\r\n")
	}
}

// fill delivers mail of every kind that labels make.
func (g *gmail) fill() {
	g.add("new", "INBOX")
	g.add("two labels", "INBOX", "Work")
	g.add("three labels", "Work", "Work/Deep", "B&APw-ro")
	g.add("archived")
	g.add("archived and starred", starred, important)
	g.add("sent", sentMail)
	g.add("sent and labelled", sentMail, "Work")
	g.add("note to self", sentMail, "INBOX", important)
	g.add("draft", drafts)
	g.add("spam", spam)
	g.add("gone", trash)
	g.add("twins") // of two archived ones
	g.add("twins")
}

// TestGmailLabelsOnce brings each message once: where its role says, else under its first label.
func TestGmailLabelsOnce(t *testing.T) {
	g := newGmail()
	g.fill()
	m := startMigration(t, scripted(t, hello, g.hook), func(e *migrate.Endpoint) { e.Labels = migrate.LabelsOnce })
	m.passes(1)
	m.want(
		"(archive): archived", "(archive): archived and starred", "(archive): twins", "(archive): twins",
		"(drafts): draft", "(inbox): new", "(inbox): note to self", "(inbox): two labels", "(junk): spam",
		"(sent): note to self", "(sent): sent", "(sent): sent and labelled", "(trash): gone", "büro: three labels",
	)
}

// TestGmailLabels brings each message into the folder of each label, and the others into Archive: none is
// missed and none comes twice into one folder. Of what has come, All Mail costs its header, once; a look-up
// asks for those of the four anchors in the same call, to tell whether its UIDs still mean what they meant.
func TestGmailLabels(t *testing.T) {
	g := newGmail()
	g.fill()
	m := startMigration(t, scripted(t, hello, g.hook), nil)
	m.passes(1)
	m.want(
		"(archive): archived", "(archive): archived and starred", "(archive): twins", "(archive): twins",
		"(drafts): draft", "(inbox): new", "(inbox): note to self", "(inbox): two labels", "(junk): spam",
		"(sent): note to self", "(sent): sent", "(sent): sent and labelled", "(trash): gone",
		"büro: three labels", "work/deep: three labels", "work: sent and labelled", "work: three labels", "work: two labels",
	)
	if g.headers[allMail] != 11 || g.bodies[allMail] != 4 || g.bodies[starred]+g.bodies[important]+g.headers[starred] != 0 {
		t.Errorf("headers %v, bodies %v", g.headers, g.bodies)
	}
	g.add("new and archived at once")
	g.add("later", "INBOX")
	g.label("archived", "Work")
	m.passes(2)
	m.want(
		"(archive): archived", "(archive): archived and starred", "(archive): new and archived at once", "(archive): twins", "(archive): twins",
		"(drafts): draft", "(inbox): later", "(inbox): new", "(inbox): note to self", "(inbox): two labels", "(junk): spam",
		"(sent): note to self", "(sent): sent", "(sent): sent and labelled", "(trash): gone",
		"büro: three labels", "work/deep: three labels", "work: archived", "work: sent and labelled", "work: three labels", "work: two labels",
	)
	if g.headers[allMail] != 11+2+4 || g.bodies[allMail] != 5 {
		t.Errorf("headers %v, bodies %v", g.headers, g.bodies)
	}
}
