package imapsource

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	mail "mailferry/infra/local/sample"
	"mailferry/shared/migrate"
)

// TestSizes tells of every folder what its messages have in all, where the server does. Courier does not.
func TestSizes(t *testing.T) {
	eachServer(t, func(t *testing.T, name string, server server) {
		if err := server.Fill(t.Context(), "u", mail.Mailbox(11, "anna@example.com", 120)); err != nil {
			t.Fatal(err)
		}
		s := dial(t, endpointOf(server, migrate.SecurityTLS))
		folders, err := s.Folders(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		want := make(map[string]int64)
		for _, f := range folders {
			if f.Selectable {
				names = append(names, f.Name)
			}
		}
		got, err := dial(t, endpointOf(server, migrate.SecurityTLS)).Sizes(t.Context(), names)
		if err != nil {
			t.Fatal(err)
		}
		for _, folder := range names {
			_, _, described, err := s.Survey(t.Context(), folder, migrate.EveryUID())
			if err != nil {
				t.Fatal(err)
			}
			for want[folder] = 0; len(described) > 0; described = described[1:] {
				want[folder] += described[0].Size
			}
		}
		if name == "courier" {
			clear(want)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || name != "courier" && want["INBOX"] == 0 {
			t.Errorf("sizes %v, want %v", got, want)
		}
	})
}

// sizing offers STATUS=SIZE.
func sizing(h hook) hook {
	return func(p *peer, tag, command string) bool {
		if strings.HasPrefix(command, "AUTHENTICATE") {
			p.send("%s OK [CAPABILITY IMAP4rev1 STATUS=SIZE] in\r\n", tag)
			return true
		}
		return h(p, tag, command)
	}
}

// TestSizesThatCannotBe leaves out what a server does not tell, refuses, or cannot mean: 0 octets of
// several messages. The states are asked for without SIZE.
func TestSizesThatCannotBe(t *testing.T) {
	s := dial(t, scripted(t, hello, sizing(func(p *peer, tag, command string) bool {
		name, items, ok := strings.Cut(strings.TrimPrefix(command, "STATUS "), " (")
		switch {
		case !ok:
			return false
		case strings.Contains(items, "UIDNEXT"):
			if strings.Contains(items, "SIZE") {
				t.Errorf("the state is asked for with %q", command)
			}
			p.send("* STATUS %s (UIDNEXT 9 UIDVALIDITY 4 MESSAGES 2)\r\n%s OK done\r\n", name, tag)
		case name == "refused":
			p.send("%s NO [NOPERM] not yours\r\n", tag)
		default:
			said := map[string]string{"large": "MESSAGES 3 SIZE 5000000000", "empty": "SIZE 0 MESSAGES 0", "zero": "MESSAGES 3 SIZE 0",
				"silent": "MESSAGES 3", "odd": "MESSAGES 3 SIZE 1e9"}[strings.Trim(name, `"`)]
			p.send("* STATUS %s (%s)\r\n%s OK done\r\n", name, said, tag)
		}
		return true
	})))
	names := []string{"large", "empty", "zero", "silent", "odd", "refused"}
	if got, err := s.Sizes(t.Context(), names); err != nil || fmt.Sprint(got) != "map[empty:0 large:5000000000]" {
		t.Errorf("sizes %v, %v", got, err)
	}
	if got, err := s.States(t.Context(), names[:2]); err != nil || len(got) != 2 {
		t.Errorf("states %v, %v", got, err)
	}
}

// TestSizesThatDoNotCome waits for a server that must read every message no longer than for any other
// answer, and hands over what was told before.
func TestSizesThatDoNotCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := dialBy(t, inMemory(t, hello, sizing(func(p *peer, tag, command string) bool {
			if !strings.HasPrefix(command, "STATUS ") || strings.Contains(command, `"slow"`) {
				return strings.HasPrefix(command, "STATUS ")
			}
			p.send("* STATUS \"quick\" (MESSAGES 3 SIZE 500)\r\n%s OK done\r\n", tag)
			return true
		})), clearly)
		got, err := s.Sizes(t.Context(), []string{"quick", "slow", "behind"})
		wantKind(t, err, migrate.Unreachable)
		if fmt.Sprint(got) != "map[quick:500]" || !strings.Contains(fmt.Sprint(err), "no progress") {
			t.Errorf("sizes %v, %v", got, err)
		}
	})
}
