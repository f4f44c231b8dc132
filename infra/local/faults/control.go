package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// maxBody bounds what a control call may send.
const maxBody = 1 << 20

type listed struct {
	ID    string `json:"id"`
	Taken int    `json:"taken"`
	Rule  Rule   `json:"rule"`
}

// ServeHTTP is the control face; the package comment lists the calls. Errors are JSON: {"error": "…"}.
func (p *Plan) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, p.list()) })
	mux.HandleFunc("POST /faults", p.create)
	mux.HandleFunc("DELETE /faults", func(w http.ResponseWriter, _ *http.Request) {
		p.Clear()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("DELETE /faults/{id}", func(w http.ResponseWriter, r *http.Request) {
		if !p.Remove(r.PathValue("id")) {
			refuse(w, http.StatusNotFound, fmt.Errorf("there is no fault %q", r.PathValue("id")))
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /do", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, p.Verbs()) })
	mux.HandleFunc("POST /do/{verb}", p.perform)
	mux.ServeHTTP(w, r)
}

func (p *Plan) list() []listed {
	p.mu.Lock()
	defer p.mu.Unlock()
	rules := make([]listed, 0, len(p.rules))
	for _, e := range p.rules {
		rules = append(rules, listed{ID: e.id, Taken: e.taken, Rule: e.rule})
	}
	return rules
}

func (p *Plan) create(w http.ResponseWriter, r *http.Request) {
	var rule Rule
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err == nil {
		err = json.Unmarshal(body, &rule)
	}
	var id string
	if err == nil {
		id, err = p.add(rule)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, fmt.Errorf("add a fault: %w", err))
		return
	}
	reply(w, http.StatusCreated, listed{ID: id, Rule: rule})
}

func (p *Plan) perform(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("verb")
	p.mu.Lock()
	do := p.verbs[name]
	p.mu.Unlock()
	if do == nil {
		refuse(w, http.StatusNotFound, fmt.Errorf("there is no verb %q; the verbs are %q", name, p.Verbs()))
		return
	}
	args, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err == nil && len(args) > 0 && !json.Valid(args) {
		err = errors.New("the argument is not JSON")
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	if err := do(r.Context(), args); err != nil {
		refuse(w, http.StatusUnprocessableEntity, fmt.Errorf("%s: %w", name, err))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that is gone needs no answer
}

func refuse(w http.ResponseWriter, status int, err error) {
	reply(w, status, map[string]string{"error": err.Error()})
}
