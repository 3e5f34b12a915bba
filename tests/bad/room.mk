# SPDX-License-Identifier: Apache-2.0
# Plugins that misbehave, for tests/integration/bad.py: one source, a module for each way. Those that are bad in init say
# the same of themselves as GOOD does, so that it can be replaced by them.
BAD_WAYS = GOOD LOAD INIT_CRASH INIT_HANG INIT_FAIL CRASH ABORT EXIT OVERFLOW WILD UNMAP THREAD_CRASH STOP_NEVER \
  HANG LEAK LOG_FLOOD OP_FLOOD TX_FLOOD EVENT_FLOOD STEADY_FLOOD FILES THREADS \
  FORK EXEC SOCKET UNIX WRITE_FILE READ_KEYS PTRACE KILL RIGHT \
  TWICE NEVER WRONG_ID VERDICT THREAD_CALL FREE_FOREIGN GARBAGE LENGTH COUNT KIND CLOSED
BAD_MODULES = $(BAD_WAYS:%=tests/bad/%.so)
CLEANFILES += $(BAD_MODULES)
EXTRA_DIST += tests/bad/bad.c
check_DATA += $(BAD_MODULES)
$(BAD_MODULES): tests/bad/bad.c $(kosheaders_HEADERS)
	@$(MKDIR_P) tests/bad
	$(AM_V_CCLD)way=`basename $@ .so`; case $$way in INIT_*) as=GOOD;; *) as=$$way;; esac; $(CC) -D_GNU_SOURCE= -I$(srcdir)/sdk $(AM_CFLAGS) $(CFLAGS) -O0 -U_FORTIFY_SOURCE \
	  -Wno-error -w $(AM_LDFLAGS) $(LDFLAGS) -shared -fPIC -DBAD=BAD_$$way -DNAME=\"$$as\" \
	  -DINTERFACE=\"`echo $$as | tr 'A-Z_' 'a-z-'`\" -DBAD_AT_LOAD=`test $$way = LOAD && echo 1 || echo 0` \
	  -o $@ $(srcdir)/tests/bad/bad.c -lpthread
