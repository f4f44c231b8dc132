package graph

import (
	"errors"
	"testing"
	"time"
)

var sample = map[string]any{
	"subject": "O'Neill says Hi", "isRead": true, "sizeInBytes": 5.0, "categories": []any{"Red", "Blue"}, "sender": nil,
	"receivedDateTime": time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC),
	"singleValueExtendedProperties": []any{
		propertyObject("Integer 0x1080", "261"), propertyObject("SystemTime 0x39", "2020-01-01T00:00:00Z"),
	},
}

func sampleObject(name string) (any, error) {
	v, ok := sample[name]
	if !ok {
		return nil, errNoProperty
	}
	return v, nil
}

func TestFilter(t *testing.T) {
	tests := []struct {
		filter string
		want   bool
	}{
		{"subject eq 'o''neill says hi'", true},
		{"subject ne 'x' and not isRead eq false", true},
		{"receivedDateTime ge 2020-01-02T03:04:05Z and receivedDateTime lt 2020-01-02T03:04:06.000+00:00", true},
		{"receivedDateTime gt 2020-01-02T04:04:05+01:00", false},
		{"receivedDateTime gt 2020-01-02", true},
		{"isRead eq false or (sizeInBytes gt 4 and sizeInBytes le 5)", true},
		{"contains(subject,'SAYS')", true},
		{"startswith(subject, 'says')", false},
		{"categories/any(c:c eq 'blue')", true},
		{"categories/all(c: c eq 'blue')", false},
		{"sender eq null", true},
		{"singleValueExtendedProperties/Any(ep: ep/id eq 'Integer 0x1080' and cast(ep/value, Edm.Int32) eq 261)", true},
		{"singleValueExtendedProperties/Any(ep: ep/id eq 'SystemTime 0x39' and cast(ep/value, Edm.DateTimeOffset) lt datetimeoffset'2019-01-01T00:00:00Z')", false},
	}
	for _, tt := range tests {
		e, err := parseFilter(tt.filter)
		if err == nil {
			e, _, err = propertiesIn(e)
		}
		if err != nil {
			t.Errorf("%s: %v", tt.filter, err)
			continue
		}
		if got, err := matches(e, sampleObject); err != nil || got != tt.want {
			t.Errorf("%s: got %t, %v", tt.filter, got, err)
		}
	}
}

func TestFilterRefused(t *testing.T) {
	for _, filter := range []string{
		"", "subject", "subject eq", "subject eq 'open", "(isRead eq true", "isRead eq true)", "subject eq 5", "isRead gt true",
		"shoeSize eq 4", "categories eq 'x'", "subject/any(x:x eq 'y')", "length(subject,'x') eq 4", "contains(subject)",
	} {
		e, err := parseFilter(filter)
		if err == nil {
			_, err = matches(e, sampleObject)
		}
		if err == nil || told(err) == nil {
			t.Errorf("%q: got %v, want a refusal", filter, err)
		}
	}
}

func TestNormalizeID(t *testing.T) {
	tests := []struct{ in, want string }{
		{"Integer 0x0E07", "Integer 0xe07"},
		{"string 0x001A", "String 0x1a"},
		{"String {6F1F3E52-0C8B-4D7B-9D62-0123456789AB} Name Source Key", "String {6f1f3e52-0c8b-4d7b-9d62-0123456789ab} Name Source Key"},
		{"Boolean {6F1F3E52-0C8B-4D7B-9D62-0123456789AB} Id 0x0102", "Boolean {6f1f3e52-0c8b-4d7b-9d62-0123456789ab} Id 0x102"},
		{"Number 0x1", ""}, {"Integer 0x", ""}, {"Integer 0x12345", ""}, {"String {x} Name y", ""}, {"", ""},
	}
	for _, tt := range tests {
		got, err := normalizeID(tt.in)
		if got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("%q: got %q, %v", tt.in, got, err)
		}
	}
}

// FuzzFilter checks that what is parsed can be evaluated or is refused.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{
		"subject eq 'a''b' and (isRead eq true or not isDraft eq false)", "receivedDateTime ge 2020-01-02T03:04:05Z",
		"singleValueExtendedProperties/Any(ep: ep/id eq 'x' and cast(ep/value, Edm.Int32) ge 5)", "categories/all(c:c eq null)",
		"contains(subject,'x')", "((((", "a/b/c/", "-1 eq 1e5", "datetimeoffset'2020-01-01'",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := parseFilter(s)
		if err == nil {
			e, _, err = propertiesIn(e)
		}
		if err == nil {
			walk(e, func(expr) {})
			_, err = matches(e, sampleObject)
		}
		var refused *refusal
		if err != nil && !errors.Is(err, errFilter) && !errors.Is(err, errNoProperty) && !errors.As(err, &refused) {
			t.Fatalf("unexpected error %v", err)
		}
	})
}

// FuzzNormalizeID checks that a normalised id stays as it is.
func FuzzNormalizeID(f *testing.F) {
	f.Add("Integer 0x0E07")
	f.Add("String {6F1F3E52-0C8B-4D7B-9D62-0123456789AB} Name Source Key")
	f.Fuzz(func(t *testing.T, s string) {
		once, err := normalizeID(s)
		if err != nil {
			return
		}
		if twice, err := normalizeID(once); err != nil || twice != once {
			t.Fatalf("%q became %q, then %q, %v", s, once, twice, err)
		}
	})
}
