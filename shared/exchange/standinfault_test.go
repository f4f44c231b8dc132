package exchange_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	standin "mailferry/infra/local/exchange"
	"mailferry/infra/local/faults"
	"mailferry/shared/migrate"
)

// What the product makes of a stand-in that misbehaves on demand: what kind of error it is, and whether
// the message may be there in spite of it.
func TestStandInFaults(t *testing.T) {
	const late = 200 * time.Millisecond
	tests := []struct {
		name    string
		rule    faults.Rule
		kind    migrate.Kind
		after   time.Duration
		unknown bool
		stored  int // in the end
	}{
		{"answer lost", faults.Rule{At: "imap.APPEND", Do: faults.LoseAnswer}, migrate.Unreachable, 0, true, 1},
		{"work after the connection died", faults.Rule{At: "imap.APPEND", Do: faults.WorkLate, After: late}, migrate.Unreachable, 0, true, 1},
		{"throttled", faults.Rule{At: "imap.APPEND", Do: faults.Throttle, After: 5 * time.Minute}, migrate.Throttled, 5 * time.Minute, false, 0},
		{"throttled at the door", faults.Rule{At: "imap.connect", Do: faults.Throttle, After: time.Minute}, migrate.Throttled, time.Minute, false, 0},
		{"unavailable", faults.Rule{At: "imap.APPEND", Do: faults.Answer}, migrate.Unreachable, 0, false, 0},
		{"refused", faults.Rule{At: "imap.APPEND", Do: faults.Answer, Status: 400}, migrate.Refused, 0, false, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			plan := faults.New()
			server, x := tenantWith(t, standin.Options{Faults: plan})
			mailbox, err := x.Resolve(t.Context(), "info@contoso.example")
			if err != nil {
				t.Fatal(err)
			}
			target, err := x.Open(t.Context(), migrate.Mailbox{Target: mailbox})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { target.Close() })
			inbox, err := target.Folder(t.Context(), migrate.UseInbox, nil)
			if err != nil {
				t.Fatal(err)
			}
			plan.Add(test.rule)
			_, err = target.Put(t.Context(), inbox, sent{body: "Subject: x\r\n\r\n" + strings.Repeat("text\r\n", 100)}.message())
			var e *migrate.Error
			if !errors.As(err, &e) || e.Kind != test.kind || e.RetryAfter != test.after || e.Unknown != test.unknown {
				t.Errorf("got %v, %+v", err, e)
			}
			m, _ := server.Mailbox("info@contoso.example")
			for changed := m.Changed(); m.Stats().Messages < test.stored; changed = m.Changed() {
				<-changed
			}
			if n := m.Stats().Messages; n != test.stored {
				t.Errorf("%d messages stored, want %d", n, test.stored)
			}
		})
	}
}
