# The two commands of a newcomer are `make demo` and `make test`; both install what they need.
export GOFLAGS ?= -buildvcs=false
GO ?= go

.PHONY: demo test check lint fuzz bench package

demo:            ## runs the main job on real servers and shows the result
	$(GO) run ./infra/local demo

test:            ## every test, with the race detector
	$(GO) test -race -timeout 60m ./...

lint:            ## format, vet and staticcheck
	@unformatted="$$(gofmt -l .)"; test -z "$$unformatted" || { echo "not gofmt-ed: $$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

FUZZTIME ?= 30s
fuzz:            ## every fuzz target for FUZZTIME, one after the other
	@set -e; for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
		for target in $$(grep -ho '^func Fuzz[A-Za-z0-9_]*' $$dir/*_test.go | cut -c6-); do \
			echo "$$dir $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x $$dir; \
		done; \
	done

check: lint test fuzz ## what has to hold before a commit

package:         ## builds dist/mailferry.zip, which is deployed
	$(GO) run ./infra/package

bench:           ## measures; prints figures, fails on nothing but errors
	$(GO) run ./infra/bench
