package imapsource

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"mailferry/shared/migrate"
)

// shelf is a scripted server with messages, and with what it does wrong. Its sequence numbers are
// the places of the UIDs.
type shelf struct {
	validity uint32
	uids     []migrate.UID
	text     func(migrate.UID) string
	body     func(p *peer, uid migrate.UID, seq int) bool // writes a response itself; false ends the connection
	allowed  int                                          // octets of bodies that each connection gives; 0: all
	partial  string                                       // "": right; "ignored", "shifted", "refused"

	mu       sync.Mutex
	given    map[*peer]int
	commands []string
	conns    int
}

func newShelf(n int, text func(migrate.UID) string) *shelf {
	s := &shelf{validity: 9, text: text, given: map[*peer]int{}}
	for i := range n {
		s.uids = append(s.uids, migrate.UID(10+i))
	}
	return s
}

func (s *shelf) hook(p *peer, tag, command string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.given[p]; !known {
		s.given[p] = 0
		s.conns++
	}
	words := strings.Fields(command)
	switch {
	case strings.HasPrefix(command, "EXAMINE"):
		p.send("* %d EXISTS\r\n* OK [UIDVALIDITY %d] -\r\n%s OK [READ-ONLY] done\r\n", len(s.uids), s.validity, tag)
	case strings.HasPrefix(command, "UID FETCH"):
		s.commands = append(s.commands, command)
		set, _ := migrate.ParseUIDSet(words[2])
		s.fetch(p, tag, command, func(uid migrate.UID, _ int) bool { return set.Contains(uid) })
	case strings.HasPrefix(command, "FETCH"):
		s.commands = append(s.commands, command)
		set, _ := migrate.ParseUIDSet(words[1])
		s.fetch(p, tag, command, func(_ migrate.UID, seq int) bool { return set.Contains(migrate.UID(seq)) })
	default:
		return false
	}
	return true
}

func (s *shelf) fetch(p *peer, tag, command string, wanted func(migrate.UID, int) bool) {
	for i, uid := range s.uids {
		if !wanted(uid, i+1) {
			continue
		}
		if !isBodyFetch(command) {
			p.send("* %d FETCH (UID %d %s)\r\n", i+1, uid, meta)
			continue
		}
		answer := s.answer
		if s.body != nil {
			answer = func(p *peer, _ string, uid migrate.UID, seq int) bool { return s.body(p, uid, seq) }
		}
		if !answer(p, command, uid, i+1) {
			p.Close()
			return
		}
	}
	p.send("%s OK done\r\n", tag)
}

// answer sends a message or the part that is asked for, as far as the connection may give octets.
func (s *shelf) answer(p *peer, command string, uid migrate.UID, seq int) bool {
	text, section := s.text(uid), "BODY[]"
	if _, part, ok := strings.Cut(command, "]<"); ok && s.partial != "ignored" {
		var from, n int
		fmt.Sscanf(part, "%d.%d>", &from, &n)
		if s.partial == "refused" {
			p.send("* BAD no parts\r\n")
			return true
		}
		section = fmt.Sprintf("BODY[]<%d>", from)
		if s.partial == "shifted" && from > 0 {
			from--
		}
		text = text[min(from, len(text)):min(from+n, len(text))]
	}
	p.send("* %d FETCH (UID %d %s %s {%d}\r\n", seq, uid, meta, section, len(text))
	if s.allowed > 0 && s.given[p]+len(text) > s.allowed {
		p.send("%s", text[:s.allowed-s.given[p]])
		s.given[p] = s.allowed
		return false
	}
	s.given[p] += len(text)
	p.send("%s)\r\n", text)
	return true
}

// open signs in to the shelf and opens a folder.
func (s *shelf) open(t *testing.T) migrate.Source {
	t.Helper()
	return opened(t, s.hook)
}

func (s *shelf) all() migrate.UIDSet { return migrate.UIDsOf(s.uids...) }

func (s *shelf) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns
}
