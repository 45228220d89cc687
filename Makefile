# Everything runs from .venv, made at the first call with the first Python >= 3.11 found (or PYTHON=...).

BIN := .venv/bin
PACKAGES := loyalty_saas tenants programs members rewards training

# What `make demo` counts to: three steps of set-up here, the rest in the command, which is told where it starts.
DEMO_STEPS := $(if $(LOG),10,9)

# One command a line; all must pass.
define LINT
ruff check .
ruff format --check .
lint-imports
mypy $(PACKAGES)
python manage.py makemigrations --check --dry-run
python manage.py check
python manage.py api_schema --check
python manage.py translations --check
tailwindcss -i loyalty_saas/styles/app.css -o .state/app.css --minify
cmp .state/app.css loyalty_saas/static/css/app.css
endef

.DEFAULT_GOAL := help
.PHONY: help demo test lint css texts screenshots bench prove mutate stop clean requirements

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

demo: ## Set up, start everything, load the demo (LOG=file.csv adds a client from a log); Ctrl-C stops all
	@STEPS=$(DEMO_STEPS) sh -c "$$SETUP" setup base servers
	@DEMO_STEP=3 DEMO_STEPS=$(DEMO_STEPS) exec $(BIN)/python -c "$$IN_FRONT" $(BIN)/python manage.py demo $${LOG:+--log "$$LOG"}

test: ## Run the whole suite on real servers, two files at a time (JOBS=0: one by one; ARGS=... go to pytest)
	@sh -c "$$SETUP" setup base servers dev
	@$(BIN)/python -m pytest -n $(or $(JOBS),2) --dist loadfile $(ARGS)

lint: ## Check style, types, imports, migrations and settings
	@sh -c "$$SETUP" setup base servers dev
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh -exc "$$LINT"

css: ## Build the style sheet from loyalty_saas/styles/app.css
	@sh -c "$$SETUP" setup base servers dev
	@$(BIN)/tailwindcss -i loyalty_saas/styles/app.css -o loyalty_saas/static/css/app.css --minify

texts: ## Bring the catalogues of translations up to date with code and templates
	@sh -c "$$SETUP" setup base servers dev
	@$(BIN)/python manage.py translations

screenshots: ## Look at every page in every size, and keep the pictures in screenshots/
	@sh -c "$$SETUP" setup base servers dev
	@SCREENSHOTS=$(CURDIR)/screenshots $(BIN)/python -m pytest tests/loyalty_saas/test_pages.py $(ARGS)

bench: ## Run the benchmarks (NAME=one), each against a bare baseline in the same run
	@sh -c "$$SETUP" setup base servers dev
	@$(BIN)/python -m benchmarks $(NAME)

mutate: ## Change rules and ledger one operator at a time; the tests must notice (NAME=rules|ledger, SAMPLE=300)
	@sh -c "$$SETUP" setup base servers dev
	@for name in $${NAME:-rules ledger}; do $(BIN)/python -m tests.mutation $$name $${SAMPLE:+--sample $$SAMPLE} $${SEED:+--seed $$SEED} || exit 1; done

prove: ## Prove the ledger at length (MINUTES=20 for less) and write docs/proof.md
	@sh -c "$$SETUP" setup base servers dev
	@MINUTES=$(MINUTES) $(BIN)/python -m tests.proof $(ARGS)

stop: ## Stop the embedded PostgreSQL and Redis
	@$(ANY_PYTHON) loyalty_saas/embedded.py stop

clean: ## Stop the servers and delete their data, .venv and all caches
	@$(ANY_PYTHON) loyalty_saas/embedded.py remove
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .state staticfiles
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

requirements: ## Recompile the lock files from requirements/*.in (ARGS=--upgrade takes newer versions)
	@sh -c "$$SETUP" setup base
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@for name in base servers dev; do \
		$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url --no-annotate \
			--python-version 3.11 $(ARGS) requirements/$$name.in --output-file requirements/$$name.txt || exit 1; \
	done

# The launcher needs no package, so any Python will do.
ANY_PYTHON = $$(test -x $(BIN)/python && echo $(BIN)/python || echo $${PYTHON:-python3})

# sh -c "$SETUP" setup NAME...: make .venv and bring each requirements/NAME.txt in, where it is not there yet.
# With STEPS set, every step is told; without it, only those that have something to do.
define SETUP
set -eu
count=0
total=$${STEPS:-$$(($$# + 1))}

tell() { printf '[%s/%s] %s … %s\n' "$$count" "$$total" "$$1" "$$2"; }

tell_ready() { [ -z "$${STEPS:-}" ] || tell "$$1" "there already"; }

fail() {
	printf 'error: %s\n' "$$1" >&2
	exit 1
}

find_python() {
	known=$${PYTHON:-python3.11 python3.12 python3.13 python3}
	for python in $$known; do
		if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then return; fi
	done
	fail "Python 3.11 or later is needed, and that is none of: $$known. Install it, or name it with PYTHON=..."
}

make_venv() {
	find_python
	"$$python" -c 'import ensurepip, venv' 2>/dev/null ||
		fail "$$python cannot make virtual environments: install its venv package (Debian: apt-get install python3-venv)."
	"$$python" -m venv --clear .venv || fail "$$python could not make .venv."
}

install() {
	$(BIN)/python -c "$$INSTALL" "[$$count/$$total] $$2" "requirements/$$1.txt"
	cp "requirements/$$1.txt" ".venv/$$1.installed"
}

count=1
began=$$(date +%s)
if [ -x $(BIN)/pip ] && $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
	tell_ready "Python environment"
else
	make_venv
	tell "Python environment" "$$(($$(date +%s) - began)) s"
fi
for name in "$$@"; do
	count=$$((count + 1))
	case $$name in
		base) title="Packages of the application" ;;
		servers) title="PostgreSQL and Redis" ;;
		*) title="Packages of the developers" ;;
	esac
	if cmp -s "requirements/$$name.txt" ".venv/$$name.installed"; then
		tell_ready "$$title"
	else
		install "$$name" "$$title"
	fi
done
endef

# Installs a lock file with one line of progress, of how many packages this machine needs; a failure shows all that pip said.
define INSTALL
import signal, subprocess, sys, time
from pip._vendor.packaging.requirements import Requirement

head, lock = sys.argv[1:]
began, doing, said, found = time.monotonic(), "asking", [], 0
wanted = [Requirement(line.split(" \\")[0]) for line in open(lock) if line[:1].isalnum()]
total = sum(need.marker is None or need.marker.evaluate() for need in wanted)
pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--require-hashes", "--no-deps"]

def show(*_):
    if sys.stdout.isatty():
        print(f"\r\033[K{head} … {doing}, {time.monotonic() - began:.0f} s", end="", flush=True)

signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.signal(signal.SIGALRM, show)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.5)
program = subprocess.Popen([*pip, "-r", lock], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
for line in program.stdout:
    said.append(line)
    if line.startswith(("Collecting ", "Requirement already satisfied")):
        found += 1
        doing = f"{found} of {total}"
    if line.startswith("Installing "):
        doing = f"unpacking {total}"
failed = program.wait()
signal.setitimer(signal.ITIMER_REAL, 0)
if sys.stdout.isatty():
    print("\r\033[K", end="")
if failed:
    sys.exit("".join(said) + f"error: {head} could not be installed; pip says why above.")
print(f"{head} … {total} packages, {time.monotonic() - began:.0f} s", flush=True)
endef

# A program as the terminal's own foreground job: Ctrl-C reaches it alone and it ends well, so make has no error to report.
define IN_FRONT
import os, signal, subprocess, sys

if not os.isatty(0) or os.tcgetpgrp(0) != os.getpgrp():
    os.execv(sys.argv[1], sys.argv[1:])
for number in (signal.SIGTTOU, signal.SIGTSTP):
    signal.signal(number, signal.SIG_IGN)
program = subprocess.Popen(sys.argv[1:], process_group=0)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, frame: program.send_signal(number))
os.tcsetpgrp(0, program.pid)
code = program.wait()
os.tcsetpgrp(0, os.getpgrp())
sys.exit(code)
endef

export LINT SETUP INSTALL IN_FRONT
