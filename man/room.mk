# SPDX-License-Identifier: Apache-2.0
dist_man_MANS += man/klp.7
dist_man_MANS += man/klp-policy.5
