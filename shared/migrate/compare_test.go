package migrate

import (
	"fmt"
	"testing"
	"time"
)

// TestManyStrangers matches many messages without a Message-ID, to which the target gave one each: the time that takes
// does not grow with the square of their number.
func TestManyStrangers(t *testing.T) {
	const n = 40_000
	others, groups, v := make(strangers), []*twins(nil), new(Verification)
	for i := range n {
		print := Fingerprint{From: "ann@example.com", Subject: fmt.Sprint("letter ", i), Received: time.Unix(int64(i), 0).UTC()}
		groups = append(groups, &twins{prints: []Fingerprint{print}, messages: []MessageInfo{{UID: UID(i + 1)}}})
		print.MessageID = fmt.Sprintf("<%d@target>", i)
		others.add(Found{Fingerprint: print})
	}
	began := time.Now()
	for _, g := range groups {
		if left := v.place(g, UIDSet{}, others); !left.Empty() {
			t.Fatalf("%s is missing", left)
		}
	}
	if took := time.Since(began); v.Present != n || took > 5*time.Second {
		t.Errorf("%d present, in %s", v.Present, took)
	}
}
