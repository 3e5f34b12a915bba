# SPDX-License-Identifier: Apache-2.0
libkos_la_SOURCES += runtime/trust/keys.h runtime/trust/policy.h runtime/trust/trust.h
