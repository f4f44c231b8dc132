package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadUsers(t *testing.T) {
	for content, want := range map[string]string{
		`[{"UserPrincipalName":"anna@contoso.example","Licensed":true}]`: "",
		`[{"UserPrincipalName":"anna@contoso.example","Licenced":true}]`: `unknown field "Licenced"`,
		`{}`: "cannot unmarshal object",
	} {
		file := filepath.Join(t.TempDir(), "users.json")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		users, err := readUsers(file)
		if want == "" && (err != nil || len(users) != 1) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %+v, %v", content, users, err)
		}
	}
	if _, err := readUsers("nowhere.json"); err == nil {
		t.Error("a file that is not there is no error")
	}
}
