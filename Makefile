# GnomonDB's front door; `make help` lists what there is. CMake does the work, under build/.

SHELL := /bin/bash
# Debian's own, which has psycopg.
PYTHON := /usr/bin/python3
JOBS ?= $(shell nproc)
BUILD := build/release
CMAKE := cmake -G Ninja -Wno-dev
# What CTest prints of a failing test; 77 is a test's word for "not on this machine".
# One more than there are cores: tests of several processes wait much of their time.
CTEST := ctest --output-on-failure --no-tests=error -j $(shell expr $(JOBS) + 1)
PREFIX ?= /usr/local
SEEDS ?= 2000

.DEFAULT_GOAL := help
.PHONY: help setup build demo demo-cluster test bench bench-cluster bench-vector asan tsan fuzz-smoke lint soak ansible-lint ansible-test test-upgrade jepsen-smoke jepsen install clean

help: ## this list
	@echo "GnomonDB: make TARGET"
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14 | sed 's/^/  /'
	@echo "Settings: JOBS=n, KEEP=1 (demos leave server or data), SEEDS=n (soak), PREFIX=dir (install),"
	@echo "          LIBRAFT_SOURCE=file (where no Debian mirror can be reached)"

setup: ## install what is missing of Debian's packages; fetch libraft
	@tools/setup.sh

build: setup ## the release build, in build/release
	@$(CMAKE) -S . -B $(BUILD) -DCMAKE_BUILD_TYPE=RelWithDebInfo >build-configure.log 2>&1 || { cat build-configure.log; rm -f build-configure.log; exit 1; }
	@rm -f build-configure.log
	@ninja -C $(BUILD) -j $(JOBS) --quiet

demo: build ## semantic search over 20,000 Debian packages, with a crash in the middle
	@$(PYTHON) bench/demo/demo.py --gnomond $(BUILD)/node/gnomond $(if $(KEEP),--keep)

demo-cluster: build ## three nodes that are one database: one is killed under load, a fourth joins
	@$(PYTHON) bench/demo/demo_cluster.py --gnomond $(BUILD)/node/gnomond $(if $(KEEP),--keep)

test: build ## all tests
	@$(CTEST) --test-dir $(BUILD)

test-upgrade: build ## a rolling upgrade from the release before, which is built from its tag; exit code 77 without that
	@$(PYTHON) tests/upgrade/upgrade.py --gnomond $(BUILD)/node/gnomond --gnomonctl $(BUILD)/ops/gnomonctl --work build/upgrade

bench: ## benchmarks beside their peers: JSON lines, also under build/bench/
	@tools/setup.sh tools/packages.txt tools/packages-bench.txt
	@$(MAKE) --no-print-directory build
	@$(PYTHON) bench/run.py --build $(BUILD) --out build/bench

bench-cluster: ## three nodes beside a three-node etcd: JSON lines, also under build/bench/
	@tools/setup.sh tools/packages.txt tools/packages-bench.txt
	@$(MAKE) --no-print-directory build
	@$(PYTHON) bench/cluster.py --build $(BUILD) --out build/bench

bench-vector: ## the vector index beside FAISS, hnswlib and usearch, with plots: PART=fashion,packages,..., ROWS=n; all takes an hour and a half
	@tools/setup.sh tools/packages.txt tools/packages-bench.txt
	@$(MAKE) --no-print-directory build
	@bench/peers.sh build/bench-venv
	@build/bench-venv/bin/python bench/bench_vector.py --build $(BUILD) --out build/bench $(if $(PART),--part $(PART)) $(if $(ROWS),--rows $(ROWS))

# Two of the tests of an operator's tool wait for most of a minute each, and do nothing that the others do not.
asan: ## nearly all tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(MAKE) --no-print-directory sanitized KIND=address DIR=build/asan SKIP='^ops/(outcast|partial)'

# What runs in one thread has no races to find, and takes twenty times as long. What an operator's tool says and does is
# looked at in the other builds; races of several nodes are looked for in cluster/, those of filters in index/ and shard/.
ONE_THREAD := ^(sim/|index/(codes|vindex$$$$|vindex_codes|vindex_recall|vindex_search|segment|distance|neon)|shard/(groups|savepoint)|cluster/(parts|vector_filters)|coord/sql|raft/without|query/|jepsen/|ops/(gnomonctl|outcast|partial|recover))
tsan: ## tests of code with threads under ThreadSanitizer
	@$(MAKE) --no-print-directory sanitized KIND=thread DIR=build/tsan SKIP='$(ONE_THREAD)'

.PHONY: sanitized
sanitized: setup
	@$(CMAKE) -S . -B $(DIR) -DCMAKE_BUILD_TYPE=RelWithDebInfo -DGN_SANITIZE=$(KIND) >/dev/null
	@ninja -C $(DIR) -j $(JOBS) --quiet
	@$(CTEST) --test-dir $(DIR) $(if $(SKIP),-E '$(SKIP)')

fuzz-smoke: ## each fuzz target for a few seconds on its corpus
	@tools/setup.sh tools/packages.txt tools/packages-lint.txt
	@CC=clang-14 CXX=clang++-14 $(CMAKE) -S . -B build/fuzz -DGN_FUZZ=ON -DGN_SANITIZE=address >/dev/null
	@ninja -C build/fuzz -j $(JOBS) --quiet fuzz-targets
	@tools/fuzz_smoke.sh build/fuzz

lint: ## clang-format, clang-tidy, shellcheck, the layers of the house
	@tools/setup.sh tools/packages.txt tools/packages-lint.txt
	@$(MAKE) --no-print-directory build
	@tools/lint.sh $(BUILD)
	@$(MAKE) --no-print-directory ansible-lint

ansible-lint: ## ansible-lint over ansible/
	@tools/setup.sh tools/packages-ansible.txt
	@cd ansible && for f in site upgrade remove; do ansible-playbook --syntax-check -i inventory/example.yml $$f.yml >/dev/null || exit 1; done
	@cd ansible && ansible-lint --offline -q && echo "lint: ansible: ok"

ansible-test: build ## the playbooks for real: four hosts in network namespaces; needs root, else exit code 77
	@tools/setup.sh tools/packages.txt tools/packages-ansible.txt
	@ansible/test/run.sh $(BUILD)/node/gnomond $(BUILD)/ops/gnomonctl

soak: build ## the simulations of Raft and of the whole cluster over SEEDS=n seeds
	@$(BUILD)/tests/sim/gn_sim_raft --seeds $(SEEDS)
	@$(BUILD)/tests/sim/cluster/gn_sim_cluster --seeds $(SEEDS)

jepsen-smoke: build ## six combinations of workload and fault on real processes, 20 s each; four of them on three nodes
	@tools/setup.sh tools/packages.txt tools/packages-jepsen.txt
	@jepsen/matrix --smoke --gnomond $(BUILD)/node/gnomond || { status=$$?; [ $$status -eq 77 ] && echo "jepsen-smoke: skipped: this machine can run none of it"; }

jepsen: build ## all combinations, for hours; TIME=s of each, the table goes to build/jepsen/table.md
	@tools/setup.sh tools/packages.txt tools/packages-jepsen.txt
	@mkdir -p build/jepsen
	@jepsen/matrix --time $(or $(TIME),30) --gnomond $(BUILD)/node/gnomond --table build/jepsen/table.md

install: build ## gnomond, gnomonctl, unit, man pages, completion and documents under PREFIX
	@cmake --install $(BUILD) --prefix $(PREFIX)

clean: ## remove build/
	@rm -rf build
