package servicebus

import "fmt"

// Described lists (amqp-core-types-v1.0 section 1.4).

// compose builds a described list without its trailing nulls.
func compose(code uint64, fields ...any) described {
	for len(fields) > 0 && fields[len(fields)-1] == nil {
		fields = fields[:len(fields)-1]
	}
	return described{code, fields}
}

// optional turns a pointer into its value or null.
func optional[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}

// nonZero turns a zero value into null.
func nonZero[T comparable](v T) any {
	var zero T
	if v == zero {
		return nil
	}
	return v
}

// fields reads a described list; err is the first field of a wrong type.
type fields struct {
	code uint64
	list []any
	err  error
}

func fieldsOf(v any) (*fields, error) {
	d, ok := v.(described)
	if !ok {
		return nil, fmt.Errorf("%T is not a described list", v)
	}
	code, ok := d.descriptor.(uint64)
	if !ok {
		return nil, fmt.Errorf("descriptor is a %T", d.descriptor)
	}
	list, ok := d.value.([]any)
	if !ok {
		return nil, fmt.Errorf("described value %#02x is a %T", code, d.value)
	}
	return &fields{code: code, list: list}, nil
}

// pointer is field i, or nil when it is null or missing.
func pointer[T any](f *fields, i int) *T {
	if i >= len(f.list) || f.list[i] == nil {
		return nil
	}
	v, ok := f.list[i].(T)
	if !ok {
		if f.err == nil {
			f.err = fmt.Errorf("field %d of %#02x is a %T", i, f.code, f.list[i])
		}
		return nil
	}
	return &v
}

// field is field i, or def when it is null or missing.
func field[T any](f *fields, i int, def T) T {
	if p := pointer[T](f, i); p != nil {
		return *p
	}
	return def
}

// required is field i, which must not be null.
func required[T any](f *fields, i int) T {
	p := pointer[T](f, i)
	if p == nil {
		if f.err == nil {
			f.err = fmt.Errorf("field %d of %#02x is missing", i, f.code)
		}
		var zero T
		return zero
	}
	return *p
}
