package kerberos

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/jcmturner/gokrb5/v8/client"
	"github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestKDC(t *testing.T) {
	k, err := Start(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Stop(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(k.dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the folder is still there: %v", err)
		}
	})
	if err := k.AddUser(t.Context(), "anna", "pw"); err != nil {
		t.Fatal(err)
	}
	if err := k.AddUser(t.Context(), "anna", "pw"); err == nil {
		t.Error("added twice")
	}
	path, err := k.Keytab(t.Context(), "imap/localhost")
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(k.Conf())
	if err != nil {
		t.Fatal(err)
	}
	conf, err := config.NewFromReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	login := func(password string) error {
		c := client.NewWithPassword("anna", k.Realm(), password, conf, client.DisablePAFXFAST(true))
		defer c.Destroy()
		return c.Login()
	}
	if err := login("pw"); err != nil {
		t.Error(err)
	}
	if err := login("wrong"); err == nil {
		t.Error("a wrong password gets a ticket")
	}
	if err := k.Modify(t.Context(), "anna", "-allow_tix"); err != nil {
		t.Fatal(err)
	}
	if err := login("pw"); err == nil {
		t.Error("a locked account gets a ticket")
	}
	kt, err := keytab.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	c := client.NewWithKeytab("imap/localhost", k.Realm(), kt, conf, client.DisablePAFXFAST(true))
	defer c.Destroy()
	if err := c.Login(); err != nil {
		t.Error(err)
	}
}
