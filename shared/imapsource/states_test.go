package imapsource

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mailferry/shared/migrate"
)

// TestDovecotStates says of every folder what EXAMINE says, in one command.
func TestDovecotStates(t *testing.T) {
	server := realServer(t, "u")
	if err := server.Fill(t.Context(), "u", sample()); err != nil {
		t.Fatal(err)
	}
	s := dial(t, endpoint(server, migrate.SecurityTLS))
	folders, err := s.Folders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names := make([]string, 0, len(folders))
	want := make(map[string]migrate.FolderState)
	for _, f := range folders {
		if f.Selectable {
			names = append(names, f.Name)
			if want[f.Name], err = s.Open(t.Context(), f.Name); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := want["Sent"]
	delete(want, names[len(names)-1]) // the current folder
	if got, err := s.States(t.Context(), names); err != nil || len(want) < 3 || !containsAll(got, want) {
		t.Errorf("states %v, %v, want %v", got, err, want)
	}
	if err := server.Deliver(t.Context(), "u", "Sent", []byte("Subject: new\r\n\r\n"), time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(t.Context(), "Sent"); err != nil {
		t.Fatal(err)
	}
	if got, err := s.States(t.Context(), names); err != nil || len(got) == 0 || got["Sent"].UIDNext != 0 {
		t.Errorf("the state of the current folder is given: %v, %v", got["Sent"], err)
	}
	if _, err := s.Open(t.Context(), "INBOX"); err != nil {
		t.Fatal(err)
	}
	got, err := s.States(t.Context(), names)
	if err != nil || got["Sent"].UIDNext != before.UIDNext+1 || got["Sent"].Messages != before.Messages+1 {
		t.Errorf("after an arrival %v, %v, before %v", got["Sent"], err, before)
	}
}

func containsAll(got, want map[string]migrate.FolderState) bool {
	for name, state := range want {
		if got[name] != state {
			return false
		}
	}
	return true
}

// TestStatesOfAnOldServer sends STATUS commands together to a server without LIST-STATUS. What it
// refuses or does not say in full is left out.
func TestStatesOfAnOldServer(t *testing.T) {
	var names []string
	for i := range 120 {
		names = append(names, fmt.Sprintf("F%03d", i))
	}
	names = append(names, "R&D", "refused", "no UIDNEXT", "in\"side")
	var mu sync.Mutex
	asked := 0
	s := dial(t, scripted(t, hello, func(p *peer, tag, command string) bool {
		switch {
		case command == `LIST "" "*"`:
			p.send("* LIST () \"/\" \"R&D\"\r\n%s OK done\r\n", tag)
		case strings.HasPrefix(command, "STATUS "):
			mu.Lock()
			asked++
			mu.Unlock()
			name, _, _ := strings.Cut(command[len("STATUS "):], " (")
			switch name {
			case `"refused"`:
				p.send("%s NO [NOPERM] not yours\r\n", tag)
			case `"no UIDNEXT"`:
				p.send("* STATUS %s (MESSAGES 3 UIDVALIDITY 4)\r\n%s OK done\r\n", name, tag)
			case `"R&D"`:
				p.send("* STATUS {3}\r\nR&D (MESSAGES 3 UIDNEXT 9 UIDVALIDITY 4 RECENT 1 X-GUID abc)\r\n%s OK done\r\n", tag)
			default:
				p.send("* STATUS %s (UIDNEXT 9 messages 3  UIDVALIDITY 4 )\r\n%s OK done\r\n", name, tag)
			}
		default:
			return false
		}
		return true
	}))
	folders, err := s.Folders(t.Context())
	if err != nil || len(folders) != 1 {
		t.Fatalf("folders %v, %v", folders, err)
	}
	got, err := s.States(t.Context(), names)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 122 || got["R&D"] != (migrate.FolderState{UIDValidity: 4, UIDNext: 9, Messages: 3}) || got["in\"side"] != got["R&D"] {
		t.Errorf("states of %d folders: %v", len(got), slices.Sorted(maps.Keys(got)))
	}
	if asked != 124 {
		t.Errorf("asked for %d folders", asked)
	}
}

// TestStatesEndWithTheConnection does not take a BYE for silence about one folder.
func TestStatesEndWithTheConnection(t *testing.T) {
	s := dial(t, scripted(t, hello, func(p *peer, tag, command string) bool {
		if strings.HasPrefix(command, `STATUS "B"`) {
			p.send("* BYE [UNAVAILABLE] going down\r\n")
			p.Close()
			return true
		}
		return false
	}))
	_, err := s.States(t.Context(), []string{"A", "B", "C"})
	wantKind(t, err, migrate.Throttled)
}
