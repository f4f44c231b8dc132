package functionhost

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/tailscale/hujson"
)

// ReadLocalSettings returns the app settings in a local.settings.json, as Azure
// Functions Core Tools reads it (AppSettingsFile.cs): the file may hold comments
// and trailing commas, numbers and booleans in Values are taken as text, null as
// nothing, and a file that doesn't say "IsEncrypted": false is encrypted. Such a
// file is refused, as only Core Tools on the same machine could read it.
//
// https://learn.microsoft.com/azure/azure-functions/functions-develop-local#local-settings-file
func ReadLocalSettings(path string) (map[string]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read local settings: %w", err)
	}
	values, err := parseLocalSettings(data)
	if err != nil {
		return nil, fmt.Errorf("read local settings %s: %w", path, err)
	}
	return values, nil
}

func parseLocalSettings(data []byte) (map[string]string, error) {
	standard, err := hujson.Standardize(bytes.TrimPrefix(data, []byte("\ufeff")))
	if err != nil {
		return nil, err
	}
	var file struct {
		IsEncrypted *bool
		Values      map[string]json.RawMessage
	}
	if err := json.Unmarshal(standard, &file); err != nil {
		return nil, err
	}
	if or(file.IsEncrypted, true) {
		return nil, errors.New(`the file is encrypted unless it says "IsEncrypted": false; decrypt it by "func settings decrypt"`)
	}
	values := map[string]string{}
	for name, value := range file.Values {
		text := string(value)
		switch {
		case value[0] == '"':
			if err := json.Unmarshal(value, &text); err != nil {
				return nil, err
			}
		case value[0] == '{' || value[0] == '[':
			return nil, fmt.Errorf("value of %s is no text", name)
		case text == "null":
			text = ""
		}
		values[name] = text
	}
	return values, nil
}

// settings are the app settings.
type settings map[string]string

var settingReference = regexp.MustCompile(`%([^%]+)%`)

// expand replaces every %NAME% by the app setting NAME. A name without a
// setting is an error, as in the name resolver of the WebJobs SDK.
func (s settings) expand(text string) (string, error) {
	var missing string
	expanded := settingReference.ReplaceAllStringFunc(text, func(reference string) string {
		name := strings.Trim(reference, "%")
		value, ok := s[name]
		if !ok {
			missing = reference
		}
		return value
	})
	if missing != "" {
		return "", fmt.Errorf("resolve %q: there is no app setting for %s", text, missing)
	}
	return expanded, nil
}

// expandKnown replaces %NAME% where a setting exists and leaves the rest, as
// Environment.ExpandEnvironmentVariables does for the handler's arguments.
func (s settings) expandKnown(text string) string {
	return settingReference.ReplaceAllStringFunc(text, func(reference string) string {
		if value, ok := s[strings.Trim(reference, "%")]; ok {
			return value
		}
		return reference
	})
}

// connection returns the connection string that a binding's connection names:
// the setting AzureWebJobs<name>, else <name>; for an empty name the fallback.
func (s settings) connection(name, fallback string) (string, error) {
	if name == "" {
		name = fallback
	}
	for _, key := range []string{"AzureWebJobs" + name, name} {
		if value := s[key]; value != "" {
			return value, nil
		}
	}
	for _, key := range slices.Sorted(maps.Keys(s)) {
		if strings.HasPrefix(key, name+"__") {
			return "", fmt.Errorf("connection %q: identity-based connections (%s) are not supported on one machine; set %s to a connection string", name, key, name)
		}
	}
	return "", fmt.Errorf("connection %q: there is no app setting of that name", name)
}

// developmentStorage is what UseDevelopmentStorage=true stands for: the
// well-known account and key of the storage emulators.
//
// https://learn.microsoft.com/azure/storage/common/storage-use-azurite
const developmentStorage = "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;" +
	"AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;" +
	"BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;QueueEndpoint=http://127.0.0.1:10001/devstoreaccount1;"

// storage is connection for a storage account.
func (s settings) storage(name string) (string, error) {
	value, err := s.connection(name, "AzureWebJobsStorage")
	if strings.EqualFold(strings.TrimSuffix(value, ";"), "UseDevelopmentStorage=true") {
		return developmentStorage, nil
	}
	return value, err
}
