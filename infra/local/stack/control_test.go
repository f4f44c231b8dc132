package stack

import (
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"mailferry/infra/local/faults"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestControl(t *testing.T) {
	plan := faults.New()
	c, err := startControl(t.Context(), "127.0.0.1:0", plan)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Post(c.url()+"/faults", "application/json", strings.NewReader(`{"at":"blob.PUT","do":"cut"}`))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusCreated || plan.At("blob.PUT", "") == nil {
		t.Errorf("answered %s; the rule is not there", response.Status)
	}
	if err := c.stop(); err != nil {
		t.Error(err)
	}
}

func TestControlStaysOnThisMachine(t *testing.T) {
	if c, err := startControl(t.Context(), "0.0.0.0:0", faults.New()); err == nil {
		t.Errorf("it listens on every address: %s, %v", c.url(), c.stop())
	}
}
