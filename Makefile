# SPDX-License-Identifier: GPL-2.0-or-later
#
# A thin door in front of meson, ninja and tests/run-suite.

.DEFAULT_GOAL := all
.PHONY: all deps up check check-long lint format bench fuzz cover clean install

BUILD := build
ALWAYS:
.PHONY: ALWAYS

all: $(BUILD)/build.ninja ALWAYS
	@ninja -C $(BUILD)

$(BUILD)/build.ninja:
	@meson setup $(BUILD)

# Says nothing when nothing is missing.
deps:
	@missing=$$(for p in $$(sed 's/#.*//' apt-packages.txt); do \
		dpkg-query -W -f '$${db:Status-Status}' "$$p" 2>/dev/null | grep -qx installed || \
			echo "$$p"; \
	done); \
	if [ -n "$$missing" ]; then \
		as=; \
		if [ "$$(id -u)" != 0 ]; then \
			command -v sudo >/dev/null || { \
				echo "missing packages, and no sudo to install them:" $$missing >&2; \
				exit 1; }; \
			as=sudo; \
		fi; \
		echo "installing" $$missing; \
		$$as apt-get update -qq || true; \
		$$as env DEBIAN_FRONTEND=noninteractive \
			apt-get install -y -qq --no-install-recommends $$missing; \
	fi

# From nothing to a Debian machine that one can log in to by SSH.
up: deps
	@$(MAKE) --no-print-directory $(BUILD)/build.ninja
	@ninja -C $(BUILD) atoll atoll-vm atoll-usernet atoll-nbd
	@ATOLL=$(CURDIR)/$(BUILD)/atoll scripts/up.sh

check: deps
	@tests/run-suite check

check-long: deps
	@tests/run-suite check-long

lint: deps
	@tests/run-suite lint

format:
	@clang-format -i $$(git ls-files 'src/*.[ch]' 'tests/*.[ch]')

# The benchmark's sources are not part of this project; it is built in the cache. BENCH_ARGS are
# options of guestbench.py, see docs/guide/testing.md.
GUESTBENCH := ../shared/guestbench
bench: deps all
	@GUESTBENCH='$(abspath $(GUESTBENCH))' tests/bench/guestbench.py $(BENCH_ARGS)
	@tests/bench/diskbench.py
	@GUESTBENCH='$(abspath $(GUESTBENCH))' tests/bench/iobench.py
	@tests/bench/loginbench.py
	@tests/bench/snapshotbench.py
	@tests/bench/densitybench.py
	@ATOLL_RT=$(BUILD)/atoll-rt tests/bench/ctbench.py

# make fuzz T=NAME [SECONDS=600]: new inputs are merged into tests/fuzz/corpus/NAME.
SECONDS := 600
fuzz: deps
	@[ -n "$(T)" ] || { echo "usage: make fuzz T=NAME; one of:" \
		$$(ls tests/fuzz/fuzz_*.c | sed 's,.*/fuzz_\(.*\)\.c,\1,') >&2; exit 1; }
	@[ -e build-asan/build.ninja ] || CC=clang meson setup build-asan \
		-Db_sanitize=address,undefined -Db_lundef=false -Dfuzz=true
	@ninja -C build-asan tests/fuzz/fuzz_$(T)
	@tests/fuzz/run.py --keep --seconds $(SECONDS) build-asan/tests/fuzz/fuzz_$(T) \
		tests/fuzz/corpus/$(T)

cover: deps
	@tests/cover

install: all
	@ninja -C $(BUILD) install

clean:
	@rm -rf build build-asan build-clang build-cover build-fuzzcover build-tsan
