package migrate

import (
	"fmt"
	"testing"
	"time"
)

// TestManyStrangers matches messages without a Message-ID, to which the target gave one each. Each is compared with
// those of its second only: else the time that many take would grow with the square of their number.
func TestManyStrangers(t *testing.T) {
	const n = 1_000
	others, groups, v := make(strangers), []*twins(nil), new(Verification)
	for i := range n {
		print := Fingerprint{From: "ann@example.com", Subject: fmt.Sprint("letter ", i), Received: time.Unix(int64(i/2), 0).UTC()}
		groups = append(groups, &twins{prints: []Fingerprint{print}, messages: []MessageInfo{{UID: UID(i + 1)}}})
		print.MessageID = fmt.Sprintf("<%d@target>", i)
		others.add(Found{Fingerprint: print})
	}
	for second, list := range others {
		if len(list) != 2 {
			t.Errorf("%d messages of second %d", len(list), second)
		}
	}
	for _, g := range groups {
		if left := v.place(g, UIDSet{}, others); !left.Empty() {
			t.Fatalf("%s is missing", left)
		}
	}
	if v.Present != n || len(others[0]) != 0 {
		t.Errorf("%d present, %d left of the first second", v.Present, len(others[0]))
	}
}
