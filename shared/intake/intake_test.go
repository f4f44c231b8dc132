package intake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"mailferry/shared/credentials"
	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

// directory knows name@contoso.example for every name but "nobody"; "alias" is anna's second address.
type directory struct{ down bool }

func (d *directory) Resolve(_ context.Context, address string) (migrate.TargetMailbox, error) {
	name, domain, _ := strings.Cut(address, "@")
	if d.down {
		return migrate.TargetMailbox{}, &migrate.Error{Op: "resolve", Kind: migrate.Unreachable, Err: errors.New("down")}
	}
	if name == "nobody" || domain != "contoso.example" {
		return migrate.TargetMailbox{}, &migrate.Error{Op: "resolve", Kind: migrate.NoMailbox, Err: errors.New("no such user")}
	}
	if name == "alias" {
		name = "anna"
	}
	return migrate.TargetMailbox{GUID: "guid-" + name, UserID: "id-" + name, Address: name + "@contoso.example"}, nil
}

type waker struct{ woken []migrate.WakeUp }

func (w *waker) Wake(_ context.Context, u migrate.WakeUp, _ time.Time) error {
	w.woken = append(w.woken, u)
	return nil
}

type fixture struct {
	*Intake
	directory *directory
	waker     *waker
	opener    *credentials.Opener
}

func setup(t *testing.T) fixture {
	t.Helper()
	identity, recipient, err := credentials.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := credentials.NewSealer(recipient)
	if err != nil {
		t.Fatal(err)
	}
	opener, err := credentials.NewOpener(identity)
	if err != nil {
		t.Fatal(err)
	}
	drop, state, w, d := migratetest.NewStore(nil), migratetest.NewStore(nil), &waker{}, &directory{}
	in := &Intake{Drop: drop, Store: state, Directory: d, Sealer: sealer, Vault: &credentials.Vault{Store: state, Sealer: sealer, Opener: opener},
		Planner: &migrate.Planner{Store: state, Drop: drop, Waker: w, Grace: time.Minute}}
	f := fixture{in, d, w, opener}
	f.put(t, "zimbra/endpoint.json", `{"host":"mail.example","slots":2}`)
	return f
}

func (f fixture) put(t *testing.T, name, content string) {
	t.Helper()
	if _, err := f.Drop.Put(t.Context(), name, []byte(content), nil, migrate.Condition{}); err != nil {
		t.Fatal(err)
	}
}

func (f fixture) gone(t *testing.T, name string) bool {
	t.Helper()
	_, _, err := f.Drop.Get(t.Context(), name)
	return errors.Is(err, migrate.ErrNotFound)
}

// state returns every blob of the state, name and content.
func (f fixture) state(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := f.Store.List(t.Context(), "", func(e migrate.Entry) error {
		content, _, err := f.Store.Get(t.Context(), e.Name)
		all[e.Name] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

const header = "EmailAddress,UserName,Password\n"

func TestAccept(t *testing.T) {
	f := setup(t)
	f.put(t, "zimbra/spring.csv", header+"anna@contoso.example,anna,pw-of-anna\nbob@contoso.example,bob,pw-of-bob\ncarl@contoso.example,carl,pw-of-carl\n")
	r, err := f.Accept(t.Context(), "zimbra", "spring")
	if err != nil || r.Accepted != 3 || r.New != 3 || r.Refused || len(r.Problems) != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if !f.gone(t, "zimbra/spring.csv") {
		t.Error("the CSV with its passwords is still there")
	}
	if len(f.waker.woken) != 2 {
		t.Errorf("%d woken for 2 slots", len(f.waker.woken))
	}
	id := migrate.NewMailboxID("zimbra", "anna", "guid-anna")
	if pw, err := f.Vault.Get(t.Context(), id); err != nil || string(pw) != "pw-of-anna" {
		t.Errorf("password: %v", err)
	}
	for name, content := range f.state(t) {
		if strings.Contains(content, "pw-of-") {
			t.Errorf("%s shows a password", name)
		}
	}
}

// The same file again, and again after its event came twice, changes nothing but the passwords.
func TestAcceptAgain(t *testing.T) {
	f := setup(t)
	row := "anna@contoso.example,anna,%s\n"
	f.put(t, "zimbra/spring.csv", header+fmt.Sprintf(row, "old"))
	if _, err := f.Accept(t.Context(), "zimbra", "spring"); err != nil {
		t.Fatal(err)
	}
	id := migrate.NewMailboxID("zimbra", "anna", "guid-anna")
	_, before, err := migrate.LoadCheckpoint(t.Context(), f.Store, id)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := f.Accept(t.Context(), "zimbra", "spring"); err != nil || r.Accepted != 0 {
		t.Errorf("event twice: %+v, %v", r, err)
	}
	f.put(t, "zimbra/other.csv", header+fmt.Sprintf(row, "new"))
	if r, err := f.Accept(t.Context(), "zimbra", "other"); err != nil || r.Accepted != 1 || r.New != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	c, after, err := migrate.LoadCheckpoint(t.Context(), f.Store, id)
	if err != nil || before != after || c.Mailbox.Batch != "spring" {
		t.Errorf("the checkpoint changed: %+v, %v", c, err)
	}
	if pw, err := f.Vault.Get(t.Context(), id); err != nil || string(pw) != "new" {
		t.Errorf("the password was not refreshed: %v", err)
	}
}

// fail makes a mailbox Failed, as a run would have left it, and changes what else the test wants.
func (f fixture) fail(t *testing.T, id migrate.MailboxID, kind migrate.Kind, also func(*migrate.Checkpoint)) {
	t.Helper()
	c, tag, err := migrate.LoadCheckpoint(t.Context(), f.Store, id)
	if err != nil {
		t.Fatal(err)
	}
	c.State, c.Phase, c.Problem = migrate.Failed, migrate.Waiting, &migrate.Problem{Kind: kind}
	also(c)
	if _, err := migrate.SaveCheckpoint(t.Context(), f.Store, c, migrate.Condition{Match: tag}); err != nil {
		t.Fatal(err)
	}
}

func nothing(*migrate.Checkpoint) {}

// A mailbox that failed because of its password, or because its target was gone, gets another try with the next CSV.
func TestDroppedAgainRevives(t *testing.T) {
	for _, kind := range []migrate.Kind{migrate.SignIn, migrate.NoMailbox} {
		f := setup(t)
		f.put(t, "zimbra/spring.csv", header+"anna@contoso.example,anna,wrong\n")
		if _, err := f.Accept(t.Context(), "zimbra", "spring"); err != nil {
			t.Fatal(err)
		}
		id := migrate.NewMailboxID("zimbra", "anna", "guid-anna")
		f.fail(t, id, kind, nothing)
		f.put(t, "zimbra/again.csv", header+"anna@contoso.example,anna,right\n")
		if _, err := f.Accept(t.Context(), "zimbra", "again"); err != nil {
			t.Fatal(err)
		}
		if c, _, err := migrate.LoadCheckpoint(t.Context(), f.Store, id); err != nil || c.State != migrate.Queued || c.Phase != migrate.Woken {
			t.Errorf("%s: %+v, %v", kind, c, err)
		}
	}
}

// A UserRoot that was wrong is corrected by the next CSV.
func TestUserRootIsCorrected(t *testing.T) {
	f := setup(t)
	for _, root := range []string{"usr/anna", "user/anna"} {
		f.put(t, "zimbra/spring.csv", "EmailAddress,UserName,Password,UserRoot\nanna@contoso.example,anna,a,"+root+"\n")
		if _, err := f.Accept(t.Context(), "zimbra", "spring"); err != nil {
			t.Fatal(err)
		}
		c, _, err := migrate.LoadCheckpoint(t.Context(), f.Store, migrate.NewMailboxID("zimbra", "anna", "guid-anna"))
		if err != nil || c.Mailbox.UserRoot != root {
			t.Errorf("%+v, %v", c, err)
		}
	}
}

// Bad rows never stop good ones; each has its line and its reason, and the file is kept sealed.
func TestBadRows(t *testing.T) {
	f := setup(t)
	csv := header + "anna@contoso.example,anna,a\nnobody@contoso.example,nobody,topsecret\nbad address,bob,b\nalias@contoso.example,anna2,c\ndora@contoso.example,dora,\neve@contoso.example,eve,e\n"
	f.put(t, "zimbra/spring.csv", csv)
	r, err := f.Accept(t.Context(), "zimbra", "spring")
	if err != nil || r.Accepted != 2 || r.Refused {
		t.Fatalf("%+v, %v", r, err)
	}
	lines := ""
	for _, p := range r.Problems {
		lines += fmt.Sprint(p.Line, " ")
		if p.Reason == "" || p.Advice == "" {
			t.Errorf("line %d has no reason or advice", p.Line)
		}
	}
	// Lines 2 and 5 are one mailbox; which of the two comes first is not decided.
	if lines != "3 4 5 6 " && lines != "2 3 4 6 " {
		t.Errorf("problems in lines %s", lines)
	}
	f.sealedCopy(t, r, csv)
}

func (f fixture) sealedCopy(t *testing.T, r Report, csv string) {
	t.Helper()
	sealed, _, err := f.Store.Get(t.Context(), r.Sealed)
	if err != nil {
		t.Fatalf("sealed copy %q: %v", r.Sealed, err)
	}
	if plain, err := f.opener.Open(sealed); err != nil || string(plain) != csv {
		t.Errorf("the sealed copy does not open to the file: %v", err)
	}
	if !f.gone(t, r.Endpoint+"/"+r.Batch+".csv") {
		t.Error("the file is still there in clear text")
	}
}

// Whole files are refused with a reason and an advice, and kept sealed.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct{ endpoint, batch, csv string }{
		"no header":        {"zimbra", "b", "anna@contoso.example,anna,topsecret\n"},
		"missing column":   {"zimbra", "b", "EmailAddress,UserName\nanna@contoso.example,anna\n"},
		"unknown column":   {"zimbra", "b", "EmailAddress,UserName,Password,Pasword2\nanna@contoso.example,anna,topsecret,x\n"},
		"no row":           {"zimbra", "b", header},
		"empty":            {"zimbra", "b", ""},
		"invalid UTF-8":    {"zimbra", "b", header + "anna@contoso.example,anna,top\xffsecret\n"},
		"unclosed quote":   {"zimbra", "b", header + "anna@contoso.example,anna,\"topsecret\n"},
		"only bad rows":    {"zimbra", "b", header + "nobody@contoso.example,x,topsecret\n"},
		"no endpoint.json": {"courier", "b", header + "anna@contoso.example,anna,topsecret\n"},
		"bad endpoint":     {"Zimbra!", "b", header + "anna@contoso.example,anna,topsecret\n"},
		"bad batch name":   {"zimbra", "spring 2026", header + "anna@contoso.example,anna,topsecret\n"},
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			f.put(t, c.endpoint+"/"+c.batch+".csv", c.csv)
			r, err := f.Accept(t.Context(), c.endpoint, c.batch)
			if err != nil || !r.Refused || r.Accepted != 0 || len(r.Problems) == 0 || r.Problems[0].Reason == "" || r.Problems[0].Advice == "" {
				t.Fatalf("%+v, %v", r, err)
			}
			f.sealedCopy(t, r, c.csv)
			content, _, err := f.Store.Get(t.Context(), ReportName(c.endpoint, c.batch))
			var published Report
			if err != nil || json.Unmarshal(content, &published) != nil || !published.Refused {
				t.Errorf("report %s, %v", content, err)
			}
			if strings.Contains(string(content), "secret") {
				t.Errorf("the report shows a password: %s", content)
			}
			if len(f.waker.woken) != 0 {
				t.Error("a mailbox was woken")
			}
		})
	}
}

// While the directory is down, the file stays; offered again, nothing is done twice.
func TestTryAgain(t *testing.T) {
	f := setup(t)
	f.put(t, "zimbra/spring.csv", header+"anna@contoso.example,anna,a\n")
	f.directory.down = true
	if _, err := f.Accept(t.Context(), "zimbra", "spring"); migrate.KindOf(err) != migrate.Unreachable {
		t.Fatalf("got %v", err)
	}
	if f.gone(t, "zimbra/spring.csv") {
		t.Fatal("the file is gone and its mailbox was not taken in")
	}
	f.directory.down = false
	if r, err := f.Accept(t.Context(), "zimbra", "spring"); err != nil || r.New != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// With an administrator's sign-in no mailbox has a password: none is asked for, and none is kept.
func TestAcceptWithoutPasswords(t *testing.T) {
	f := setup(t)
	f.put(t, "zimbra/endpoint.json", `{"host":"mail.example","admin":{"style":"authzid","user":"admin","passwordSetting":"SOURCE_ADMIN"}}`)
	f.put(t, "zimbra/spring.csv", "EmailAddress,UserName\nanna@contoso.example,anna\n")
	f.put(t, "zimbra/more.csv", header+"bob@contoso.example,bob,pw-of-bob\n")
	for _, batch := range []string{"spring", "more"} {
		r, err := f.Accept(t.Context(), "zimbra", batch)
		if err != nil || r.Accepted != 1 || len(r.Problems) != 0 {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	for name, content := range f.state(t) {
		if strings.HasPrefix(name, "credentials/") || strings.Contains(content, "pw-of-bob") {
			t.Errorf("%s is kept", name)
		}
	}
}

// New credentials end an endpoint's rest.
func TestAcceptEndsTheRest(t *testing.T) {
	f := setup(t)
	dial := migrate.Brake{Store: f.Store}.Guard(func(context.Context, migrate.Endpoint, migrate.Mailbox) (migrate.Source, error) {
		return nil, &migrate.Error{Kind: migrate.SignIn, Reason: migrate.WrongPassword}
	})
	reasons := func() (last migrate.Reason) {
		for range 10 {
			_, err := dial(t.Context(), migrate.Endpoint{Name: "zimbra"}, migrate.Mailbox{})
			last = migrate.ReasonOf(err)
		}
		return last
	}
	if reasons() != migrate.EndpointResting {
		t.Fatal("the endpoint does not rest")
	}
	f.put(t, "zimbra/spring.csv", header+"anna@contoso.example,anna,new\n")
	if _, err := f.Accept(t.Context(), "zimbra", "spring"); err != nil {
		t.Fatal(err)
	}
	if _, err := dial(t.Context(), migrate.Endpoint{Name: "zimbra"}, migrate.Mailbox{}); migrate.ReasonOf(err) != migrate.WrongPassword {
		t.Errorf("got %v", err)
	}
}
