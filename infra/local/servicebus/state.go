package servicebus

// deliveryState is what became, or shall become, of a delivery.
type deliveryState struct {
	code              uint64
	err               *amqpError  // of rejected
	undeliverableHere bool        // of modified
	annotations       map[any]any // of modified
}

func decodeState(f *fields, v described) *deliveryState {
	sf, err := fieldsOf(v)
	if err != nil {
		f.err = err
		return nil
	}
	s := &deliveryState{code: sf.code}
	switch s.code {
	case codeRejected:
		s.err = decodeError(sf, 0)
	case codeModified:
		s.undeliverableHere = field(sf, 1, false)
		s.annotations = field[map[any]any](sf, 2, nil)
	}
	if sf.err != nil && f.err == nil {
		f.err = sf.err
	}
	return s
}

func (s *deliveryState) value() described {
	switch {
	case s.code == codeRejected && s.err != nil:
		return compose(codeRejected, s.err.composite())
	case s.code == codeModified:
		return compose(codeModified, false, nonZero(s.undeliverableHere))
	}
	return compose(s.code)
}
