package functionhost

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// route is the address of an httpTrigger.
type route struct {
	function *function
	segments []segment
	methods  []string // upper case; empty is any
	level    string   // anonymous, function or admin
}

// segment is one part of a route template between slashes.
type segment struct {
	literal  string // lower case; empty for a parameter
	optional bool   // {name?}
	rest     bool   // {*name}: everything that follows, also nothing
}

var parameter = regexp.MustCompile(`^\{(\*{0,2})[A-Za-z_][A-Za-z0-9_]*(\??)\}$`)

// newRoute reads the route template of a function. Parameters fill a whole
// segment: {name}, {name?} and {*name} at the end. Constraints such as
// {id:int} are refused.
//
// https://learn.microsoft.com/azure/azure-functions/functions-bindings-http-webhook-trigger#customize-the-http-endpoint
func newRoute(f *function, prefix string) (*route, error) {
	template := or(f.trigger.Route, f.name)
	r := &route{function: f, level: strings.ToLower(f.trigger.AuthLevel)}
	if r.level == "" {
		r.level = "function"
	}
	if !slices.Contains([]string{"anonymous", "function", "admin"}, r.level) {
		return nil, fmt.Errorf("authLevel %q: must be anonymous, function or admin", f.trigger.AuthLevel)
	}
	for _, method := range f.trigger.Methods {
		r.methods = append(r.methods, strings.ToUpper(method))
	}
	parts := slices.Concat(split(prefix), split(template))
	for i, part := range parts {
		match := parameter.FindStringSubmatch(part)
		switch {
		case !strings.ContainsAny(part, "{}"):
			r.segments = append(r.segments, segment{literal: strings.ToLower(part)})
		case match == nil:
			return nil, fmt.Errorf("route %q: segment %q is not supported", template, part)
		case match[1]+match[2] != "" && i != len(parts)-1:
			return nil, fmt.Errorf("route %q: segment %q must be the last", template, part)
		default:
			r.segments = append(r.segments, segment{rest: match[1] != "", optional: match[2] != ""})
		}
	}
	return r, nil
}

func split(path string) []string {
	return strings.FieldsFunc(path, func(c rune) bool { return c == '/' })
}

// matches compares a path's segments without regard to case.
func (r *route) matches(method string, path []string) bool {
	if len(r.methods) > 0 && !slices.Contains(r.methods, method) {
		return false
	}
	for i, s := range r.segments {
		switch {
		case s.rest:
			return true
		case i >= len(path):
			return s.optional
		case s.literal != "" && s.literal != strings.ToLower(path[i]):
			return false
		}
	}
	return len(path) == len(r.segments)
}

// sortRoutes puts literals before parameters and those before the rest, segment
// by segment, as ASP.NET Core does.
func sortRoutes(routes []*route) {
	rank := func(s segment) int {
		switch {
		case s.literal != "":
			return 0
		case s.rest:
			return 2
		}
		return 1
	}
	slices.SortStableFunc(routes, func(a, b *route) int {
		order := slices.CompareFunc(a.segments, b.segments, func(x, y segment) int { return cmp.Compare(rank(x), rank(y)) })
		return cmp.Or(order, strings.Compare(a.function.name, b.function.name))
	})
}
