package imapsource

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"mailferry/shared/migrate"
)

// What servers answer to NAMESPACE, LIST and XLIST. Each transcript says where its lines come from.

// listing answers by command; what it leaves out is empty. States follow their folder, as Zimbra sends
// them (ImapHandler.java:2406, :2845-2906), those of search folders without UIDNEXT.
func listing(capabilities string, answers map[string][]string) hook {
	return func(p *peer, tag, command string) bool {
		if strings.HasPrefix(command, "AUTHENTICATE") {
			p.send("%s OK [CAPABILITY %s] in\r\n", tag, capabilities)
			return true
		}
		if word, _, _ := strings.Cut(command, " "); word != "LIST" && word != "XLIST" && word != "NAMESPACE" {
			return false
		}
		command, _, states := strings.Cut(command, " RETURN (STATUS ")
		for i, line := range answers[command] {
			p.send("* %s\r\n", line)
			if !states {
				continue
			}
			name, next := line[strings.Index(line, `"/" `)+4:], "UIDNEXT 100 "
			if slices.Contains(answers["search folders"], name) {
				next = ""
			}
			p.send("* STATUS %s (MESSAGES %d %sUIDVALIDITY 7)\r\n", name, i, next)
		}
		p.send("%s OK done\r\n", tag)
		return true
	}
}

// shownFolders writes the folders as "path=role!@space".
func shownFolders(t *testing.T, e migrate.Endpoint, change ...func(*migrate.Endpoint)) []string {
	t.Helper()
	for _, c := range change {
		c(&e)
	}
	folders, err := dial(t, e).Folders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range folders {
		text := strings.Join(f.Path, ">")
		if f.Use != "" {
			text += "=" + string(f.Use)
		}
		if !f.Selectable {
			text += "!"
		}
		if f.Space != migrate.Own {
			text += "@" + string(f.Space)
		}
		out = append(out, text)
	}
	return out
}

func wantShown(t *testing.T, got []string, want ...string) {
	t.Helper()
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// zm-mailbox 2b7f9787, store/src/java/com/zimbra/cs/imap: the capabilities are ImapHandler.java:140-145,
// NAMESPACE is :3115, a line of LIST :2402 and :2554-2629 (getFolderAttrs): special uses come with XLIST only,
// which calls Junk \Spam, flagged mail \Starred and a search for everything \AllMail; folders that are
// mounted have none, lie in the user's own tree and come last (:2288-2310). "\NoSelect" is written so.
// jstedfast/MailKit issue 653 quotes such a session. The folders of all other users are refused (:2225-2239).
func TestZimbraTellsRolesByXlist(t *testing.T) {
	answers := map[string][]string{
		"NAMESPACE": {`NAMESPACE (("" "/")) (("/home/" "/")) NIL`},
		`LIST "" "*"`: {
			`LIST (\NoSelect \HasChildren) "/" "Clients"`, `LIST (\HasNoChildren) "/" "Clients/A&-B"`, `LIST (\HasNoChildren) "/" "Drafts"`,
			`LIST (\HasNoChildren) "/" "Everything"`, `LIST (\HasNoChildren) "/" "INBOX"`, `LIST (\NoInferiors) "/" "Junk"`, `LIST (\HasNoChildren) "/" "Sent"`,
			`LIST (\HasNoChildren) "/" "Starred mail"`, `LIST (\HasNoChildren) "/" "Trash"`, `LIST (\HasNoChildren) "/" "Bob's Inbox"`,
		},
		"search folders": {`"Everything"`, `"Starred mail"`},
		`XLIST "" "*"`: {
			`XLIST (\NoSelect \HasChildren) "/" "Clients"`, `XLIST (\HasNoChildren) "/" "Clients/A&-B"`, `XLIST (\HasNoChildren \Drafts) "/" "Drafts"`,
			`XLIST (\HasNoChildren \AllMail) "/" "Everything"`, `XLIST (\HasNoChildren \Inbox) "/" "INBOX"`, `XLIST (\NoInferiors \Spam) "/" "Junk"`, `XLIST (\HasNoChildren \Sent) "/" "Sent"`,
			`XLIST (\HasNoChildren \Starred) "/" "Starred mail"`, `XLIST (\HasNoChildren \Trash) "/" "Trash"`, `XLIST (\HasNoChildren) "/" "Bob's Inbox"`,
		},
	}
	own := []string{"INBOX=inbox", "Bob's Inbox", "Clients!", "Clients>A&B", "Drafts=drafts", "Everything=all", "Junk=junk", "Sent=sent", "Starred mail=flagged", "Trash=trash"}
	whole := listing("IMAP4rev1 ACL BINARY CATENATE CHILDREN CONDSTORE ENABLE ESEARCH ESORT I18NLEVEL=1 ID IDLE LIST-EXTENDED LIST-STATUS LITERAL+ LOGIN-REFERRALS "+
		"MULTIAPPEND NAMESPACE QRESYNC QUOTA RIGHTS=ektx SASL-IR SEARCHRES SORT THREAD=ORDEREDSUBJECT UIDPLUS UNSELECT WITHIN XLIST", answers)
	for _, others := range []bool{false, true} {
		refused := false
		got := shownFolders(t, scripted(t, hello, func(p *peer, tag, command string) bool {
			if strings.HasPrefix(command, `LIST "" "/home/*"`) {
				refused = true
				p.send("%s NO LIST failed: wildcards not permitted in username\r\n", tag)
				return true
			}
			return whole(p, tag, command)
		}), func(e *migrate.Endpoint) { e.IncludeOtherUsers = others })
		wantShown(t, got, own...)
		if refused != others {
			t.Errorf("includeOtherUsers %v: asked for them: %v", others, refused)
		}
	}
}

// zm-mailbox 2b7f9787, ImapHandler.java:2368-2371, :2406, :2855-2883: a state that cannot be had, as may be of a
// mounted folder, is an exception, and LIST is answered NO. Without states it is not.
func TestListFailsOverOneState(t *testing.T) {
	whole := listing("IMAP4rev1 LIST-EXTENDED LIST-STATUS NAMESPACE", map[string][]string{
		"NAMESPACE":   {`NAMESPACE (("" "/")) (("/home/" "/")) NIL`},
		`LIST "" "*"`: {`LIST (\HasNoChildren) "/" "INBOX"`, `LIST (\HasNoChildren) "/" "Bob's Inbox"`},
	})
	got := shownFolders(t, scripted(t, hello, func(p *peer, tag, command string) bool {
		if strings.Contains(command, "STATUS") {
			p.send("%s NO LIST failed\r\n", tag)
			return true
		}
		return whole(p, tag, command)
	}))
	wantShown(t, got, "INBOX=inbox", "Bob's Inbox")
}

// What a server does not do for good, it does without; what it does not do for now is asked for again later: without
// the namespaces, somebody else's folders would look like the user's.
func TestWhatIsRefusedForNow(t *testing.T) {
	whole := listing("IMAP4rev1 NAMESPACE XLIST", map[string][]string{
		"NAMESPACE":    {`NAMESPACE (("INBOX." ".")) (("user." ".")) NIL`},
		`LIST "" "*"`:  {`LIST () "." INBOX`, `LIST () "." INBOX.a`},
		`XLIST "" "*"`: {`XLIST (\Sent) "." INBOX.a`},
	})
	for _, asked := range []string{"NAMESPACE", `XLIST "" "*"`, `LIST "" "user.*"`} {
		for answer, want := range map[string]migrate.Kind{"NO [UNAVAILABLE] try again later": migrate.Throttled, "NO System Error (Failure)": migrate.Throttled, "NO no": "", "BAD unknown command": ""} {
			e := scripted(t, hello, func(p *peer, tag, command string) bool {
				if command == asked {
					p.send("%s %s\r\n", tag, answer)
					return true
				}
				return whole(p, tag, command)
			})
			e.IncludeOtherUsers = true
			folders, err := dial(t, e).Folders(t.Context())
			if (err == nil) != (want == "") || err != nil && migrate.KindOf(err) != want {
				t.Errorf("%s to %s: %d folders, %v", answer, asked, len(folders), err)
			}
		}
	}
}

// hmailserver 4d11f81d, hmailserver/source/Server/IMAP: the capabilities are
// IMAPCommandCapability.cpp:19-45; NAMESPACE, whose prefix has no delimiter at its end, is
// IMAPCommandNamespace.cpp:33-40; a line of LIST FolderListCreator.cpp:131-162. The delimiter is a
// setting (IMAPConfiguration.cpp:186-215), and "\" one of its values.
func TestHMailServerFolders(t *testing.T) {
	for _, delimiter := range []string{".", "/", `\\`} {
		answers := map[string][]string{
			"NAMESPACE": {`NAMESPACE (("" "` + delimiter + `")) NIL (("#Public" "` + delimiter + `"))`},
			`LIST "" "*"`: {
				`LIST (\HasChildren) "` + delimiter + `" "INBOX"`, `LIST (\HasNoChildren) "` + delimiter + `" "INBOX` + delimiter + `Old"`, `LIST (\HasNoChildren) "` + delimiter + `" "Sent Items"`,
				`LIST (\HasNoChildren) "` + delimiter + `" "#Publications"`,
				`LIST (\HasNoChildren) "` + delimiter + `" "#Public` + delimiter + `Team"`, `LIST (\HasChildren \Noselect) "` + delimiter + `" "#Public"`,
			},
		}
		got := shownFolders(t, scripted(t, hello, listing("IMAP4 IMAP4rev1 CHILDREN IDLE QUOTA SORT ACL NAMESPACE RIGHTS=texk", answers)))
		wantShown(t, got, "INBOX=inbox", "#Public!@shared", "#Public>Team@shared", "#Publications", "INBOX>Old", "Sent Items=sent")
	}
}

// Gmail: https://developers.google.com/workspace/gmail/imap/imap-extensions, sections "Checking for the
// presence of extensions" and "Special-Use Extension of the LIST command": the attributes come without
// being asked for, and SPECIAL-USE is not among the capabilities that are shown there. Today it is: see gmail.
func TestGmailFolders(t *testing.T) {
	lines := []string{
		`LIST (\HasNoChildren) "/" "INBOX"`, `LIST (\Noselect \HasChildren) "/" "[Gmail]"`, `LIST (\HasNoChildren \All) "/" "[Gmail]/All Mail"`,
		`LIST (\HasNoChildren \Drafts) "/" "[Gmail]/Drafts"`, `LIST (\HasNoChildren \Important) "/" "[Gmail]/Important"`,
		`LIST (\HasNoChildren \Sent) "/" "[Gmail]/Sent Mail"`, `LIST (\HasNoChildren \Junk) "/" "[Gmail]/Spam"`,
		`LIST (\HasNoChildren \Flagged) "/" "[Gmail]/Starred"`, `LIST (\HasNoChildren \Trash) "/" "[Gmail]/Trash"`,
	}
	answers := map[string][]string{`LIST "" "*"`: lines}
	got := shownFolders(t, scripted(t, hello, listing("IMAP4rev1 UNSELECT LITERAL+ IDLE NAMESPACE QUOTA ID XLIST CHILDREN X-GM-EXT-1", answers)))
	wantShown(t, got, "INBOX=inbox", "[Gmail]!", "[Gmail]>All Mail=all", "[Gmail]>Drafts=drafts", "[Gmail]>Important=important", "[Gmail]>Sent Mail=sent",
		"[Gmail]>Spam=junk", "[Gmail]>Starred=flagged", "[Gmail]>Trash=trash")
}

// Exchange: the capabilities and lines are of a log in jstedfast/MailKit issue 1282 (2021): names are
// atoms, INBOX is written Inbox, some roles are marked without SPECIAL-USE, and folders that hold no
// mail are listed.
func TestExchangeListsFoldersThatHoldNoMail(t *testing.T) {
	answers := map[string][]string{
		"NAMESPACE": {`NAMESPACE (("" "/")) NIL NIL`},
		`LIST "" "*"`: {
			`LIST (\Marked \HasNoChildren) "/" app`, `LIST (\HasNoChildren) "/" Archive`, `LIST (\Marked \HasNoChildren \Trash) "/" Deleted`, `LIST (\Marked \HasNoChildren \Drafts) "/" Drafts`,
			`LIST (\Marked \HasNoChildren) "/" Inbox`, `LIST (\Marked \HasNoChildren \Junk) "/" Junk`, `LIST (\HasNoChildren) "/" Notes`, `LIST (\HasNoChildren) "/" Outbox`,
		},
	}
	got := shownFolders(t, scripted(t, hello, listing("IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS MOVE ID UNSELECT CLIENTACCESSRULES "+
		"CLIENTNETWORKPRESENCELOCATION BACKENDAUTHENTICATE CHILDREN IDLE NAMESPACE LITERAL+", answers)))
	wantShown(t, got, "INBOX=inbox", "app", "Archive=archive", "Deleted=trash", "Drafts=drafts", "Junk=junk", "Notes", "Outbox")
}

// Courier: the capabilities and lines are of a log in owncloud-archive/mail issue 1320 (2016). They come
// in no order, children before their parents, and everything lies below INBOX; NAMESPACE is refused
// here to see that the prefix is found without it.
func TestCourierListsInNoOrder(t *testing.T) {
	answers := map[string][]string{`LIST "" "*"`: {
		`LIST (\HasNoChildren) "." "INBOX.Sent.2012"`, `LIST (\HasNoChildren) "." "INBOX.Archive.Bruiloft Ruud &- Manon.Aanzoek"`,
		`LIST (\HasChildren) "." "INBOX.Twinklemedia.Oude correspondentie"`, `LIST (\HasNoChildren) "." "INBOX.Drafts"`,
		`LIST (\HasNoChildren) "." "INBOX.Twinklemedia.Oude correspondentie.Charles Poelmans"`, `LIST (\HasChildren) "." "INBOX"`,
	}}
	h := listing("IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=ORDEREDSUBJECT THREAD=REFERENCES SORT QUOTA IDLE AUTH=PLAIN ACL ACL2=UNION", answers)
	got := shownFolders(t, scripted(t, hello, func(p *peer, tag, command string) bool {
		if command == "NAMESPACE" {
			p.send("%s NO not here\r\n", tag)
			return true
		}
		return h(p, tag, command)
	}))
	wantShown(t, got, "INBOX=inbox", "Archive=archive!", "Archive>Bruiloft Ruud & Manon!", "Archive>Bruiloft Ruud & Manon>Aanzoek", "Drafts=drafts",
		"Sent=sent!", "Sent>2012", "Twinklemedia!", "Twinklemedia>Oude correspondentie", "Twinklemedia>Oude correspondentie>Charles Poelmans")
}

// Cyrus: NAMESPACE and LIST are those of nextcloud/mail issue 566 (2017): the shared namespace has no
// prefix, and is what lies in no other.
func TestCyrusSharedNamespaceWithoutAPrefix(t *testing.T) {
	answers := map[string][]string{
		"NAMESPACE":   {`NAMESPACE (("INBOX." ".")) (("user." ".")) (("" "."))`},
		`LIST "" "*"`: {`LIST (\HasChildren) "." INBOX`, `LIST (\HasChildren) "." INBOX.Archiv`, `LIST (\HasChildren) "." pub.shared`},
	}
	got := shownFolders(t, scripted(t, hello, listing("IMAP4rev1 NAMESPACE", answers)))
	wantShown(t, got, "INBOX=inbox", "Archiv=archive", "pub!@shared", "pub>shared@shared")
}

// SmarterMail 13: the lines are of jstedfast/MailKit issue 149 (2015); roles come with XLIST only. go-imap
// spells INBOX itself in capitals, and nothing else.
func TestSmarterMailSpellsInboxItsWay(t *testing.T) {
	answers := map[string][]string{
		`LIST "" "*"`: {
			`LIST (\Unmarked) "/" "Deleted Items"`, `LIST (\Unmarked) "/" "Inbox"`, `LIST (\Unmarked) "/" "Junk E-Mail"`,
			`LIST (\Unmarked) "/" "Sent Items"`, `LIST (\Unmarked) "/" "Inbox/TTT"`, `LIST (\Unmarked) "/" "Inbox/2222"`,
		},
		`XLIST "" "*"`: {
			`XLIST (\Unmarked \Trash) "/" "Deleted Items"`, `XLIST (\Unmarked \Inbox) "/" "Inbox"`, `XLIST (\Unmarked \Spam) "/" "Junk E-Mail"`,
			`XLIST (\Unmarked \Sent) "/" "Sent Items"`, `XLIST (\Unmarked) "/" "Inbox/TTT"`, `XLIST (\Unmarked) "/" "Inbox/2222"`,
		},
	}
	got := shownFolders(t, scripted(t, hello, listing("IMAP4rev1 UIDPLUS XLIST", answers)))
	wantShown(t, got, "INBOX=inbox", "Deleted Items=trash", "INBOX>2222", "INBOX>TTT", "Junk E-Mail=junk", "Sent Items=sent")
}
