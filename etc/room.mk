# SPDX-License-Identifier: Apache-2.0
pkgconfig_DATA = etc/kos-sdk.pc etc/klp.pc
