package functionhost

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
)

// sameJSON compares an envelope with a golden one, in which * stands for the
// values of sys that change.
func sameJSON(t *testing.T, e envelope, golden string) {
	t.Helper()
	data, err := e.encode()
	if err != nil {
		t.Fatal(err)
	}
	data = regexp.MustCompile(`"UtcNow":"20[0-9-]{8}T[0-9:]{8}(\.[0-9]{1,7})?Z"`).ReplaceAll(data, []byte(`"UtcNow":"*"`))
	data = regexp.MustCompile(`"RandGuid":"[0-9a-f-]{36}"`).ReplaceAll(data, []byte(`"RandGuid":"*"`))
	var got, want any
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(golden), &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("envelope\n%s\nwant\n%s", data, golden)
	}
}

func ptr[T any](v T) *T { return &v }

var sent = time.Date(2023, 10, 12, 20, 13, 49, 640002000, time.FixedZone("", 7200)).Add(2 * time.Hour)

var someClient = map[string]any{"FullyQualifiedNamespace": "namespace", "IsClosed": false, "TransportType": 0, "Identifier": "namespace-4e77"}

func message(body string) *azservicebus.ReceivedMessage {
	return &azservicebus.ReceivedMessage{
		Body: []byte(body), MessageID: "id <1>", ContentType: ptr("application/json"), DeliveryCount: 1, SequenceNumber: ptr(int64(12)),
		EnqueuedTime: &sent, TimeToLive: ptr(time.Hour),
		LockToken: [16]byte{0x4e, 0x77, 0x35, 0x54, 0xf6, 0xb7, 0x4e, 0xa2, 0xb0, 0x7d, 0x4c, 0x5f, 0xd5, 0xab, 0xa7, 0x41},
	}
}

const messageGolden = `"MessageReceiver":{},"MessageSession":{},"MessageActions":{},"SessionActions":{},"ReceiveActions":{},
	"Client":{"FullyQualifiedNamespace":"namespace","IsClosed":false,"TransportType":0,"Identifier":"namespace-4e77"},
	"DeliveryCount":"1","LockToken":"\"4e773554-f6b7-4ea2-b07d-4c5fd5aba741\"",
	"ExpiresAtUtc":"2023-10-12T21:13:49","ExpiresAt":"2023-10-12T21:13:49+00:00",
	"EnqueuedTimeUtc":"2023-10-12T20:13:49","EnqueuedTime":"2023-10-12T20:13:49+00:00",
	"ContentType":"\"application/json\"","SequenceNumber":"12",
	"ApplicationProperties":{},"UserProperties":{},"sys":{"MethodName":"run","UtcNow":"*","RandGuid":"*"}`

// Section 1.4, the table of values.
func TestWireForms(t *testing.T) {
	at := time.Date(2023, 10, 12, 22, 13, 49, 999_999_900, time.FixedZone("", 7200))
	for name, test := range map[string]struct{ got, want any }{
		"string":         {quoted("stringTest"), `"stringTest"`},
		"string with <>": {quoted("<&>\n\""), `"<&>\n\""`},
		"empty string":   {quoted(""), `""`},
		"number":         {quoted(int64(4)), `4`},
		"bool":           {quoted(true), `true`},
		"array":          {quoted([]string{"a", "b"}), `["a","b"]`},
		"date":           {date(at), "2023-10-12T20:13:49"},
		"date offset":    {dateOffset(at), "2023-10-12T20:13:49+00:00"},
	} {
		if test.got != test.want {
			t.Errorf("%s: %s, want %s", name, test.got, test.want)
		}
	}
	f := &function{name: "run", trigger: binding{Name: "msg", DataType: "BINARY"}}
	if e := newEnvelope(f, []byte{0xff, 0, '"'}, metadata{}); e.Data["msg"] != "/wAi" {
		t.Errorf("bytes: %v", e.Data)
	}
}

// Section 1.4: only a JSON object pollutes, and only as text; keys that end in
// trigger are dropped wherever they come from.
func TestBodyPollution(t *testing.T) {
	for body, want := range map[string]string{
		`[{"MessageId":"x"}]`:               "",
		`"MessageId"`:                       "",
		`{"MessageId":"x"`:                  "",
		`{"MessageId":"x"} {}`:              "",
		`{"MessageId":null,"L":[1]}`:        "",
		` {"messageID":"x"} `:               `MessageId="x"`,
		`{"a":"b","BLOBTRIGGER":"x"}`:       `a="b"`,
		`{"QueueTrigger":{},"n":1.50}`:      `n="1.50"`,
		`{"MessageId":"x","MessageId":"y"}`: `MessageId="y"`,
	} {
		for _, dataType := range []string{"", "string", "binary"} {
			m := metadata{"MessageId": `"real"`, "TimerTrigger": "x"}
			e := newEnvelope(&function{name: "run", trigger: binding{Name: "msg", DataType: dataType}}, []byte(body), m)
			var got []string
			for key, value := range e.Metadata {
				if key != "sys" && value != `"real"` {
					got = append(got, fmt.Sprintf("%s=%v", key, value))
				}
			}
			expected := want
			if dataType == "binary" {
				expected = ""
			}
			if strings.Join(got, " ") != expected {
				t.Errorf("%s as %q: %v, want %s", body, dataType, got, expected)
			}
		}
	}
}

func TestGoldenMessage(t *testing.T) {
	f := &function{name: "run", trigger: binding{Name: "msg", DataType: "binary"}}
	m := message(`{"a":1,"MessageId":"other"}`)
	sameJSON(t, newEnvelope(f, m.Body, messageMetadata(m, someClient)),
		`{"Data":{"msg":"eyJhIjoxLCJNZXNzYWdlSWQiOiJvdGhlciJ9"},"Metadata":{"MessageId":"\"id <1>\"",`+messageGolden+`}}`)
}

func TestGoldenMessageAsText(t *testing.T) {
	f := &function{name: "run", trigger: binding{Name: "msg"}}
	m := message(`{"text":"é \"<\"","number":2,"yes":true,"nothing":null,"list":[1],"object":{"a":[1]},"messageid":"mine","someTrigger":"x"}`)
	sameJSON(t, newEnvelope(f, m.Body, messageMetadata(m, someClient)),
		`{"Data":{"msg":"\"{\\\"text\\\":\\\"é \\\\\\\"<\\\\\\\"\\\",\\\"number\\\":2,\\\"yes\\\":true,\\\"nothing\\\":null,\\\"list\\\":[1],\\\"object\\\":{\\\"a\\\":[1]},\\\"messageid\\\":\\\"mine\\\",\\\"someTrigger\\\":\\\"x\\\"}\""},
		"Metadata":{"text":"\"é \\\"<\\\"\"","number":"\"2\"","yes":"\"True\"","object":{"a":[1]},"MessageId":"\"mine\"",`+messageGolden+`}}`)
}

func TestGoldenMessageWithEveryProperty(t *testing.T) {
	m := message("x")
	m.DeadLetterSource, m.ReplyTo, m.To, m.Subject, m.CorrelationID = ptr("q"), ptr("r"), ptr("t"), ptr("s"), ptr("c")
	m.SessionID, m.ReplyToSessionID, m.PartitionKey = ptr("1"), ptr("2"), ptr("p")
	m.ApplicationProperties = map[string]any{"n": int64(1), "s": "x"}
	m.TimeToLive = nil
	b := messageMetadata(m, someClient)
	for key, want := range map[string]any{
		"DeadLetterSource": `"q"`, "ReplyTo": `"r"`, "To": `"t"`, "Subject": `"s"`, "Label": `"s"`, "CorrelationId": `"c"`,
		"SessionId": `"1"`, "ReplyToSessionId": `"2"`, "PartitionKey": `"p"`,
		"ExpiresAt": "9999-12-31T23:59:59+00:00", "ExpiresAtUtc": "9999-12-31T23:59:59",
	} {
		if b[key] != want {
			t.Errorf("%s: %v, want %v", key, b[key], want)
		}
	}
	if got := b["UserProperties"]; !reflect.DeepEqual(got, m.ApplicationProperties) {
		t.Errorf("UserProperties %v", got)
	}
}

func TestGoldenBlob(t *testing.T) {
	f := &function{name: "intake", trigger: binding{Name: "csv"}}
	properties := blob.GetPropertiesResponse{ContentLength: ptr(int64(4)), ContentType: ptr("text/csv"), LastModified: &sent, CreationTime: &sent,
		Metadata: map[string]*string{"by": ptr("me")}, ContentMD5: []byte{1}}
	tokens := map[string]string{"endpoint": "acme", "name": "pilot 1"}
	sameJSON(t, newEnvelope(f, []byte("\ufeffa\xff\xfeb"), blobMetadata("http://s/c/acme/pilot%201.csv", properties, tokens)),
		`{"Data":{"csv":"\"a\ufffd\ufffdb\""},"Metadata":{"Uri":"\"http://s/c/acme/pilot%201.csv\"","endpoint":"\"acme\"","name":"\"pilot 1\"","Metadata":{"by":"me"},
		"Properties":{"LastModified":"2023-10-12T20:13:49.640002+00:00","CreatedOn":"2023-10-12T20:13:49.640002+00:00","Metadata":{"by":"me"},
			"BlobType":0,"LeaseDuration":0,"LeaseState":0,"LeaseStatus":1,"ContentLength":4,"ContentType":"text/csv","ETag":{},"ContentHash":"AQ==",
			"ContentEncoding":null,"ContentDisposition":null,"ContentLanguage":null,"CacheControl":null,"BlobSequenceNumber":0,"AcceptRanges":null,
			"BlobCommittedBlockCount":0,"IsServerEncrypted":false,"AccessTier":null,"AccessTierInferred":false,"VersionId":null,"IsLatestVersion":false,"TagCount":0},
		"sys":{"MethodName":"intake","UtcNow":"*","RandGuid":"*"}}}`)
}

func TestTokenOverridesBlobMetadata(t *testing.T) {
	m := blobMetadata("http://s/c/x", blob.GetPropertiesResponse{}, map[string]string{"uri": "mine"})
	if m["Uri"] != `"mine"` || len(m) != 3 {
		t.Errorf("metadata %v", m)
	}
}

func TestGoldenTimer(t *testing.T) {
	f := &function{name: "tick", trigger: binding{Name: "timer"}}
	status := &scheduleStatus{Next: sent, LastUpdated: sent.Truncate(time.Second)}
	value := map[string]any{"Schedule": map[string]any{"AdjustForDST": true}, "ScheduleStatus": status.wire(), "IsPastDue": true}
	sameJSON(t, newObjectEnvelope(f, value),
		`{"Data":{"timer":{"Schedule":{"AdjustForDST":true},"IsPastDue":true,
			"ScheduleStatus":{"Last":"0001-01-01T00:00:00","Next":"2023-10-12T20:13:49.640002+00:00","LastUpdated":"2023-10-12T20:13:49+00:00"}}},
		"Metadata":{"sys":{"MethodName":"tick","UtcNow":"*","RandGuid":"*"}}}`)
	if (*scheduleStatus)(nil).wire() != nil {
		t.Error("without a monitor the status is null")
	}
}

func FuzzEnvelope(f *testing.F) {
	for _, seed := range []string{``, `{}`, `{"a":{"b":1},"a":2}`, `{"sys":null,"Trigger":1}`, "\xff{\"\xfe\":1}", `{"a":1} {`, `{"n":1e999}`} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, body []byte, binary bool) {
		fn := &function{name: "run", trigger: binding{Name: "msg"}}
		if binary {
			fn.trigger.DataType = "binary"
		}
		e := newEnvelope(fn, body, messageMetadata(message(""), someClient))
		data, err := e.encode()
		if err != nil {
			t.Fatal(err)
		}
		var back struct {
			Data     map[string]string
			Metadata map[string]any
		}
		if err := json.Unmarshal(data, &back); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		for key := range back.Metadata {
			if strings.HasSuffix(strings.ToLower(key), "trigger") {
				t.Errorf("key %q", key)
			}
		}
		if binary {
			return
		}
		var text string
		if err := json.Unmarshal([]byte(back.Data["msg"]), &text); err != nil {
			t.Fatalf("%q: %v", back.Data["msg"], err)
		}
		if want := strings.TrimPrefix(string(body), "\ufeff"); utf8.Valid(body) && text != want {
			t.Errorf("%q came out as %q", want, text)
		}
	})
}
