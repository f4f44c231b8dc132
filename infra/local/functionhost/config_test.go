package functionhost

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestHostJSONDefaultsAndValues(t *testing.T) {
	a := newApp(t)
	c, err := readConfig(a.root, a.settings)
	if err != nil {
		t.Fatal(err)
	}
	if c.timeout != 10*time.Minute || c.readyWithin != 30*time.Second || c.routePrefix != "api" || !c.proxyHTTP ||
		c.queues != (queueConfig{2, 0, true, 5 * time.Minute}) || c.blobs.tries != 5 || c.blobs.concurrency < 8 {
		t.Errorf("config %+v", c)
	}
	a.host("functionTimeout", nil)
	if c, err := readConfig(a.root, a.settings); err != nil || c.timeout != 30*time.Minute {
		t.Errorf("functionTimeout by default: %+v, %v", c, err)
	}
	a.host("functionTimeout", "-1")
	a.host("extensions", map[string]any{
		"http":       map[string]any{"routePrefix": ""},
		"serviceBus": map[string]any{"MAXCONCURRENTCALLS": 4, "autoCompleteMessages": false, "maxAutoLockRenewalDuration": "-00:00:00.0010000"},
		"blobs":      map[string]any{"maxDegreeOfParallelism": 3, "poisonBlobThreshold": 1},
	})
	c, err = readConfig(a.root, a.settings)
	if err != nil {
		t.Fatal(err)
	}
	if c.timeout != 0 || c.routePrefix != "" || c.queues.concurrency != 4 || c.queues.autoComplete || c.queues.renewFor >= 0 || c.blobs != (blobConfig{3, 1}) {
		t.Errorf("config %+v", c)
	}
}

func TestHostJSONIsRefused(t *testing.T) {
	for name, change := range map[string]map[string]any{
		"version":        {"version": "1.0"},
		"no handler":     {"customHandler": nil},
		"no path":        {"customHandler": map[string]any{}},
		"missing file":   {"customHandler": map[string]any{"description": map[string]any{"defaultExecutablePath": "no-such-handler"}}},
		"forwarding":     {"customHandler": map[string]any{"description": map[string]any{"defaultExecutablePath": "sh"}, "enableForwardingHttpRequest": true}},
		"routes":         {"customHandler": map[string]any{"description": map[string]any{"defaultExecutablePath": "sh"}, "http": map[string]any{"routes": []any{map[string]any{"route": "x"}}}}},
		"timeout":        {"functionTimeout": "5"},
		"retry":          {"retry": map[string]any{"strategy": "fixedDelay"}},
		"prefetch":       {"extensions": map[string]any{"serviceBus": map[string]any{"prefetchCount": -1}}},
		"no concurrency": {"extensions": map[string]any{"serviceBus": map[string]any{"maxConcurrentCalls": 0}}},
	} {
		a := newApp(t)
		for key, value := range change {
			a.host(key, value)
		}
		if c, err := readConfig(a.root, a.settings); err == nil {
			t.Errorf("%s: accepted as %+v", name, c)
		}
	}
	if _, err := readConfig(t.TempDir(), nil); err == nil {
		t.Error("a missing host.json must be refused")
	}
}

func TestExecutableOnPath(t *testing.T) {
	if path, err := findExecutable(t.TempDir(), "sh"); err != nil || !filepath.IsAbs(path) {
		t.Errorf("%q, %v", path, err)
	}
}

func TestTimeSpans(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"00:00:00": 0, "00:05:00": 5 * time.Minute, "1.02:03:04.5": 26*time.Hour + 3*time.Minute + 4500*time.Millisecond,
		"-00:00:00.0010000": -time.Millisecond, "-1": -1, "23:59:59.9999999": 24*time.Hour - 100,
	} {
		if got, err := parseTimeSpan(text); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "5", "00:60:00", "24:00:00", "00:00", "00:00:00.00000001", "+1:00:00", "00:00:0x", "00:-1:00"} {
		if got, err := parseTimeSpan(text); err == nil {
			t.Errorf("%q: accepted as %v", text, got)
		}
	}
}

func TestDiscovery(t *testing.T) {
	a := newApp(t)
	a.settings["SCHEDULE"] = "0 */5 * * * *"
	a.settings["AzureWebJobs.off.Disabled"] = "true"
	a.write("Tick-1_x/function.json", `{"bindings":[{"type":"TimerTrigger","direction":"in","name":"t","schedule":"%SCHEDULE%"}]}`)
	a.write("off/function.json", inert)
	a.write("off2/function.json", `{"disabled":true,"bindings":[]}`)
	a.write("functions/deeper/function.json", `not even JSON`)
	a.write("empty/readme.txt", "")
	c, err := readConfig(a.root, a.settings)
	if err != nil {
		t.Fatal(err)
	}
	functions, err := discover(a.root, c, a.settings)
	if err != nil || len(functions) != 1 || functions[0].name != "Tick-1_x" || functions[0].trigger.Schedule != "0 */5 * * * *" {
		t.Errorf("functions %v, %v", functions, err)
	}
	if _, err := discover(t.TempDir(), c, a.settings); err == nil {
		t.Error("a root without functions must be refused")
	}
}

func TestFunctionsAreRefused(t *testing.T) {
	timer := `{"type":"timerTrigger","direction":"in","name":"t","schedule":"0 * * * * *"}`
	for why, test := range map[string]struct{ name, bindings string }{
		"folder name":          {"1st", timer},
		"folder name host":     {"Host", timer},
		"long folder name":     {strings.Repeat("a", 129), timer},
		"binding name":         {"f", strings.Replace(timer, `"t"`, `"a-b"`, 1)},
		"no trigger":           {"f", ``},
		"two triggers":         {"f", timer + `,` + strings.Replace(timer, `"t"`, `"u"`, 1)},
		"equal names":          {"f", timer + `,{"type":"http","direction":"out","name":"T"}`},
		"unknown trigger":      {"f", `{"type":"cosmosDBTrigger","direction":"in","name":"t"}`},
		"output binding":       {"f", timer + `,{"type":"queue","direction":"out","name":"q"}`},
		"five fields":          {"f", strings.Replace(timer, "0 * * * * *", "* * * * *", 1)},
		"time span schedule":   {"f", strings.Replace(timer, "0 * * * * *", "00:01:00", 1)},
		"descriptor":           {"f", strings.Replace(timer, "0 * * * * *", "@every 1s x x x x", 1)},
		"day and day of week":  {"f", strings.Replace(timer, "0 * * * * *", "0 0 0 1 * 1", 1)},
		"missing setting":      {"f", strings.Replace(timer, "0 * * * * *", "%MISSING%", 1)},
		"http without output":  {"f", `{"type":"httpTrigger","direction":"in","name":"r"}`},
		"output without http":  {"f", timer + `,{"type":"http","direction":"out","name":"$return"}`},
		"queue without name":   {"f", `{"type":"serviceBusTrigger","direction":"in","name":"m"}`},
		"topic":                {"f", `{"type":"serviceBusTrigger","direction":"in","name":"m","topicName":"t","subscriptionName":"s"}`},
		"sessions":             {"f", `{"type":"serviceBusTrigger","direction":"in","name":"m","queueName":"q","isSessionsEnabled":true}`},
		"many":                 {"f", `{"type":"serviceBusTrigger","direction":"in","name":"m","queueName":"q","cardinality":"many"}`},
		"blob path":            {"f", `{"type":"blobTrigger","direction":"in","name":"b","path":"container"}`},
		"blob container token": {"f", `{"type":"blobTrigger","direction":"in","name":"b","path":"{c}/{n}"}`},
	} {
		if f, err := readFunction(test.name, []byte(`{"bindings":[`+test.bindings+`]}`), &config{proxyHTTP: true, bundled: true}, settings{}); err == nil {
			t.Errorf("%s: accepted as %+v", why, f)
		}
	}
	for retry, c := range map[string]*config{`{"strategy":"fixedDelay"}`: {bundled: true}, "null": {}} {
		f := `{"retry":` + retry + `,"bindings":[` + timer + `]}`
		if _, err := readFunction("f", []byte(f), c, settings{}); err == nil {
			t.Errorf("retry %s must be refused", retry)
		}
	}
	queue := `{"bindings":[{"type":"serviceBusTrigger","direction":"in","name":"m","queueName":"q"}]}`
	if _, err := readFunction("f", []byte(queue), &config{}, settings{}); err == nil {
		t.Error("a serviceBusTrigger without an extensionBundle must be refused")
	}
	http := `{"bindings":[{"type":"httpTrigger","direction":"in","name":"r"},{"type":"http","direction":"out","name":"$return"}]}`
	if _, err := readFunction("f", []byte(http), &config{}, settings{}); err == nil {
		t.Error("an httpTrigger without enableProxyingHttpRequest must be refused")
	}
	if _, err := readFunction("f", []byte(http), &config{proxyHTTP: true, bundled: true}, settings{}); err != nil {
		t.Error(err)
	}
}

func TestStartRefusesConnectionsItCannotUse(t *testing.T) {
	for want, set := range map[string]map[string]string{
		"no app setting":       {},
		"identity-based":       {"Bus__fullyQualifiedNamespace": "x.servicebus.windows.net"},
		"no Service Bus conne": {"Bus": "x"},
	} {
		a := newApp(t)
		a.write("run/function.json", `{"bindings":[{"type":"serviceBusTrigger","direction":"in","name":"m","queueName":"q","connection":"Bus"}]}`)
		for name, value := range set {
			a.settings[name] = value
		}
		if _, err := Start(t.Context(), a.options(Options{})); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("settings %v: got %v, want %q", set, err, want)
		}
	}
}

func TestConnections(t *testing.T) {
	s := settings{"AzureWebJobsX": "prefixed", "X": "plain", "Y": "y", "AzureWebJobsStorage": "UseDevelopmentStorage=true;"}
	for name, want := range map[string]string{"X": "prefixed", "Y": "y"} {
		if got, err := s.connection(name, ""); err != nil || got != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if got, err := s.storage(""); err != nil || got != developmentStorage {
		t.Errorf("%q, %v", got, err)
	}
}

func TestReadLocalSettings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "local.settings.json")
	read := func(content string) (map[string]string, error) {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return ReadLocalSettings(path)
	}
	for content, want := range map[string]map[string]string{
		`{"IsEncrypted":false,"Values":{"A":"1"},"Host":{"CORS":"*"},"ConnectionStrings":{"S":"x"}}`: {"A": "1"},
		`{"IsEncrypted":false}`: {},
		"\ufeff{\"IsEncrypted\":false, // not yet\n\"Values\":{\"A\":\"//\",/* B */},}":   {"A": "//"},
		`{"IsEncrypted":false,"Values":{"N":10,"T":true,"F":1.50,"Z":null,"U":"\u00e4"}}`: {"N": "10", "T": "true", "F": "1.50", "Z": "", "U": "ä"},
	} {
		if got, err := read(content); err != nil || !maps.Equal(got, want) || got == nil {
			t.Errorf("%s: %v, %v, want %v", content, got, err, want)
		}
	}
	for _, content := range []string{`{"IsEncrypted":true,"Values":{"A":"x"}}`, `{"Values":{"A":"x"}}`, `{"IsEncrypted":false,"Values":{"A":{}}}`,
		`{"IsEncrypted":false,"Values":{"A":[1]}}`, `{"IsEncrypted":"no"}`, `{`, ``} {
		if got, err := read(content); err == nil {
			t.Errorf("%s: accepted as %v", content, got)
		}
	}
	if _, err := ReadLocalSettings(path + "x"); err == nil {
		t.Error("a missing file must be refused")
	}
}

func FuzzLocalSettings(f *testing.F) {
	f.Add([]byte(`{"IsEncrypted":false,"Values":{"N":10,"T":true,"Z":null,}} // x`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if values, err := parseLocalSettings(data); err == nil && values == nil {
			t.Error("no values")
		}
	})
}

func FuzzBlobMessage(f *testing.F) {
	f.Add("eyJGdW5jdGlvbklkIjoieCJ9")
	f.Fuzz(func(t *testing.T, content string) {
		if m, err := parseBlobMessage(content); err == nil && m.FunctionID == "" {
			t.Error("no function")
		}
	})
}

func TestBlobPatterns(t *testing.T) {
	for _, test := range []struct {
		path, name string
		want       string // tokens, empty for no match
	}{
		{"batches/{endpoint}/{name}.csv", "acme/pilot.csv", "endpoint=acme name=pilot"},
		{"batches/{endpoint}/{name}.csv", "acme/.csv", "endpoint=acme name="},
		{"batches/{endpoint}/{name}.csv", "a/b/c.csv", "endpoint=a/b name=c"},
		{"batches/{endpoint}/{name}.csv", "acme/pilot.CSV", ""},
		{"batches/{endpoint}/{name}.csv", "pilot.csv", ""},
		{"in/{name}", "a/b.c", "name=a/b.c"},
		{"in/x{{{n}}}.y", "x{1}.y", "n=1"},
		{"in/fixed", "fixed", "-"},
		{"in/fixed", "fixedx", ""},
	} {
		p, err := parseBlobPattern(test.path)
		if err != nil {
			t.Fatal(err)
		}
		tokens, ok := p.match(test.name)
		var got []string
		for _, name := range p.name.SubexpNames() {
			if name != "" && ok {
				got = append(got, name+"="+tokens[name])
			}
		}
		if joined := strings.Join(got, " "); ok != (test.want != "") || (joined != test.want && test.want != "-") {
			t.Errorf("%s matches %s as %q (%v), want %q", test.path, test.name, joined, ok, test.want)
		}
	}
	for _, path := range []string{"", "in", "in/", "/x", "in/{", "in/}", "in/{a.b}", "in/{a}{a}", "in/{}"} {
		if _, err := parseBlobPattern(path); err == nil {
			t.Errorf("%q: must be refused", path)
		}
	}
}

func FuzzBlobPattern(f *testing.F) {
	f.Add("batches/{a}/{b}.csv", "x/y.csv")
	f.Add("c/x{{{n}}}", "x{1}")
	f.Fuzz(func(t *testing.T, path, name string) {
		p, err := parseBlobPattern(path)
		if err != nil {
			return
		}
		if _, ok := p.match(name); ok && !strings.HasPrefix(name, p.prefix) {
			t.Errorf("%q matches %q, which doesn't start with %q", path, name, p.prefix)
		}
	})
}

func FuzzTimeSpan(f *testing.F) {
	f.Add("1.02:03:04.5")
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := parseTimeSpan(text); err == nil && d < 0 != strings.HasPrefix(text, "-") && d != 0 {
			t.Errorf("%q is %v", text, d)
		}
	})
}
