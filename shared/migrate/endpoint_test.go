package migrate

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// TestFolderSettings reads what endpoint.json may say of folders and messages, and refuses what is wrong.
func TestFolderSettings(t *testing.T) {
	e, err := ParseEndpoint("e", []byte(`{"host":"h","includeFolders":["#Inbox#","a/**"],"excludeFolders":["b"],"targetFolder":"Old/h",
		"folderMap":[{"from":"re:^x","to":"y","merge":true}],"includeShared":true,"since":"2015-01-02","before":"2020-01-01","maxSize":"35MB"}`))
	if err != nil {
		t.Fatal(err)
	}
	if e.Since.Time() != time.Date(2015, 1, 2, 0, 0, 0, 0, time.UTC) || e.MaxSize != 35<<20 || len(e.IncludeFolders) != 2 || !e.FolderMap[0].Merge || len(e.Spaces()) != 1 {
		t.Errorf("read %+v", e)
	}
	content, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseEndpoint("e", content)
	if err != nil || again.FolderRules.fingerprint() != e.FolderRules.fingerprint() || again.MessageFilter != e.MessageFilter {
		t.Errorf("%s is read as %+v, %v", content, again, err)
	}
	for setting, want := range map[string]string{
		`"since":"yesterday"`:                          `"yesterday" is no day such as 2019-12-31`,
		`"since":"2020-01-01","before":"2020-01-01"`:   "since 2020-01-01 is not before 2020-01-01",
		`"maxSize":"big"`:                              `"big" is no size such as 35MB`,
		`"maxSize":"0B"`:                               `"0B" is no size such as 35MB`,
		`"excludeFolders":["re:["]`:                    "excludeFolders: \"re:[\": error parsing regexp",
		`"folderMap":[{"from":"a","to":"Calendar"}]`:   "Exchange keeps the name for itself",
		`"folderMap":[{"frm":"a"}]`:                    "unknown field",
		`"targetFolder":"#Nowhere#"`:                   "#Nowhere# is none of #archive#",
		`"excludeFolders":["#Nowhere#/x"]`:             "#Nowhere# is none of #archive#",
		`"folderMap":[{"from":"a","to":"b/*"}]`:        "it has more",
		`"excludeFolders":["a"],"excludeFolder":["a"]`: "unknown field",
		`"labels":"twice"`:                             `labels "twice" is none of folders, once`,
		`"syncEvery":"1d"`:                             `"1d" is no duration such as 90s, 30m or 4h`,
		`"syncEvery":3600`:                             `line 1: the field "syncEvery" wants a text in quotes, not a number`,
		`"port":"993"`:                                 `line 1: the field "port" wants a whole number without quotes, not a string`,
		`"slots":2.5`:                                  `the field "slots" wants a whole number without quotes, not a number 2.5`,
		`"preflight":"true"`:                           `the field "preflight" wants true or false without quotes, not a string`,
		`"auth":5`:                                     `the field "auth" wants a text in quotes, not a number`,
		`"excludeFolders":"a"`:                         `the field "excludeFolders" wants a list in brackets, not a string`,
		`"admin":"m"`:                                  `the field "admin" wants an object in braces, not a string`,
		`"admin":{"style":"authzid","user":7}`:         `the field "admin.user" wants a text in quotes, not a number`,
		`"received":5`:                                 `received is neither a text nor a list of texts`,
	} {
		if _, err := ParseEndpoint("e", []byte(`{"host":"h",`+setting+`}`)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: the error is %v, want %s", setting, err, want)
		}
	}
}

// TestEndpointFile reads what editors write around the object, and refuses what encoding/json would lose.
func TestEndpointFile(t *testing.T) {
	if e, err := ParseEndpoint("e", []byte("\xef\xbb\xbf{\"host\":\"h\"}\r\n")); err != nil || e.Host != "h" {
		t.Errorf("with a byte order mark: %+v, %v", e, err)
	}
	for content, want := range map[string]string{
		`{"host":"h","excludeFolders":["a"],"excludeFolders":["b"]}`:                      `the field "excludeFolders" is there twice`,
		`{"host":"h","Host":"i"}`:                                                         `the field "Host" is there twice`,
		`{"host":"h","folderMap":[{"from":"a","to":"b"},{"from":"c","to":"d","to":"e"}]}`: `the field "to" is there twice`,
		`{"host":"h"} {"host":"i"}`:                                                       "something follows the object's end",
		`{"host":"h"}}`:                                                                   "something follows the object's end",
		"{\"host\":\"h\",\"excludeFolders\":[\"Entw\xfcrfe\"]}":                           "it is not in UTF-8",
		"\xff\xfe{\x00}\x00":                                                              "it is not in UTF-8",
		"{\n  \"host\": \"h\",\n  \"slots\": 3,\n}":                                       "line 4: invalid character '}'",
		"{\n  \"host\": \"h\",\n\n  \"port\": true}":                                      `line 4: the field "port" wants`,
		"\n[]":        "line 2: it is no object in braces",
		`{"host":"h"`: "it ends before its last brace",
		" \n":         "it is empty",
		"":            "it is empty",
	} {
		if _, err := ParseEndpoint("e", []byte(content)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: the error is %v, want %s", content, err, want)
		}
	}
}

// FuzzEndpoint reads any endpoint.json: what is taken means the same when it is written and read again, and what is
// not is refused in the file's words, not in Go's.
func FuzzEndpoint(f *testing.F) {
	for _, content := range []string{
		`{"host":"h"}`, "\xef\xbb\xbf{\"host\":\"h\",\n\"port\":\"993\"}", `{"host":"h","incrementalEvery":"1d"}`, `{"host":"h","hots":1}`, "", `{`, `[]`, `{"host":"h"}x`,
		`{"host":"h","port":993,"security":"tls","auth":"auto","connections":3,"slots":4,"received":["internal","date-header"],"folderMap":[{"from":"a/*","to":"b/*"}]}`,
		`{"host":"h","minTLS":"1.0","fingerprint":"00","admin":{"user":"root","password":"@env:P"},"oauth":{"clientID":"c"},"labels":"once","maxSize":1}`,
	} {
		f.Add([]byte(content))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		e, err := ParseEndpoint("e", content)
		if err != nil {
			if strings.Contains(err.Error(), "Go struct") || strings.Contains(err.Error(), "migrate.") && !strings.Contains(string(content), "migrate.") {
				t.Errorf("%q is refused with %v", content, err)
			}
			return
		}
		written, err := json.Marshal(e)
		if err != nil {
			t.Fatalf("%q: %v", content, err)
		}
		again, err := ParseEndpoint("e", written)
		if err != nil {
			t.Fatalf("%q is written %s: %v", content, written, err)
		}
		if twice, err := json.Marshal(again); err != nil || string(twice) != string(written) {
			t.Errorf("%s is written %s: %v", written, twice, err)
		}
	})
}
