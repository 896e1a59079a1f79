# The front door. `make help` lists what it opens.

JOBS ?= 2
PROGRAMS = weir weir-jobmanager weir-taskmanager

.DEFAULT_GOAL := help
.PHONY: help build demo test test-all bench bench-failover bench-silent format sim model clean

help: ## this list
	@echo "make TARGET"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | \
		while IFS='|' read -r name text; do printf '%-12s %s\n' "$$name" "$$text"; done
	@echo "On a fresh Debian 12 (root or sudo) each first installs what it needs with apt."

build: ## the programs, in build/release/bin
	@tools/setup build
	@tools/build release $(PROGRAMS)

demo: ## a word count that survives its leader and a TaskManager (S3=ceph: snapshots go to Ceph)
	@tools/setup build demo $(if $(filter ceph,$(S3)),ceph)
	@tools/build release $(PROGRAMS)
	@tests/drill/demo --bin build/release/bin $(if $(S3),--s3 $(S3))

test: ## everything that fits into ten minutes; the last line is the total
	@tools/setup build test demo ceph
	@tools/run-tests

test-all: ## test, and clang, thread sanitizer and the long drills
	@tools/setup build test demo ceph
	@tools/run-tests --all

sim: ## the simulator over many seeds (SEEDS=500), or one seed's narration (SEED=k)
	@tools/setup build test
	@tools/build fast sim_cluster
	@build/fast/bin/sim_cluster $(if $(SEED),--seed $(SEED) --trace,--seeds $(or $(SEEDS),500))

model: ## let spin search the protocol's model, and show that each rule carries weight
	@tools/setup build test
	@model/run

bench: ## measure this machine (see docs/benchmarks.md; BENCH=--quick)
	@tools/setup build demo
	@tools/build release
	@bench/run --bin build/release/bin $(BENCH)
	@build/release/bin/bench_control --limit 20

bench-failover: ## how long nobody leads when leaders are killed or asked to stop (KILLS=200)
	@tools/setup build test demo
	@tools/build release
	@tools/build dev probe verify_counts
	@tests/drill/failover --bin build/release/bin --probe build/dev/bin/probe \
		--verify build/dev/bin/verify_counts --kills $(or $(KILLS),200) --stops 0 --partitions 0

bench-silent: ## the same for leaders that are frozen (15) and cut off (5, as root)
	@tools/setup build test demo
	@tools/build release
	@tools/build dev probe verify_counts
	@tests/drill/failover --bin build/release/bin --probe build/dev/bin/probe \
		--verify build/dev/bin/verify_counts --kills 0 --terms 0

format: ## rewrite the C sources with clang-format
	@tools/setup build test
	@tools/format

clean: ## remove everything that was built
	rm -rf build
