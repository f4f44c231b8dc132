package migrate

import (
	"testing"
	"time"
)

func TestReceivedOrder(t *testing.T) {
	internal := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	topmost := time.Date(2019, 5, 6, 7, 8, 9, 0, time.FixedZone("", 2*3600))
	date := time.Date(2019, 5, 6, 5, 0, 0, 0, time.UTC)
	header := []byte("Received: from a; by b (c; d);\r\n\tMon, 6 May 2019 07:08:09 +0200 (CEST)\r\n" +
		"Received: from x; Sun, 5 May 2019 00:00:00 +0000\r\nDate: Mon, 6 May 2019 05:00:00 +0000\r\n")
	bare := []byte("Subject: none\r\nReceived: no date here\r\nDate: Thu, 1 Jan 0001 00:00:00 +0000\r\n")
	for _, c := range []struct {
		order    string
		internal time.Time
		header   []byte
		want     time.Time
	}{
		{`"internal"`, internal, header, internal},
		{`[]`, internal, header, internal},
		{`"received-header"`, internal, header, topmost},
		{`"date-header"`, internal, header, date},
		{`["date-header", "received-header"]`, internal, header, date},
		{`"internal"`, time.Time{}, header, topmost}, // an INTERNALDATE that cannot be read
		{`"received-header"`, internal, bare, internal},
		{`"date-header"`, internal, bare, internal},
		{`["received-header", "date-header"]`, time.Time{}, []byte("Date: Mon, 6 May 2019 05:00:00 +0000\n"), date},
		{`"internal"`, time.Time{}, bare, time.Time{}},
	} {
		e, err := ParseEndpoint("e", []byte(`{"host":"h","received":`+c.order+`}`))
		if err != nil {
			t.Fatal(err)
		}
		if got := e.Received.Of(c.internal, c.header); !got.Equal(c.want) {
			t.Errorf("%s of %s and %q is %s, want %s", c.order, c.internal, c.header, got, c.want)
		}
	}
	for _, bad := range []string{`"yesterday"`, `["internal","x"]`, `7`} {
		if _, err := ParseEndpoint("e", []byte(`{"host":"h","received":`+bad+`}`)); err == nil {
			t.Errorf("received %s is taken", bad)
		}
	}
	if _, err := ParseEndpoint("e", []byte(`{"host":"h","deleted":"keep"}`)); err == nil {
		t.Error("deleted keep is taken")
	}
}
