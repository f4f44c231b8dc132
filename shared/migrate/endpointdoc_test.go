package migrate_test

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"mailferry/shared/migrate"
)

// TestEndpointIsDocumented holds ENDPOINT.md to the fields that endpoint.json may have.
func TestEndpointIsDocumented(t *testing.T) {
	text, err := os.ReadFile("ENDPOINT.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := make(map[string]bool) // what the first column of a table names
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			for i, name := range strings.Split(cells[1], "`") {
				documented[name] = documented[name] || i%2 == 1
			}
		}
	}
	fields := fieldsOf(reflect.TypeFor[migrate.Endpoint](), "")
	if len(fields) < 30 {
		t.Fatalf("only %d fields found: %v", len(fields), fields)
	}
	for _, name := range fields {
		if !documented[name] {
			t.Errorf("ENDPOINT.md does not name %s", name)
		}
	}
}

// fieldsOf lists the fields of a struct as JSON names them, those of an object behind its name and a point.
func fieldsOf(typ reflect.Type, prefix string) (names []string) {
	for f := range typ.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous:
			names = append(names, fieldsOf(f.Type, prefix)...)
		case name == "" || name == "-":
		case f.Type.Kind() == reflect.Pointer && f.Type.Elem().Kind() == reflect.Struct:
			names = append(append(names, prefix+name), fieldsOf(f.Type.Elem(), prefix+name+".")...)
		default:
			names = append(names, prefix+name)
		}
	}
	return names
}
