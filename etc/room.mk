# SPDX-License-Identifier: Apache-2.0
pkgconfig_DATA = etc/kos-sdk.pc etc/klp.pc
# The manifest that `kosctl init` puts into a new instance.
policydir = $(pkgdatadir)/policy.d
dist_policy_DATA = etc/policy.d/default.klp-policy
