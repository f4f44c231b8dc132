package settings

import (
	"strings"
	"testing"
	"time"
)

func get(m map[string]string) func(string) string { return func(k string) string { return m[k] } }

func complete() map[string]string {
	return map[string]string{"DropZone": "BlobEndpoint=x", "ServiceBusConnection__fullyQualifiedNamespace": "ns.servicebus.windows.net",
		"SEAL_RECIPIENT": "age1x", "SEAL_IDENTITY": "AGE-SECRET-KEY-1X", "EXCHANGE_CLIENT_SECRET": "s3cret"}
}

func TestDefaults(t *testing.T) {
	s, err := Read(get(complete()))
	if err != nil {
		t.Fatal(err)
	}
	if s.Limits.Budget != 4*time.Minute || s.Limits.Lease != 20*time.Second || s.Limits.Renew != 5*time.Second || s.Queue != "wakeups" || s.DropZone != "batches" {
		t.Errorf("%+v", s)
	}
	if s.ServiceBus.Address != "ns.servicebus.windows.net" || s.ServiceBus.String != "" {
		t.Errorf("service bus %+v", s.ServiceBus)
	}
}

// Everything that is wrong is told at once, and no value is printed: one of them may be a secret.
func TestErrorsNameEverySetting(t *testing.T) {
	m := complete()
	delete(m, "DropZone")
	m["RUN_BUDGET"], m["WINDOW_MESSAGES"], m["SEAL_IDENTITY"] = "soon", "0", "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/topsecret)"
	_, err := Read(get(m))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"DropZone", "RUN_BUDGET", "WINDOW_MESSAGES", "SEAL_IDENTITY: the Key Vault reference was not resolved"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %s", err, want)
		}
	}
	for _, secret := range []string{"topsecret", "soon", "s3cret"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error prints %s", secret)
		}
	}
}

// What endpoints name is read when it is needed, and a reference that was not resolved is no secret.
func TestSecret(t *testing.T) {
	get := func(name string) string {
		return map[string]string{"SOURCE_A": " s3cret ", "SOURCE_B": "@Microsoft.KeyVault(SecretUri=https://vault.example/secrets/s3cret)"}[name]
	}
	if v, err := Secret(get, "SOURCE_A"); err != nil || v != " s3cret " {
		t.Errorf("%q, %v", v, err)
	}
	if v, err := Secret(get, "SOURCE_C"); err != nil || v != "" {
		t.Errorf("%q, %v", v, err)
	}
	if _, err := Secret(get, "SOURCE_B"); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("got %v", err)
	}
}
