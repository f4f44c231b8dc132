package graph

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// object gives the properties of what is filtered: strings, times, numbers,
// bools, nil, []any, or further objects. The error is errNoProperty for names
// the type does not have.
type object func(name string) (any, error)

var errNoProperty = errors.New("no such property")

// propertyID is the id of an extended property. It compares in its normalised
// form, and its name with case
// (https://learn.microsoft.com/graph/api/singlevaluelegacyextendedproperty-get).
type propertyID string

// propertyValue is the value of an extended property, as text.
type propertyValue struct{ typ, text string }

func (v propertyValue) isString() bool { return v.typ == "String" }

// scope is an object with the variables of the lambdas around.
type scope struct {
	root object
	vars map[string]any
}

// matches tells whether o fulfils the filter.
func matches(e expr, o object) (bool, error) {
	v, err := scope{root: o}.eval(e)
	if err != nil {
		return false, err
	}
	b, ok := v.(bool)
	if !ok {
		return false, fmt.Errorf("%w: it is no condition", errFilter)
	}
	return b, nil
}

func (s scope) eval(e expr) (any, error) {
	switch e := e.(type) {
	case constant:
		return e.value, nil
	case path:
		return s.resolve(e)
	case negation:
		b, err := s.condition(e.of)
		return !b, err
	case binary:
		return s.binary(e)
	case call:
		return s.call(e)
	case lambda:
		return s.lambda(e)
	}
	return nil, errFilter
}

func (s scope) condition(e expr) (bool, error) {
	v, err := s.eval(e)
	if err != nil {
		return false, err
	}
	b, ok := v.(bool)
	if !ok {
		return false, fmt.Errorf("%w: operand is no condition", errFilter)
	}
	return b, nil
}

func (s scope) binary(e binary) (any, error) {
	if e.op == "and" || e.op == "or" {
		left, err := s.condition(e.left)
		if err != nil || left == (e.op == "or") {
			return left, err
		}
		return s.condition(e.right)
	}
	left, err := s.eval(e.left)
	if err != nil {
		return nil, err
	}
	right, err := s.eval(e.right)
	if err != nil {
		return nil, err
	}
	return compare(e.op, left, right)
}

// compare compares values of one type; strings regardless of case, as Exchange
// and the directory do. Nothing but ne holds between a value and null.
func compare(op string, left, right any) (bool, error) {
	if left == nil || right == nil {
		return (op == "eq") == (left == right) && (op == "eq" || op == "ne"), nil
	}
	var order int
	switch l := left.(type) {
	case propertyID:
		r, ok := right.(propertyID)
		if !ok || op != "eq" {
			return false, mismatch(left, right)
		}
		return l == r, nil
	case propertyValue:
		// Without a cast nothing but strings compares with a string.
		if r, ok := right.(string); ok && l.isString() {
			return compare(op, l.text, r)
		}
		return false, nil
	case string:
		r, ok := right.(string)
		if !ok {
			return false, mismatch(left, right)
		}
		order = cmp.Compare(strings.ToLower(l), strings.ToLower(r))
	case time.Time:
		r, ok := right.(time.Time)
		if !ok {
			return false, mismatch(left, right)
		}
		order = l.Compare(r)
	case float64:
		r, ok := right.(float64)
		if !ok {
			return false, mismatch(left, right)
		}
		order = cmp.Compare(l, r)
	case bool:
		r, ok := right.(bool)
		if !ok || op != "eq" && op != "ne" {
			return false, mismatch(left, right)
		}
		return (l == r) == (op == "eq"), nil
	default:
		return false, mismatch(left, right)
	}
	return map[string]bool{
		"eq": order == 0, "ne": order != 0, "lt": order < 0, "le": order <= 0, "gt": order > 0, "ge": order >= 0,
	}[op], nil
}

func mismatch(left, right any) error {
	return fmt.Errorf("%w: %T cannot be compared with %T", errFilter, left, right)
}

func (s scope) resolve(p path) (any, error) {
	v, ok := s.vars[p[0]]
	if !ok {
		var err error
		if v, err = s.root(p[0]); err != nil {
			return nil, fmt.Errorf("%w: %q", err, p[0])
		}
	}
	for _, name := range p[1:] {
		o, ok := v.(object)
		if !ok {
			return nil, fmt.Errorf("%w: %q", errNoProperty, name)
		}
		var err error
		if v, err = o(name); err != nil {
			return nil, fmt.Errorf("%w: %q", err, name)
		}
	}
	return v, nil
}

func (s scope) lambda(e lambda) (any, error) {
	v, err := s.resolve(e.collection)
	if err != nil {
		return nil, err
	}
	list, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("%w: %s is no collection", errFilter, strings.Join(e.collection, "/"))
	}
	for _, member := range list {
		inner := scope{s.root, map[string]any{e.variable: member}}
		b, err := inner.condition(e.body)
		if err != nil {
			return nil, err
		}
		if b == (e.op == "any") {
			return b, nil
		}
	}
	return e.op == "all", nil
}

func (s scope) call(e call) (any, error) {
	if len(e.args) != 2 {
		return nil, fmt.Errorf("%w: %s takes two arguments", errFilter, e.name)
	}
	first, err := s.eval(e.args[0])
	if err != nil {
		return nil, err
	}
	if e.name == "cast" {
		return cast(first, e.args[1])
	}
	second, err := s.eval(e.args[1])
	if err != nil {
		return nil, err
	}
	if v, ok := first.(propertyValue); ok && v.isString() {
		first = v.text
	}
	text, ok := first.(string)
	part, ok2 := second.(string)
	if !ok || !ok2 {
		return false, nil
	}
	text, part = strings.ToLower(text), strings.ToLower(part)
	switch e.name {
	case "contains":
		return strings.Contains(text, part), nil
	case "startswith":
		return strings.HasPrefix(text, part), nil
	case "endswith":
		return strings.HasSuffix(text, part), nil
	}
	return nil, fmt.Errorf("%w: unknown function %s", errFilter, e.name)
}

// cast turns the text of an extended property into the type that is compared.
func cast(v any, to expr) (any, error) {
	p, ok := to.(path)
	text, ok2 := v.(string)
	if pv, isValue := v.(propertyValue); isValue {
		text, ok2 = pv.text, true
	}
	if !ok || len(p) != 1 {
		return nil, fmt.Errorf("%w: cast to what", errFilter)
	}
	if !ok2 {
		return nil, nil
	}
	switch strings.ToLower(p[0]) {
	case "edm.int32", "edm.int64", "edm.double", "edm.int16":
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, nil
		}
		return n, nil
	case "edm.datetimeoffset":
		t, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return nil, nil
		}
		return t, nil
	case "edm.string":
		return text, nil
	case "edm.boolean":
		return strings.EqualFold(text, "true"), nil
	}
	return nil, fmt.Errorf("%w: cast to %s", errFilter, p[0])
}
