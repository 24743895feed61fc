# The entry points. `make help` lists them.
BUILDER ?= reference
MACHINE ?= qemu-aarch64
VERSION ?= 1.1.0
OUT     ?= $(CURDIR)/build
export MACHINE OUT

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup image demo test unit e2e badmedia powercut fuzz fleet lint bench deb flash clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup: ## install what is missing from Debian's archive (called by the others)
	@ci/setup

image: setup ## flashable image and signed packages of VERSION into build/images
	BUILDER=$(BUILDER) VERSION=$(VERSION) ci/image

demo: setup ## watch a whole upgrade of an emulated terminal
	ci/demo

test: setup ## every test: unit, image, boot script, end to end
	ci/test

unit: setup ## only the tests that need no emulator
	ci/unit

e2e: setup ## only the end-to-end tests (ONLY=name for one of them)
	ci/e2e/run $(if $(ONLY),--only $(ONLY))

badmedia: setup ## end-to-end tests with media that fail, by QEMU's blkdebug (ONLY=name for one of them)
	ci/e2e/run --media $(if $(ONLY),--only $(ONLY))

powercut: setup ## cut the power at every write of an upgrade (POWERCUT=options, STATE=N: one state again)
	ci/powercut/run $(if $(STATE),state $(POWERCUT) $(STATE),run --report docs/reliability.md $(POWERCUT))

fuzz: setup ## fuzz every parser of what others wrote (SECONDS=60 for each, TARGETS=names)
	ci/fuzz/run $(or $(SECONDS),60) $(TARGETS)

fleet: setup ## N simulated terminals, kill -9 in the middle; no job, result or state may be lost (N=1000, FLEET=options)
	ci/fleet/run $(or $(N),1000) $(FLEET)

lint: setup ## formatting, scripts, locks, clippy, docs; licences where cargo-deny is
	ci/lint

bench: setup ## speed and memory, against peers in the same run
	ci/bench/run

deb: ## Debian packages of dau-station and dau-packager into build/deb
	@ci/setup deb
	ci/deb
	lintian --allow-root --fail-on error,warning "$(OUT)"/deb/*.deb

flash: ## write the image of VERSION by BUILDER to DEVICE, and IDENTITY (a folder) to its mnt
	image=$$(factory/image "$(BUILDER)" "$(MACHINE)" "$(VERSION)") && factory/flash "$$image" "$(DEVICE)" $(IDENTITY)

clean: ## remove what was built, but for downloads and the development keys
	rm -rf target "$(OUT)/reference" "$(OUT)/images" "$(OUT)/e2e" "$(OUT)/deb" "$(OUT)/demo" "$(OUT)/fuzz" "$(OUT)/fresh/root"
