# SPDX-License-Identifier: Apache-2.0
# Back-pressure between real processes: peers that are no kosd, handlers that are slow. tests/integration/pressure.py
check_PROGRAMS += tests/pressure/peers
tests_pressure_peers_SOURCES = tests/pressure/peers.c tests/pressure/peers.h tests/pressure/flood.c tests/pressure/speaker.c tests/pressure/speaker.h
tests_pressure_peers_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/sdk
tests_pressure_peers_LDADD = sdk/klp/libklp.la

PRESSURE_MODULES = tests/pressure/ECHO.so tests/pressure/SLOW.so
CLEANFILES += $(PRESSURE_MODULES)
EXTRA_DIST += tests/pressure/handler.c
check_DATA += $(PRESSURE_MODULES)
$(PRESSURE_MODULES): tests/pressure/handler.c $(kosheaders_HEADERS)
	@$(MKDIR_P) tests/pressure
	$(AM_V_CCLD)$(CC) -D_GNU_SOURCE= -I$(srcdir)/sdk $(AM_CFLAGS) $(CFLAGS) $(AM_LDFLAGS) $(LDFLAGS) -shared -fPIC \
	  -DTYPE=\"`basename $@ .so`\" -DID=\"`basename $@ .so | tr A-Z a-z`\" -o $@ $(srcdir)/tests/pressure/handler.c

# The whole table, with latencies, which takes minutes; make check runs a short one.
pressure: all $(check_PROGRAMS) $(check_DATA)
	KOS_SRCDIR='$(abs_top_srcdir)' KOS_BUILDDIR='$(abs_top_builddir)' KOS_CELL='$(abs_top_builddir)/kos-cell' \
	  PYTHONDONTWRITEBYTECODE=1 python3 $(srcdir)/tests/integration/pressure.py --long
.PHONY: pressure
