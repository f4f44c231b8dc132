package azurite

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"

	"mailferry/infra/local/faults"
)

func TestFaults(t *testing.T) {
	s := run(t, Options{})
	for name, test := range map[string]struct {
		rule  faults.Rule
		code  bloberror.Code // the SDK retries what may pass: each rule strikes for as long as it tries
		there bool           // the blob was written in spite of it
	}{
		"throttled":   {faults.Rule{Do: faults.Throttle}, bloberror.ServerBusy, false},
		"internal":    {faults.Rule{Do: faults.Answer, Status: 500}, bloberror.InternalError, false},
		"once only":   {faults.Rule{Do: faults.Answer, Status: 503, Times: 1}, "", true},
		"lease gone":  {faults.Rule{Do: faults.Expire}, bloberror.LeaseIDMismatchWithLeaseOperation, false},
		"answer lost": {faults.Rule{Do: faults.LoseAnswer, Times: 1}, "", true},
		"late answer": {faults.Rule{Do: faults.AnswerLate, After: 10 * time.Millisecond}, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			plan := faults.New()
			proxy, err := s.Faulty(t.Context(), plan)
			if err != nil {
				t.Fatal(err)
			}
			defer proxy.Close()
			container := "box-" + strings.ReplaceAll(name, " ", "-")
			if _, err := client(t, s).CreateContainer(t.Context(), container, nil); err != nil {
				t.Fatal(err)
			}
			test.rule.At, test.rule.Match = "blob."+http.MethodPut, container
			id := plan.Add(test.rule)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			_, err = connect(t, s.ConnectionStringThrough(proxy.URL())).UploadBuffer(ctx, container, "a/b", []byte("kept"), nil)
			if test.code != "" && !bloberror.HasCode(err, test.code) || test.code == "" && err != nil {
				t.Errorf("the upload ended with %v, want %q", err, test.code)
			}
			_, err = client(t, s).DownloadStream(t.Context(), container, "a/b", nil)
			if (err == nil) != test.there {
				t.Errorf("read back: %v, want it there: %t", err, test.there)
			}
			if plan.Taken(id) == 0 {
				t.Error("the rule never struck")
			}
		})
	}
}
