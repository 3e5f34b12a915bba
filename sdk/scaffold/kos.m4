# kos.m4 - plugins of kos with autotools
# SPDX-License-Identifier: Apache-2.0
#
# KOS_PLUGIN_SDK([MINIMUM-VERSION])
#
# Finds an installed kos by pkg-config; ends configure when it is not there. Use it after LT_INIT. Sets and substitutes
#   KOS_SDK_CFLAGS      where the headers are, for CPPFLAGS
#   KOS_PLUGIN_CFLAGS   how a plugin is compiled, in C and in C++
#   KOS_PLUGIN_LDFLAGS  how a plugin is linked: foo_la_LDFLAGS = -module $(KOS_PLUGIN_LDFLAGS)
#   KOS_PLUGINDIR       where kosd looks for plugins; --with-plugindir=DIR sets another place
#   KOS_SDKDIR          poll_host.h, poll_host.c and kos_test.h for unit tests
#   KOS_CONFORM         kos-conform(1)
#
# serial 1
AC_DEFUN([KOS_PLUGIN_SDK], [
  AC_REQUIRE([PKG_PROG_PKG_CONFIG])
  PKG_CHECK_MODULES([KOS_SDK], [kos-sdk m4_ifval([$1], [>= $1])])
  PKG_CHECK_VAR([KOS_SDKDIR], [kos-sdk], [sdkdir])
  PKG_CHECK_VAR([KOS_CONFORM], [kos-sdk], [kos_conform])
  PKG_CHECK_VAR([KOS_PLUGINDIR], [kos-sdk], [plugindir])
  KOS_PLUGINDIR=${KOS_PLUGINDIR#"$PKG_CONFIG_SYSROOT_DIR"}
  AC_ARG_WITH([plugindir], [AS_HELP_STRING([--with-plugindir=DIR], [where the plugin is installed [where kosd looks]])],
    [KOS_PLUGINDIR=$withval])
  AC_SUBST([KOS_PLUGIN_CFLAGS], ["-fvisibility=hidden -Wall -Wextra -Wno-missing-field-initializers"])
  AC_SUBST([KOS_PLUGIN_LDFLAGS], ["-avoid-version -shared -no-undefined -Wl,-z,defs -Wl,-z,now"])
])
