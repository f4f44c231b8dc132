package imapsource

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"mailferry/shared/migrate"
)

// Responses of old and careless servers that the library would end the connection for (T11, T12).
func TestOddResponses(t *testing.T) {
	var examined []string
	s := dial(t, scripted(t, "* OK  [CAPABILITY  IMAP4rev1 AUTH=PLAIN  ]", func(p *peer, tag, command string) bool {
		switch {
		case strings.HasPrefix(command, "AUTHENTICATE"):
			p.send("+\r\n") // no SASL-IR
			if _, _, err := p.read(); err != nil {
				t.Error(err)
			}
			return false
		case strings.HasPrefix(command, "LIST"):
			p.send("* XGWEXTRA (1) {3}\r\nabc foo\r\n* LSUB () \"/\" x\r\n")
			p.send("* LIST (\\HasNoChildren \\bad]attr)  \"/\" INBOX\r\n* LIST () \"/\" R&D\r\n* LIST () \"/\" \"M\xfcll/Caf\xe9\"\r\n")
			p.send("* LIST () \"/\" \"B&APw-ro\"\r\n* LIST () NIL {5}\r\na \"b\\\r\n%s OK done\r\n", tag)
		case strings.HasPrefix(command, "EXAMINE"):
			examined = append(examined, strings.TrimPrefix(command, "EXAMINE "))
			p.send("* FLAGS (a]b \\)\r\n* OK [PERMANENTFLAGS (\\* x]y)] -\r\n* 3 EXISTS\r\n* 1 RECENT\r\n")
			p.send("* OK [UIDVALIDITY 4294967295]\r\n* OK [UIDNEXT 4294967296] -\r\n* OK [UNSEEN x\r\n%s OK\r\n", tag)
		case strings.HasPrefix(command, "FETCH 3 "):
			p.send("* 3 FETCH (UID 4294967294)\r\n%s OK done\r\n", tag)
		case isFetch(command):
			p.send("* 4 EXISTS\r\n*  3  fetch  (uid 7  FLAGS (\\Seen  bad]flag \\ $MDNSent \\Recent)  X-GM-LABELS (\"a)b\" {2}\r\nxx)\r\n")
			p.send("* 1 FETCH (MODSEQ (12) X-ODD {3}\r\na)b UID 8 INTERNALDATE \"00-Jan-2020 00:00:00 +0000\" FLAGS () RFC822.SIZE -1 BODY[] \"q\\\"\")\r\n")
			p.send("* 2 FETCH (UID 9 %s BODY[]<0> {2}\r\nok X-LAST NIL)\r\n%s OK done\r\n", meta, tag)
		default:
			return false
		}
		return true
	}))
	folders, err := s.Folders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range folders {
		if f.Selectable {
			names = append(names, f.Name)
		}
	}
	if got := strings.Join(names, "|"); got != `INBOX|a "b\|Büro|Müll/Café|R&D` {
		t.Errorf("folders: %s", got)
	}
	for _, name := range names {
		state, err := s.Open(t.Context(), name)
		if err != nil || state.UIDValidity != 4294967295 || state.UIDNext != 4294967295 || state.Messages != 3 {
			t.Fatalf("open %q: %+v, %v", name, state, err)
		}
	}
	if got, want := strings.Join(examined, " "), `INBOX "a \"b\\" "B&APw-ro" "M`+"\xfcll/Caf\xe9"+`" "R&D"`; got != want {
		t.Errorf("examined %q, want %q", got, want)
	}
	var infos []string
	err = s.Describe(t.Context(), migrate.UIDsOf(7, 8), func(info migrate.MessageInfo) error {
		infos = append(infos, fmt.Sprintf("%d %v %v", info.UID, info.Flags, info.Received.IsZero()))
		return nil
	})
	// Of UID 7 the server tells no date, however often it is asked: what it tells is taken.
	if want := `[8 [] true 7 [\Seen $MDNSent] true]`; err != nil || fmt.Sprint(infos) != want {
		t.Errorf("described %v, %v; want %s", infos, err, want)
	}
	got, err := collect(t, s, migrate.UIDsOf(8, 9))
	if err != nil || got[8] != `q"` || got[9] != "ok" {
		t.Errorf("got %v: %v", got, err)
	}
}

// A folder with an odd name can be opened before the folders were listed.
func TestOddNameIsLookedUp(t *testing.T) {
	s := dial(t, scripted(t, hello, func(p *peer, tag, command string) bool {
		switch {
		case strings.HasPrefix(command, "LIST"):
			p.send("* LIST () \"/\" \"R&D\"\r\n%s OK done\r\n", tag)
		case strings.HasPrefix(command, "EXAMINE") && command != `EXAMINE "R&D"`:
			p.send("%s NO no such folder\r\n", tag)
		default:
			return false
		}
		return true
	}))
	if _, err := s.Open(t.Context(), "R&D"); err != nil {
		t.Error(err)
	}
	_, err := s.Open(t.Context(), "gone")
	wantKind(t, err, migrate.NoFolder)
}

// What the library would hold in memory is bounded (T16).
func TestBufferedTextIsBounded(t *testing.T) {
	for name, response := range map[string]string{
		"line":    "* OK " + strings.Repeat("x", maxLine+1) + "\r\n",
		"literal": fmt.Sprintf("* LIST () \"/\" {%d}\r\n", int64(1)<<40),
	} {
		t.Run(name, func(t *testing.T) {
			s := dial(t, scripted(t, hello, func(p *peer, tag, command string) bool {
				if strings.HasPrefix(command, "LIST") {
					p.send("%s", response)
					return true
				}
				return false
			}))
			_, err := s.Folders(t.Context())
			if !errors.Is(err, errTooLong) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// Untagged responses that nobody asked for pass by (T12).
func TestUnaskedResponsesPassBy(t *testing.T) {
	for _, response := range []string{
		"* VANISHED 1:3", "* VANISHED (EARLIER) 41,43:116", "* LSUB () \"/\" x", "* XGWEXTENSIONS foo", "* OK [ALERT] hi", "* 3 RECENT",
		"* BAD oops", "* NO [ALERT] disk full", "* OK [HIGHESTMODSEQ 18446744073709551615] x", "* FLAGS (\\Seen $a[b])",
		"* FLAGS (a b\\c)", "* OK [PERMANENTFLAGS (\\Seen \\*)] ok", "*  OK two spaces", "* OK [UIDNEXT 4294967296] big",
		"* OK [MYRIGHTS \"acdilrsw\"] ACL", "* OK [NOMODSEQ] modseq not supported on search folders", "* ESEARCH (TAG \"x\") UID",
		"* QUOTA \"\" (STORAGE 10 512)", "* SEARCH 1 2 3", "* STATUS x (MESSAGES 1)", "* 1 FETCH ()", "", "garbage",
	} {
		s := opened(t, func(p *peer, tag, command string) bool {
			if !isFetch(command) {
				return false
			}
			p.send("%s\r\n* 1 FETCH (UID 7 %s", response, meta)
			if isBodyFetch(command) {
				p.send(" BODY[] {5}\r\nhello")
			}
			p.send(")\r\n%s\r\n%s OK done\r\n", response, tag)
			return true
		})
		if got, err := collect(t, s, migrate.UIDsOf(7)); err != nil || got[7] != "hello" {
			t.Errorf("%q: got %v: %v", response, got, err)
		}
	}
}
