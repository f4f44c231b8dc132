package demo

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"mailferry/infra/local/faults"
)

// The main job while one instance after the other dies with its host, in mid-run: nobody abandons its
// messages or gives its leases back. Everything goes on when locks and leases have run out.
func TestMainJobThroughTheDeathOfEveryInstance(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	plan := faults.New()
	running := plan.Add(faults.Rule{At: "imap.APPEND", Skip: 150, Times: 1, Do: faults.Delay, After: time.Millisecond})
	do := func(verb, instance string) {
		w := httptest.NewRecorder()
		plan.ServeHTTP(w, httptest.NewRequest("POST", "/do/host."+verb, strings.NewReader(`{"instance":`+instance+`}`)).WithContext(ctx))
		if w.Code != http.StatusNoContent {
			t.Errorf("%s of instance %s: %d %s", verb, instance, w.Code, w.Body)
		}
	}
	died := make(chan struct{})
	go func() {
		defer close(died)
		if err := plan.Wait(ctx, running, 1); err != nil {
			t.Error(err)
			return
		}
		for _, instance := range []string{"0", "1"} {
			do("crash", instance)
			do("restart", instance)
		}
	}()
	err := Run(ctx, Options{Dir: t.TempDir(), App: app, Messages: 600, Instances: 2, Faults: plan, Out: logWriter{t}})
	if err != nil {
		t.Error(err)
	}
	<-died
}
