package graph

import (
	"strings"
	"testing"
)

// TestCanonicalPath shows the forms of a path that the service takes for the same
// (OData 4.01 URL conventions, section 4.3; names in any case).
func TestCanonicalPath(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"/v1.0/users/a/mailFolders/inbox/messages", "/v1.0/users/a/mailFolders/inbox/messages"},
		{"/v1.0/Users('a')/MailFolders('Inbox')/Messages", "/v1.0/users/a/mailFolders/Inbox/messages"},
		{"/v1.0/users('o''neil%40x')/messages('A%3D')/attachments/B", "/v1.0/users/o'neil%40x/messages/A%3D/attachments/B"},
		{"/v1.0/users/a/mailfolders/x/childfolders/y/childFolders/z/messages", "/v1.0/users/a/mailFolders/z/messages"},
		{"/v1.0/users/a/mailFolders/x/childFolders('y')", "/v1.0/users/a/mailFolders/y"},
		{"/v1.0/users/a/mailFolders/x/childFolders", "/v1.0/users/a/mailFolders/x/childFolders"},
		{"/v1.0/users/a/messages/$count", "/v1.0/users/a/messages/$count"},
		{"/v1.0/users/messages/messages", "/v1.0/users/messages/messages"},
		{"/v1.0/users/a/messages/b/MOVE", "/v1.0/users/a/messages/b/move"},
		{"/v1.0/users/a/messages/b/attachments/createuploadsession", "/v1.0/users/a/messages/b/attachments/createUploadSession"},
		{"/elsewhere", "/elsewhere"},
	} {
		if got := canonicalPath(tt.in); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.in, got, tt.want)
		}
	}
}

// FuzzCanonicalPath checks that a path in its canonical form stays as it is.
func FuzzCanonicalPath(f *testing.F) {
	f.Add("Users('a')/MailFolders('Inbox')/childFolders/b/$count")
	f.Add("users/a/mailFolders/childFolders/childFolders/childFolders")
	f.Fuzz(func(t *testing.T, s string) {
		if strings.Contains(s, "(") {
			return // a key may hold another
		}
		once := canonicalPath("/v1.0/" + s)
		if twice := canonicalPath(once); twice != once {
			t.Fatalf("%q became %q, then %q", s, once, twice)
		}
	})
}
