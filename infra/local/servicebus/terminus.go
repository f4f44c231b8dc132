package servicebus

// terminus is a source or a target.
type terminus struct {
	code    uint64
	address string
	filter  map[any]any // of a source
}

func (t *terminus) value() any {
	if t == nil {
		return nil
	}
	return compose(t.code, nonZero(t.address))
}

// decodeTerminus reads field i as a source or target; a terminus of another
// kind, such as a transaction coordinator, keeps only its code.
func decodeTerminus(f *fields, i int) *terminus {
	d := pointer[described](f, i)
	if d == nil {
		return nil
	}
	tf, err := fieldsOf(*d)
	if err != nil {
		f.err = err
		return nil
	}
	t := &terminus{code: tf.code}
	switch t.code {
	case codeSource:
		t.filter = field[map[any]any](tf, 7, nil)
		fallthrough
	case codeTarget:
		t.address = field(tf, 0, "")
	}
	if tf.err != nil && f.err == nil {
		f.err = tf.err
	}
	return t
}
