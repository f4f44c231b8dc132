package functionhost

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// function is one folder with a function.json.
type function struct {
	name    string
	trigger binding
}

// binding is one element of bindings in function.json.
type binding struct {
	Type       string
	Direction  string
	Name       string
	DataType   string
	Connection string

	// serviceBusTrigger
	QueueName            string
	TopicName            string
	Cardinality          string
	IsSessionsEnabled    bool
	AutoCompleteMessages *bool

	// blobTrigger
	Path   string
	Source string

	// timerTrigger
	Schedule     string
	UseMonitor   *bool
	RunOnStartup bool

	// httpTrigger
	Route     *string
	Methods   []string
	AuthLevel string
}

// binary says whether the trigger's value goes to the handler as base64.
func (b *binding) binary() bool { return strings.EqualFold(b.DataType, "binary") }

// eventGrid says where a blobTrigger learns of blobs: from Event Grid, or from
// storage logs and listings (LogsAndContainerScan, the default).
func (b *binding) eventGrid() bool { return strings.EqualFold(b.Source, "EventGrid") }

// is compares the type as the host does, without regard to case.
func (b *binding) is(kind string) bool { return strings.EqualFold(b.Type, kind) }

var (
	// The host's rules for names (Utility.IsValidFunctionName, ScriptBindingProvider).
	functionName = regexp.MustCompile(`(?i)^[a-z][a-z0-9_\-]{0,127}$`)
	bindingName  = regexp.MustCompile(`^([a-zA-Z][a-zA-Z0-9]{0,127}|\$return)$`)
)

// discover reads the function.json in every folder directly below root
// (HostFunctionMetadataProvider.ReadFunctionsMetadata). The error names every
// function that is not accepted. Disabled functions are left out.
func discover(root string, c *config, s settings) ([]*function, error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("find functions: %w", err)
	}
	var functions []*function
	var refused []error
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(root, entry.Name(), "function.json"))
		if err != nil {
			continue
		}
		f, err := readFunction(entry.Name(), data, c, s)
		if err != nil {
			refused = append(refused, fmt.Errorf("function %s: %w", entry.Name(), err))
		} else if f != nil {
			functions = append(functions, f)
		}
	}
	if len(functions) == 0 && len(refused) == 0 {
		refused = append(refused, fmt.Errorf("no function.json in a folder directly below %s", root))
	}
	return functions, errors.Join(refused...)
}

// readFunction returns nil for a disabled function.
func readFunction(name string, data []byte, c *config, s settings) (*function, error) {
	if !functionName.MatchString(name) || strings.EqualFold(name, "host") {
		return nil, fmt.Errorf("%q is no valid function name", name)
	}
	var file struct {
		Disabled bool
		Bindings []binding
		Retry    json.RawMessage
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("read function.json: %w", err)
	}
	if file.Disabled || strings.EqualFold(s["AzureWebJobs."+name+".Disabled"], "true") {
		return nil, nil
	}
	if len(file.Retry) > 0 {
		return nil, errors.New("retry is not supported")
	}
	trigger, err := findTrigger(file.Bindings)
	if err != nil {
		return nil, err
	}
	f := &function{name: name, trigger: trigger}
	if err := f.trigger.resolve(s); err != nil {
		return nil, err
	}
	return f, f.check(c)
}

// findTrigger checks the bindings' names and returns the one trigger.
func findTrigger(bindings []binding) (binding, error) {
	var triggers []binding
	outputs := 0
	for i, b := range bindings {
		switch {
		case !bindingName.MatchString(b.Name):
			return binding{}, fmt.Errorf("%q is no valid binding name", b.Name)
		case slices.ContainsFunc(bindings[:i], func(other binding) bool { return strings.EqualFold(other.Name, b.Name) }):
			return binding{}, fmt.Errorf("two bindings are named %q", b.Name)
		case strings.HasSuffix(strings.ToLower(b.Type), "trigger"):
			triggers = append(triggers, b)
		case b.is("http") && strings.EqualFold(b.Direction, "out"):
			outputs++
		default:
			return binding{}, fmt.Errorf("binding %q: type %q with direction %q is not supported on one machine", b.Name, b.Type, b.Direction)
		}
	}
	if len(triggers) != 1 {
		return binding{}, fmt.Errorf("there are %d triggers, must be exactly one", len(triggers))
	}
	if triggers[0].is("httpTrigger") != (outputs == 1) || outputs > 1 {
		return binding{}, errors.New("an httpTrigger and one http output belong together")
	}
	return triggers[0], nil
}

// resolve expands %NAME% in the properties that the WebJobs SDK expands.
func (b *binding) resolve(s settings) error {
	for _, property := range []*string{&b.Connection, &b.QueueName, &b.Path, &b.Schedule} {
		expanded, err := s.expand(*property)
		if err != nil {
			return err
		}
		*property = expanded
	}
	return nil
}

// check refuses triggers that this host cannot play.
func (f *function) check(c *config) error {
	b := &f.trigger
	switch {
	case !c.bundled && !b.is("timerTrigger") && !b.is("httpTrigger"):
		return fmt.Errorf("trigger type %q needs an extensionBundle in host.json", b.Type)
	case b.is("serviceBusTrigger"):
		return b.checkQueue()
	case b.is("blobTrigger"):
		_, err := parseBlobPattern(b.Path)
		return err
	case b.is("timerTrigger"):
		_, err := parseSchedule(b.Schedule)
		return err
	case b.is("httpTrigger"):
		if !c.proxyHTTP {
			return errors.New("httpTrigger needs customHandler.enableProxyingHttpRequest in host.json")
		}
		_, err := newRoute(f, c.routePrefix)
		return err
	}
	return fmt.Errorf("trigger type %q is not supported; supported are serviceBusTrigger, blobTrigger, timerTrigger, httpTrigger", b.Type)
}

func (b *binding) checkQueue() error {
	switch {
	case b.TopicName != "":
		return errors.New("serviceBusTrigger on a topic is not supported; use queueName")
	case b.QueueName == "":
		return errors.New("serviceBusTrigger without queueName")
	case b.IsSessionsEnabled:
		return errors.New("serviceBusTrigger with isSessionsEnabled is not supported")
	case b.Cardinality != "" && !strings.EqualFold(b.Cardinality, "one"):
		return fmt.Errorf("serviceBusTrigger with cardinality %q is not supported; use \"one\"", b.Cardinality)
	}
	return nil
}
