package imapsource

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"mailferry/shared/migrate"
)

// aimed is a source with INBOX open that is aimed at Next, of UIDVALIDITY 9, where two messages are known.
// The server first reads both commands that must come together.
func aimed(t *testing.T, answer func(p *peer, examine, fetch string)) migrate.Source {
	t.Helper()
	once := true
	s := opened(t, func(p *peer, tag, command string) bool {
		if !once || !strings.HasPrefix(command, `EXAMINE "Next"`) && command != "EXAMINE Next" {
			return false
		}
		once = false
		fetch, what, err := p.read()
		if err != nil || !isBodyFetch(what) {
			t.Errorf("behind EXAMINE came %q, %v", what, err)
		}
		answer(p, tag, fetch)
		return true
	})
	at := time.Date(2020, 2, 1, 2, 4, 5, 0, time.UTC)
	s.Aim("Next", 9, []migrate.MessageInfo{{UID: 4, Received: at, Size: 5}, {UID: 9, Received: at, Size: 5}})
	return s
}

const next = "* 2 EXISTS\r\n* OK [UIDVALIDITY 9] -\r\n* OK [UIDNEXT 10] -\r\n"

func message(seq int, uid migrate.UID) string {
	return fmt.Sprintf("* %d FETCH (UID %d %s BODY[] {5}\r\nhello)\r\n", seq, uid, meta)
}

// TestAimIsOneRoundTrip answers neither of the two commands before both have come, and tells flags of the
// folder that was open before.
func TestAimIsOneRoundTrip(t *testing.T) {
	s := aimed(t, func(p *peer, examine, fetch string) {
		p.send("* 3 FETCH (UID 40 FLAGS (\\Seen))\r\n%s%s OK [READ-ONLY] done\r\n", next, examine)
		p.send("%s%s%s OK done\r\n", message(1, 4), message(2, 9), fetch)
	})
	got, err := collect(t, s, migrate.UIDsOf(4, 9))
	if err != nil || len(got) != 2 || got[4] != "hello" || got[9] != "hello" {
		t.Errorf("got %v, %v", got, err)
	}
	s.Aim("Next", 9, nil) // it is open
	if _, err := s.UIDs(t.Context(), 1, 9); err != nil {
		t.Error(err)
	}
}

// TestAimAtAnotherFolder takes no message where the folder is not the one that is meant.
func TestAimAtAnotherFolder(t *testing.T) {
	const ok = " OK [READ-ONLY] done\r\n"
	for name, c := range map[string]struct {
		answer func(p *peer, examine, fetch string)
		want   migrate.Kind
	}{
		"renumbered": {func(p *peer, examine, fetch string) {
			p.send("%s%s%s%s%s OK done\r\n", strings.Replace(next, "VALIDITY 9", "VALIDITY 8", 1), examine, ok, message(1, 4), fetch)
		}, migrate.Unreachable},
		"renumbered, and nothing comes": {func(p *peer, examine, fetch string) {
			p.send("%s%s%s%s OK done\r\n", strings.Replace(next, "VALIDITY 9", "VALIDITY 8", 1), examine, ok, fetch)
		}, migrate.Unreachable},
		"refused, and the old one goes on": {func(p *peer, examine, fetch string) {
			p.send("%s NO no such folder\r\n%s%s OK done\r\n", examine, message(1, 4), fetch)
		}, migrate.Unreachable},
		"before it is opened": {func(p *peer, examine, fetch string) {
			p.send("%s%s%s%s%s OK done\r\n", message(1, 4), next, examine, ok, fetch)
		}, migrate.Unreachable},
	} {
		t.Run(name, func(t *testing.T) {
			s := aimed(t, c.answer)
			err := s.Fetch(t.Context(), migrate.UIDsOf(4, 9), func(info migrate.MessageInfo, _ int64, _ io.Reader) error {
				t.Errorf("UID %d was yielded", info.UID)
				return nil
			})
			wantKind(t, err, c.want)
		})
	}
}

// TestAimAtARefusedFolder learns from a refusal what it is about, and goes on with the connection.
func TestAimAtARefusedFolder(t *testing.T) {
	for _, again := range []bool{false, true} {
		examined := 0
		s := opened(t, func(p *peer, tag, command string) bool {
			switch {
			case strings.Contains(command, "Next"):
				if examined++; examined == 1 || !again {
					p.send("%s NO [NONEXISTENT] no such folder\r\n", tag)
				} else {
					p.send("%s%s OK [READ-ONLY] done\r\n", next, tag)
				}
			case isBodyFetch(command) && (examined == 1 || !again):
				p.send("%s BAD no folder is open\r\n", tag)
			case isBodyFetch(command):
				p.send("%s%s%s OK done\r\n", message(1, 4), message(2, 9), tag)
			default:
				return false
			}
			return true
		})
		s.Aim("Next", 9, []migrate.MessageInfo{{UID: 4}, {UID: 9}})
		got, err := collect(t, s, migrate.UIDsOf(4, 9))
		if again {
			if err != nil || len(got) != 2 {
				t.Errorf("got %v, %v", got, err)
			}
			continue
		}
		wantKind(t, err, migrate.NoFolder)
		if _, err := s.Open(t.Context(), "INBOX"); err != nil {
			t.Errorf("the connection does not go on: %v", err)
		}
	}
}

// TestAimLosesTheConnection opens the folder again over another connection, wherever the first one ends.
func TestAimLosesTheConnection(t *testing.T) {
	whole := next + "T2 OK [READ-ONLY] done\r\n" + message(1, 4) + message(2, 9)
	for cut := range len(whole) {
		examined := 0
		s := opened(t, func(p *peer, tag, command string) bool {
			switch {
			case strings.Contains(command, "Next"):
				if examined++; examined == 1 {
					_, _, _ = p.read()
					p.send("%s", strings.ReplaceAll(whole[:cut], "T2 ", tag+" "))
					p.Close()
					return true
				}
				p.send("%s%s OK [READ-ONLY] done\r\n", next, tag)
			case isBodyFetch(command):
				p.send("%s%s%s OK done\r\n", message(1, 4), message(2, 9), tag)
			case isFetch(command):
				p.send("* 1 FETCH (UID 4 %s)\r\n* 2 FETCH (UID 9 %s)\r\n%s OK done\r\n", meta, meta, tag)
			default:
				return false
			}
			return true
		})
		s.Aim("Next", 9, []migrate.MessageInfo{{UID: 4}, {UID: 9}})
		if got, err := collect(t, s, migrate.UIDsOf(4, 9)); err != nil || len(got) != 2 || got[4] != "hello" || got[9] != "hello" {
			t.Fatalf("cut at %d: got %v, %v", cut, got, err)
		}
		s.Close()
	}
}

// TestSurveyDescribes takes what the server says in full in the same round trip, and leaves the rest out.
func TestSurveyDescribes(t *testing.T) {
	s := dial(t, scripted(t, hello, func(p *peer, tag, command string) bool {
		if !strings.HasPrefix(command, "EXAMINE") {
			return false
		}
		listTag, list, err := p.read()
		if err != nil || !strings.Contains(list, "RFC822.SIZE") {
			t.Errorf("behind EXAMINE came %q, %v", list, err)
		}
		p.send("%s%s OK [READ-ONLY] done\r\n* 1 FETCH (UID 4 %s)\r\n* 2 FETCH (UID 9 FLAGS ())\r\n%s OK done\r\n", next, tag, meta, listTag)
		return true
	}))
	_, uids, told, err := s.Survey(t.Context(), "INBOX", migrate.EveryUID())
	if err != nil || uids.String() != "4,9" || len(told) != 1 || told[0].UID != 4 || told[0].Size != 5 || told[0].Received.IsZero() {
		t.Errorf("%s, %+v, %v", uids, told, err)
	}
}
