package main

import (
	"net/http/httptest"
	"strings"
	"testing"

	"mailferry/shared/migrate"
)

// golden envelopes, encoded by the host's rules: Metadata values are JSON inside JSON strings, a
// binding with dataType binary is base64.
const (
	goldenWakeUp = `{"Data":{"wakeup":"eyJ2IjoxLCJtYWlsYm94IjoiZG92ZWNvdC8wMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZiIsInNlcSI6NywiYXR0ZW1wdCI6Mn0="},
		"Metadata":{"MessageReceiver":{},"MessageSession":{},"MessageActions":{},"SessionActions":{},"ReceiveActions":{},
		"Client":{"FullyQualifiedNamespace":"ns","IsClosed":false,"TransportType":0,"Identifier":"ns-1"},
		"DeliveryCount":"1","LockToken":"\"4e773554-f6b7-4ea2-b07d-4c5fd5aba741\"","ExpiresAtUtc":"2026-10-12T20:13:49",
		"EnqueuedTime":"2026-10-12T20:13:49+00:00","MessageId":"\"dovecot/0123456789abcdef0123456789abcdef/7/2\"","ContentType":"\"application/json\"",
		"SequenceNumber":"1","ApplicationProperties":{},"UserProperties":{},"sys":{"MethodName":"run","UtcNow":"2026-10-12T20:13:49.64Z","RandGuid":"4e77"}}}`
	goldenBlob = `{"Data":{"csv":"YSxi"},"Metadata":{"Uri":"\"https://x.blob.core.windows.net/batches/zimbra/spring%202026.csv\"","Properties":{"ETag":{},"ContentLength":3},
		"Metadata":{},"endpoint":"\"zimbra\"","name":"\"spring 2026\"","sys":{"MethodName":"intake","UtcNow":"2026-10-12T20:13:49.64Z","RandGuid":"4e77"}}}`
	olderBlob = `{"Data":{"csv":"YSxi"},"Metadata":{"endpoint":"zimbra","Name":"spring"}}`
)

func envelopeOf(t *testing.T, body string) envelope {
	t.Helper()
	e, err := readEnvelope(httptest.NewRequest("POST", "/run", strings.NewReader(body)))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestWakeUpEnvelope(t *testing.T) {
	w, err := wakeUp(envelopeOf(t, goldenWakeUp))
	want := migrate.WakeUp{Version: 1, Mailbox: "dovecot/0123456789abcdef0123456789abcdef", Seq: 7, Attempt: 2}
	if err != nil || w != want {
		t.Errorf("got %+v, %v", w, err)
	}
}

func TestBlobEnvelope(t *testing.T) {
	for body, want := range map[string]string{goldenBlob: "spring 2026", olderBlob: "spring"} {
		e := envelopeOf(t, body)
		endpoint, err := e.text("endpoint")
		if err != nil || endpoint != "zimbra" {
			t.Errorf("endpoint %q, %v", endpoint, err)
		}
		if name, err := e.text("name"); err != nil || name != want {
			t.Errorf("name %q, %v; want %q", name, err, want)
		}
	}
}

func TestDamagedEnvelope(t *testing.T) {
	for _, body := range []string{``, `null`, `{}`, `{"Data":{"wakeup":5}}`, `{"Data":{"wakeup":"***"}}`, `{"Data":{"wakeup":""}}`, `{"Data":[]}`,
		`{"Data":{"wakeup":"eyJ2IjoxLCJtYWlsYm94IjoiLi4vLi4vZXRjIiwic2VxIjo3fQ=="}}`} {
		e, err := readEnvelope(httptest.NewRequest("POST", "/run", strings.NewReader(body)))
		if err == nil {
			_, err = wakeUp(e)
		}
		if err == nil {
			t.Errorf("%s: no error", body)
		}
	}
}

func FuzzEnvelope(f *testing.F) {
	for _, body := range []string{goldenWakeUp, goldenBlob, olderBlob, `{"Data":{"wakeup":"bnVsbA=="},"Metadata":{"name":"\"\\\"\""}}`} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		e, err := readEnvelope(httptest.NewRequest("POST", "/run", strings.NewReader(body)))
		if err != nil {
			return
		}
		if w, err := wakeUp(e); err == nil && (!w.Mailbox.Valid() || w.Seq < 1) {
			t.Errorf("accepted %+v", w)
		}
		_, _ = e.text("name")
	})
}
