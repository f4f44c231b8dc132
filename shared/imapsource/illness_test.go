package imapsource

import (
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
