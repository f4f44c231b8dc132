package imapsource

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"

	"mailferry/shared/migrate"
)

// mapped writes folders as "path=use", one a word; "!" marks what cannot be opened.
func mapped(t tree, list ...*imap.ListData) string {
	var out []string
	for _, f := range t.folders(list, nil) {
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
	return strings.Join(out, " ")
}

// ownSpaces is the tree of a server with these namespaces of the user's, of which the last can be the shared one.
func ownSpaces(shared bool, prefixes ...string) (t tree) {
	var list []imap.NamespaceDescriptor
	for _, prefix := range prefixes {
		list = append(list, imap.NamespaceDescriptor{Prefix: prefix, Delim: '.'})
	}
	own := len(list)
	if shared {
		own--
	}
	t.namespaces(&imap.NamespaceData{Personal: list[:own], Shared: list[own:]})
	return t
}

func mb(name string, attrs ...imap.MailboxAttr) *imap.ListData {
	return &imap.ListData{Mailbox: name, Delim: '/', Attrs: attrs}
}

func dotted(name string, attrs ...imap.MailboxAttr) *imap.ListData {
	return &imap.ListData{Mailbox: name, Delim: '.', Attrs: attrs}
}

func TestFolderMapping(t *testing.T) {
	for _, c := range []struct {
		name, got, want string
	}{
		{"inbox first, then by path",
			mapped(tree{}, mb("b"), mb("A/c"), mb("INBOX"), mb("A", imap.MailboxAttrNoSelect), mb("A-b")),
			"INBOX=inbox A! A>c A-b b"},
		{"attributes win over names",
			mapped(tree{}, mb("INBOX"), mb("Sent"), mb("Gesendet", imap.MailboxAttrSent), mb("Papierkorb", `\trash`)),
			"INBOX=inbox Gesendet=sent Papierkorb=trash Sent=sent"},
		{"two names merge",
			mapped(tree{}, mb("Sent Items"), mb("Sent Messages"), mb("Work/Sent")),
			"Sent_Items=sent Sent_Messages=sent Work! Work>Sent"},
		{"one attribute each",
			mapped(tree{}, mb("b", imap.MailboxAttrSent), mb("a", imap.MailboxAttrSent, imap.MailboxAttrTrash), mb("c", imap.MailboxAttrAll), mb("d", imap.MailboxAttrFlagged)),
			"a=sent b=sent c=all d=flagged"},
		{"several marked below the top", mapped(tree{}, mb("A/1", imap.MailboxAttrArchive), mb("A/2", imap.MailboxAttrArchive), mb("B", imap.MailboxAttrArchive)), "A! A>1=archive A>2 B=archive"},
		{"names in other languages",
			mapped(tree{}, mb("Entwürfe"), mb("Éléments supprimés"), mb("Correo no deseado"), mb("Archivio")),
			"Archivio=archive Correo_no_deseado=junk Entwürfe=drafts Éléments_supprimés=trash"},
		{"personal prefix",
			mapped(tree{personal: "INBOX."}, dotted("INBOX"), dotted("INBOX.Sent"), dotted("INBOX.a.b")),
			"INBOX=inbox a! a>b Sent=sent"},
		{"below INBOX without a prefix", mapped(tree{}, mb("INBOX"), mb("INBOX/Sent"), mb("INBOX/x/Sent")), "INBOX=inbox INBOX>Sent=sent INBOX>x! INBOX>x>Sent"},
		{"others' folders are told apart and have no role", mapped(tree{foreign: []space{{"user/", migrate.OtherUsers}, {"shared/", migrate.Shared}}}, mb("INBOX"), mb("user/b/Sent", imap.MailboxAttrSent), mb("shared"), mb("sharedx")), "INBOX=inbox shared@shared sharedx user!@other-users user>b!@other-users user>b>Sent@other-users"},
		{"root", mapped(tree{root: "users/anna"}, mb("INBOX"), mb("users/anna/INBOX"), mb("users/anna/a/b"), mb("users/anna2/x"), mb("users/anna", imap.MailboxAttrNoSelect)), "INBOX=inbox a! a>b"},
		{"root with the other delimiter and mail itself", mapped(tree{root: "/old/anna/", personal: "INBOX."}, dotted("INBOX.old.anna"), dotted("INBOX.old.anna.x")), "INBOX=inbox x"},
		{"attributes in any case", mapped(tree{}, mb("a", "\\NOSELECT"), mb("b", "\\nonexistent"), mb("c", "\\DRAFTS")), "a! b! c=drafts"},
		{"XLIST's words", mapped(tree{}, mb("a", "\\Spam"), mb("b", "\\AllMail"), mb("c", "\\Starred"), mb("d", "\\Important"), mb("INBOX", "\\Inbox")), "INBOX=inbox a=junk b=all c=flagged d=important"},
		{"a personal namespace of views", mapped(tree{virtual: []string{"virtual/"}}, mb("virtual", imap.MailboxAttrNoSelect), mb("virtual/All", imap.MailboxAttrAll), mb("virtual/Sent", imap.MailboxAttrSent), mb("virtually")),
			"virtual! virtual>All=all virtual>Sent=virtual virtually"},
		{"a container with a usual name", mapped(tree{}, mb("Archive", imap.MailboxAttrNoSelect), mb("Archive/2019")), "Archive=archive! Archive>2019"},
		{"without NAMESPACE everything lies below INBOX", mapped(tree{guess: true}, dotted("INBOX"), dotted("INBOX.Sent"), dotted("INBOX.a.b")), "INBOX=inbox a! a>b Sent=sent"},
		{"without NAMESPACE some lie beside INBOX", mapped(tree{guess: true}, dotted("INBOX"), dotted("INBOX.x"), dotted("Sent")), "INBOX=inbox INBOX>x Sent=sent"},
		{"INBOX in another case", mapped(tree{personal: "INBOX."}, dotted("Inbox.x")), "x"},
		{"INBOX in two cases", mapped(tree{}, mb("Inbox"), mb("INBOX/Sent"), mb("inbox/b/c"), mb("INBOXes/inbox")), "INBOX=inbox INBOX>b! INBOX>b>c INBOX>Sent=sent INBOXes! INBOXes>inbox"},
		{"two own namespaces and a shared one without a prefix", mapped(ownSpaces(true, "INBOX.", "Mail.", ""), dotted("INBOX"), dotted("INBOX.a"), dotted("Mail.b"), dotted("pub.c")), "INBOX=inbox a Mail! Mail>b pub!@shared pub>c@shared"},
		{"a prefix without its delimiter", mapped(ownSpaces(false, "INBOX"), dotted("INBOX"), dotted("INBOX.a"), dotted("INBOXes")), "INBOX=inbox a INBOXes"},
		{"a root below INBOX, in another case", mapped(tree{root: "Inbox/old"}, mb("INBOX"), mb("INBOX/old/a"), mb("INBOX/older")), "a"},
		{"views below the prefix", mapped(ownSpaces(false, "INBOX.", "INBOX.virtual."), dotted("INBOX"), dotted("INBOX.a"), dotted("INBOX.virtual.All", imap.MailboxAttrAll), dotted("INBOX.virtual.New"), dotted("INBOX.virtually")),
			"INBOX=inbox a virtual! virtual>All=all virtual>New=virtual virtually"},
		{"decomposed names are composed", mapped(tree{}, mb("Entwu\u0308rfe")), "Entwürfe=drafts"},
		{"no delimiter and empty segments", mapped(tree{}, &imap.ListData{Mailbox: "a/b"}, mb("x//y/"), mb("/")), "a/b x! x>y"},
	} {
		if got := normal(c.got); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// normal joins the words of folder names with "_".
func normal(s string) string {
	for _, name := range []string{"Sent Items", "Sent Messages", "Éléments supprimés", "Correo no deseado"} {
		s = strings.ReplaceAll(s, name, strings.ReplaceAll(name, " ", "_"))
	}
	return s
}

func TestNamespacePrefixes(t *testing.T) {
	var commands []string
	e := scripted(t, hello, func(p *peer, tag, command string) bool {
		switch {
		case strings.HasPrefix(command, "AUTHENTICATE"):
			p.send("%s OK [CAPABILITY IMAP4rev1 NAMESPACE SPECIAL-USE LIST-EXTENDED] in\r\n", tag)
		case command == "NAMESPACE":
			p.send("* NAMESPACE ((\"INBOX.\" \".\")) ((\"user.\" \".\")) ((\"\" \".\"))\r\n%s OK done\r\n", tag)
		case strings.HasPrefix(command, "LIST"):
			commands = append(commands, command)
			p.send("* LIST () \".\" INBOX\r\n* LIST (\\Sent) \".\" \"INBOX.Out\"\r\n* LIST () \".\" \"user.x\"\r\n%s OK done\r\n", tag)
		default:
			return false
		}
		return true
	})
	folders, err := dial(t, e).Folders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range folders {
		got = append(got, fmt.Sprint(f.Name, " ", f.Path, " ", f.Use, " ", f.Selectable, " ", f.Space))
	}
	if want := []string{"INBOX [INBOX] inbox true ", "INBOX.Out [Out] sent true ", "user [user]  false other-users", "user.x [user x]  true other-users"}; !slices.Equal(got, want) {
		t.Errorf("folders %q, want %q", got, want)
	}
	if len(commands) != 1 || commands[0] != `LIST "" "*" RETURN (SPECIAL-USE)` {
		t.Errorf("asked %q", commands)
	}
}

func TestDecodeName(t *testing.T) {
	for raw, want := range map[string]string{
		"INBOX": "INBOX", "B&APw-ro": "Büro", "&-": "&", "a&-b": "a&b", "&U,BTFw-": "\u53f0\u5317",
		"&2D3eAA-": "😀", "Büro": "Büro",
	} {
		if got, err := decodeName(raw); err != nil || got != want {
			t.Errorf("%q is %q, %v; want %q", raw, got, err, want)
		}
	}
	for _, raw := range []string{"R&D", "&", "a\x01", "\xfc", "&AGE-", "&APw-&APw-", "&2D0-", "&APwA-", "&A-"} {
		if got, err := decodeName(raw); err == nil {
			t.Errorf("%q was decoded to %q", raw, got)
		}
	}
	if got := readableName("M\xfcll \x80"); got != "Müll €" {
		t.Errorf("readable: %q", got)
	}
}

// A server that lists raw UTF-8, or spells modified UTF-7 in another way than we do, gets its own
// spelling back: it would not know ours.
func TestNamesGoBackAsTheyCame(t *testing.T) {
	raw := []string{"Büro", "&AGE-b", "caf\xe9", "&APw-&APw-", "x&", "&JiAmIQ-", "B&APw-ro 2", "&BBAEMQQyACYEMwQ0BDU-"}
	var examined []string
	s := dial(t, scripted(t, hello, func(p *peer, tag, command string) bool {
		switch {
		case strings.HasPrefix(command, "LIST"):
			for _, name := range raw {
				p.send("* LIST () \"/\" {%d}\r\n%s\r\n", len(name), name)
			}
			p.send("%s OK done\r\n", tag)
			return true
		case strings.HasPrefix(command, "EXAMINE"):
			examined = append(examined, strings.Trim(strings.TrimPrefix(command, "EXAMINE "), `"`))
		}
		return false
	}))
	folders, err := s.Folders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var odd []string
	for _, f := range folders {
		if _, err := s.Open(t.Context(), f.Name); err != nil {
			t.Errorf("%q: %v", f.Name, err)
		}
		if f.Odd != "" {
			odd = append(odd, f.Name)
		}
	}
	slices.Sort(examined)
	slices.Sort(raw)
	if !slices.Equal(examined, raw) {
		t.Errorf("examined %q, want %q", examined, raw)
	}
	if want := "ab|café|x&|üü|Абв&где"; strings.Join(odd, "|") != want {
		t.Errorf("odd names %q, want %s", odd, want)
	}
}

// Two names that read the same stay two folders, with the same names whatever the order.
func TestNamesThatReadTheSame(t *testing.T) {
	names := func(lines ...string) string {
		s := dial(t, scripted(t, hello, func(p *peer, tag, command string) bool {
			if !strings.HasPrefix(command, "LIST") {
				return false
			}
			for _, line := range lines {
				p.send("* LIST () \"/\" \"%s\"\r\n", line)
			}
			p.send("%s OK done\r\n", tag)
			return true
		}))
		folders, err := s.Folders(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, f := range folders {
			out = append(out, f.Name)
		}
		return strings.Join(out, "|")
	}
	a, b, c := "M&APw-ll", "M\xfcll", "Müll"
	if one, other := names(a, b, c), names(c, b, a); one != other || one != "Müll|Müll~|Müll~~" {
		t.Errorf("%s and %s", one, other)
	}
}

func FuzzUTF7(f *testing.F) {
	for _, name := range []string{"B&APw-ro", "Büro", "a&b", "&-", "&2D3eAA-", "\x00\x1f", "日本", "&AAA-"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if decoded, err := decodeName(name); err == nil {
			again, err := decodeName(encodeName(decoded))
			if err != nil || again != decoded {
				t.Errorf("%q is %q, which is written %q, which is %q, %v", name, decoded, encodeName(decoded), again, err)
			}
		}
		if utf8.ValidString(name) {
			encoded := encodeName(name)
			if decoded, err := decodeName(encoded); err != nil || decoded != name {
				t.Errorf("%q is written %q, which is %q, %v", name, encoded, decoded, err)
			}
			for _, c := range []byte(encoded) {
				if c < ' ' || c > '~' {
					t.Errorf("%q is written %q", name, encoded)
				}
			}
		}
	})
}

func FuzzFolderMapping(f *testing.F) {
	f.Add(`() "/" "INBOX/a"`, "INBOX/", "users/anna")
	f.Add(`(\Sent \HasNoChildren) "." INBOX.Out`, "INBOX.", "")
	f.Add(`() NIL "R&D"`, "", "/")
	f.Fuzz(func(t *testing.T, line, prefix, root string) {
		hidden := ""
		list, ok := cleanList(line, func(raw string) string { hidden = raw; return placeholder + "0" })
		if !ok {
			return
		}
		attrs, rest, ok := cutList(list)
		if !ok || attrs != cleanFlags(attrs) {
			t.Fatalf("%q became %q", line, list)
		}
		_, name, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
		if strings.HasPrefix(strings.TrimLeft(rest, " "), `"`) {
			_, name, _ = cutQuoted(strings.TrimLeft(rest, " "))
		}
		raw, _, ok := cutQuoted(strings.TrimLeft(name, " "))
		if !ok {
			t.Fatalf("%q became %q, whose name is not quoted", line, list)
		}
		decoded, err := decodeName(raw)
		if err != nil {
			t.Fatalf("%q became %q, whose name cannot be decoded", line, list)
		}
		tr := tree{personal: prefix, root: root, guess: prefix == ""}
		for _, folder := range tr.folders([]*imap.ListData{{Mailbox: decoded, Delim: '/'}, {Mailbox: readableName(hidden), Delim: '.'}}, nil) {
			if len(folder.Path) == 0 {
				t.Fatalf("folder %q has no path", folder.Name)
			}
			for _, segment := range folder.Path {
				if segment == "" {
					t.Fatalf("folder %q has an empty segment", folder.Name)
				}
			}
		}
	})
}

func TestUsualNames(t *testing.T) {
	if len(languages) < 20 {
		t.Errorf("only %d languages", len(languages))
	}
	roles := make(map[string]migrate.SpecialUse)
	whole := 0
	for _, l := range languages {
		if !slices.Contains([]string{l.sent, l.trash, l.junk, l.drafts, l.archive}, "") {
			whole++
		}
		if l.sent == "" || l.trash == "" || l.drafts == "" || strings.Trim(l.source, "RTFDSOEM") != "" || l.source == "" {
			t.Errorf("%s is not whole: %+v", l.name, l)
		}
		for use, list := range l.names() {
			for name := range strings.SplitSeq(list, "|") {
				if name != fold(name) {
					t.Errorf("%s: %q is not folded", l.name, name)
				}
				if name != "" && roles[name] != "" && roles[name] != use {
					t.Errorf("%q stands for %s and, in %s, for %s", name, roles[name], l.name, use)
				}
				roles[name] = use
			}
		}
	}
	if whole < 20 {
		t.Errorf("only %d languages have all roles", whole)
	}
	for name, use := range map[string]migrate.SpecialUse{
		"Borttaget": migrate.UseTrash, "Uønsket e-mail": migrate.UseJunk, "Elemente șterse": migrate.UseTrash, "Διαγραμμένα": migrate.UseTrash, "ÖNEMSİZ E-POSTA": migrate.UseJunk,
		"Søppel": "", "Lixo": "", "Sletta": migrate.UseTrash, "Uønskt": migrate.UseJunk,
		"Gesendete Elemente": migrate.UseSent, "Éléments supprimés": migrate.UseTrash, "Lähetetyt": migrate.UseSent, "Черновики": migrate.UseDrafts,
		"İstenmeyen": migrate.UseJunk, "迷惑メール": migrate.UseJunk, "Wersje robocze": migrate.UseDrafts, "Archiv": migrate.UseArchive, " SENT ": migrate.UseSent,
	} {
		if got := byName[fold(name)]; got != use {
			t.Errorf("%q stands for %q, want %q", name, got, use)
		}
	}
}
