package migrate

import (
	"context"
	"errors"
	"fmt"
)

// LoadEndpoint reads the description of an endpoint from the drop zone. None is a *Error of kind
// Configuration with advice.
func LoadEndpoint(ctx context.Context, drop Store, name string) (Endpoint, error) {
	if !ValidEndpointName(name) {
		return Endpoint{}, &Error{Op: "load endpoint", Kind: Configuration, Err: fmt.Errorf("%q is no endpoint name: use lower-case letters, digits and hyphens", name)}
	}
	content, _, err := drop.Get(ctx, name+"/endpoint.json")
	if errors.Is(err, ErrNotFound) {
		return Endpoint{}, &Error{Op: "load endpoint", Kind: Configuration, Err: fmt.Errorf("there is no %s/endpoint.json", name),
			Advice: "Upload it to the drop zone again: its mailboxes wait for it, and go on by themselves."}
	}
	if err != nil {
		return Endpoint{}, fmt.Errorf("load endpoint: %w", err)
	}
	e, err := ParseEndpoint(name, content)
	if err != nil {
		return Endpoint{}, &Error{Op: "load endpoint", Kind: Configuration, Err: err,
			Advice: fmt.Sprintf("Mend %s/endpoint.json and upload it again: its mailboxes wait for it, and go on by themselves.", name)}
	}
	return e, nil
}

// Endpoints lists the endpoints that have mailboxes. Each writes its name once, at intake.
func Endpoints(ctx context.Context, s Store) ([]string, error) {
	var names []string
	err := s.List(ctx, "endpoints/", func(e Entry) error {
		if name := e.Name[len("endpoints/"):]; ValidEndpointName(name) {
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list endpoints: %w", err)
	}
	return names, nil
}

// AnnounceEndpoint makes an endpoint known to Endpoints.
func AnnounceEndpoint(ctx context.Context, s Store, name string) error {
	_, err := s.Put(ctx, "endpoints/"+name, []byte("{}"), nil, Condition{Absent: true})
	if err != nil && !errors.Is(err, ErrConflict) {
		return fmt.Errorf("announce endpoint: %w", err)
	}
	return nil
}
