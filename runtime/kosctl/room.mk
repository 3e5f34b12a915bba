# SPDX-License-Identifier: Apache-2.0
bin_PROGRAMS += kosctl
kosctl_SOURCES = runtime/kosctl/kosctl.h runtime/kosctl/main.c runtime/kosctl/print.c runtime/kosctl/init.c runtime/kosctl/node.c \
  runtime/kosctl/trust.c runtime/kosctl/agent.c runtime/kosctl/task.c runtime/kosctl/message.c runtime/kosctl/store.c
nodist_kosctl_SOURCES = runtime/kosctl/default_policy.h
kosctl_CPPFLAGS = $(libkos_la_CPPFLAGS) -I$(builddir)/runtime
kosctl_LDADD = libkos.la

# The manifest that init writes is the shipped one, so that kosctl needs no file at run time.
BUILT_SOURCES = runtime/kosctl/default_policy.h
CLEANFILES += runtime/kosctl/default_policy.h
runtime/kosctl/default_policy.h: etc/policy.d/default.klp-policy
	$(AM_V_GEN)$(MKDIR_P) runtime/kosctl && { echo 'static const char kosctl_default_policy[] ='; \
	  sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/    "/' -e 's/$$/\\n"/' $(srcdir)/etc/policy.d/default.klp-policy; echo '    ;'; } > $@.tmp && mv $@.tmp $@
