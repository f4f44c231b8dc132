package imapsource

import (
	"fmt"
	"strings"
	"testing"

	"mailferry/shared/migrate"
)

// A server that falls ill in the middle of a call says nothing of the messages that it has not given.
func TestServerThatFallsIll(t *testing.T) {
	for name, headers := range map[string]bool{"messages": false, "headers": true} {
		given := 0
		s := opened(t, func(p *peer, tag, command string) bool {
			switch {
			case isBodyFetch(command) && given == 0:
				given++
				section, text := "BODY[]", short(10)
				if headers {
					section = "BODY[HEADER]"
				}
				p.send("* 1 FETCH (UID 10 %s %s {%d}\r\n%s)\r\n%s NO Internal error\r\n", meta, section, len(text), text, tag)
			case isBodyFetch(command):
				p.send("%s NO Internal error\r\n", tag)
			case isFetch(command): // the index answers
				for i := range 4 {
					if uid := migrate.UID(10 + i); wants(command, uid) {
						p.send("* %d FETCH (UID %d %s)\r\n", i+1, uid, meta)
					}
				}
				p.send("%s OK done\r\n", tag)
			default:
				return false
			}
			return true
		})
		uids := migrate.UIDsOf(10, 11, 12, 13)
		if headers {
			n := 0
			err := s.Headers(t.Context(), uids, func(migrate.MessageInfo, []byte) error { n++; return nil })
			if wantKind(t, err, migrate.Unreachable); n != 1 {
				t.Errorf("%s: %d came", name, n)
			}
			continue
		}
		got, refused, err := sorted(t, s, uids)
		if wantKind(t, err, migrate.Unreachable); len(got) != 1 || len(refused) != 0 {
			t.Errorf("%s: got %v, refused %v", name, got, refused)
		}
	}
}

func wants(command string, uid migrate.UID) bool {
	set, _ := migrate.ParseUIDSet(strings.Fields(command)[2])
	return set.Contains(uid)
}

// A server whose storage goes away after one message says no word of it: Cyrus answers OK with NIL, Courier and
// hMailServer with a message of their own. It is asked for the one that came before, and nothing is said of the others.
func TestServerThatFallsIllWithoutAWord(t *testing.T) {
	literal := func(text string) string { return fmt.Sprintf("{%d}\r\n%s", len(text), text) }
	for name, c := range map[string]struct{ caps, body string }{
		"Cyrus": {"ACL", "NIL"}, "Courier": {"ACL", literal(unavailable)}, "hMailServer": {hMailServerOffers, literal(lostFile)},
	} {
		t.Run(name, func(t *testing.T) {
			shelf, given := newShelf(4, short), 0
			shelf.body = func(p *peer, uid migrate.UID, seq int) bool {
				if given++; given == 1 {
					return shelf.answer(p, "", uid, seq)
				}
				p.send("* %d FETCH (UID %d %s BODY[] %s)\r\n", seq, uid, meta, c.body)
				return true
			}
			got, refused, err := sorted(t, opened(t, offering(c.caps, shelf.hook)), shelf.all())
			if wantKind(t, err, migrate.Unreachable); len(got) != 1 || len(refused) != 0 {
				t.Errorf("came %v, refused %v", got, refused)
			}
		})
	}
}

// An empty message that came is no measure of the server's health: servers give NIL for the beginning of one, too.
func TestEmptyMessageTellsNothingOfHealth(t *testing.T) {
	shelf, empty := newShelf(3, short), `""`
	shelf.body = func(p *peer, uid migrate.UID, seq int) bool {
		switch uid {
		case 11:
			return true
		case 12:
			p.send("* %d FETCH (UID %d %s BODY[] %s)\r\n", seq, uid, meta, empty)
			empty = "NIL"
			return true
		}
		return shelf.answer(p, "", uid, seq)
	}
	got, refused, err := sorted(t, shelf.open(t), shelf.all())
	if _, told := refused[11]; err != nil || len(got) != 2 || len(refused) != 1 || !told {
		t.Errorf("came %v, refused %v: %v", got, refused, err)
	}
}

// A server that falls ill within a message ends one connection after the other at the same octet. That is
// not the message's fault: no other comes either.
func TestServerThatFallsIllWithinAMessage(t *testing.T) {
	for name, before := range map[string]migrate.UID{"the first": 10, "a later one": 12} {
		t.Run(name, func(t *testing.T) {
			shelf, ill := newShelf(5, short), false
			shelf.body = func(p *peer, uid migrate.UID, seq int) bool {
				switch {
				case ill:
					return false
				case uid < before:
					return shelf.answer(p, "", uid, seq)
				}
				ill = true
				p.send("* %d FETCH (UID %d %s BODY[] {1000}\r\n%s", seq, uid, meta, strings.Repeat("z", 600))
				return false
			}
			_, refused, err := sorted(t, shelf.open(t), shelf.all())
			wantKind(t, err, migrate.Unreachable)
			if len(refused) != 0 || !strings.Contains(fmt.Sprint(err), fmt.Sprintf("UID %d", before)) {
				t.Errorf("refused %v: %v", refused, err)
			}
		})
	}
}

// A server that says it is ill instead of giving the only message that is asked for is asked for others of
// the folder that is aimed at, not of as many messages as the one before had.
func TestIllForAMessageOfAFolderThatIsAimedAt(t *testing.T) {
	s := opened(t, func(p *peer, tag, command string) bool {
		words := strings.Fields(command)
		switch {
		case strings.Contains(command, "Next"):
			p.send("%s%s OK [READ-ONLY] done\r\n", next, tag)
		case isBodyFetch(command) && strings.Contains(command, "]<0."):
			if set, err := migrate.ParseUIDSet(words[1]); err != nil || set.Max() > 2 {
				p.send("%s BAD invalid message set %s\r\n", tag, words[1])
				return true
			}
			p.send("* 2 FETCH (UID 9 BODY[]<0> {5}\r\nhello)\r\n%s OK done\r\n", tag)
		case isBodyFetch(command):
			p.send("%s NO System Error (Failure)\r\n", tag)
		case isFetch(command):
			p.send("* 1 FETCH (UID 4 %s)\r\n%s OK done\r\n", meta, tag)
		default:
			return false
		}
		return true
	})
	s.Aim("Next", 9, []migrate.MessageInfo{{UID: 4}})
	_, refused, err := sorted(t, s, migrate.UIDsOf(4))
	if wantKind(t, err, migrate.Unreachable); len(refused) != 0 || !strings.Contains(fmt.Sprint(err), "UID 4") {
		t.Errorf("refused %v: %v", refused, err)
	}
}

// A message that goes while it is asked for alone is gone, not refused.
func TestMessageThatGoesMeanwhile(t *testing.T) {
	asked := 0
	s := opened(t, func(p *peer, tag, command string) bool {
		switch {
		case isBodyFetch(command):
			asked++
			p.send("%s OK done\r\n", tag)
		case isFetch(command):
			if asked < 2 {
				p.send("* 1 FETCH (UID 4 %s)\r\n", meta)
			}
			p.send("%s OK done\r\n", tag)
		default:
			return false
		}
		return true
	})
	got, refused, err := sorted(t, s, migrate.UIDsOf(4))
	if err != nil || len(got)+len(refused) != 0 || asked < 2 {
		t.Errorf("asked %d times: got %v, refused %v, %v", asked, got, refused, err)
	}
}

// A warning that came before the last command was done is no reason to wait: the message that ends the
// connection is found all the same.
func TestWarningIsNoThrottling(t *testing.T) {
	shelf := newShelf(8, short)
	shelf.body = func(p *peer, uid migrate.UID, seq int) bool {
		return uid != 12 && shelf.answer(p, "", uid, seq)
	}
	s := opened(t, func(p *peer, tag, command string) bool {
		if strings.HasPrefix(command, "EXAMINE") {
			p.send("* NO [ALERT] mailbox quota exceeded\r\n")
		}
		return shelf.hook(p, tag, command)
	})
	got, refused, err := sorted(t, s, shelf.all())
	if err != nil || len(got) != 7 || refused[12] == nil {
		t.Errorf("%d came, refused %v: %v", len(got), refused, err)
	}
}
