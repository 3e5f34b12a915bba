# SPDX-License-Identifier: Apache-2.0
# Watches the ABI: what was accepted of sdk/kos, and hosts and plugins of different minor versions.
ABI_TESTS = sdk/abi/abi_test.py sdk/abi/next_test.py
TESTS += $(ABI_TESTS)
EXTRA_DIST += $(ABI_TESTS) sdk/abi/abi.py sdk/abi/layout.c sdk/abi/anchor.c sdk/abi/kos-sdk-1.abi sdk/abi/README.md

# What the headers say now is what is accepted: commit sdk/abi with the header, and a line among the changes of kos/abi.h.
abi-update:
	@CC='$(CC)' KOS_SRCDIR='$(abs_top_srcdir)' python3 $(srcdir)/sdk/abi/abi.py update
abi-check:
	@CC='$(CC)' KOS_SRCDIR='$(abs_top_srcdir)' python3 $(srcdir)/sdk/abi/abi.py check
.PHONY: abi-update abi-check
