# @NAME@, a plugin of kos: make, make check, make install (GNU make).
# A kos that is not installed where pkg-config looks: make PKG_CONFIG_PATH=/opt/kos/lib/pkgconfig
export PKG_CONFIG_PATH
PKG_CONFIG ?= pkg-config
PACKAGES = kos-sdk @PACKAGES@
ifneq ($(shell $(PKG_CONFIG) --print-errors --exists $(PACKAGES) && echo yes),yes)
$(error kos is not installed where pkg-config looks: set PKG_CONFIG_PATH)
endif
sdk = $(shell $(PKG_CONFIG) --variable=$(1) kos-sdk)

# What is appended to a struct one day is not missing in code of today.
WARNINGS = -Wall -Wextra -Wno-missing-field-initializers
CFLAGS ?= -O2 -g
CXXFLAGS ?= -O2 -g
CPPFLAGS += -D_GNU_SOURCE $(shell $(PKG_CONFIG) --cflags $(PACKAGES))
LIBS = $(if $(filter-out kos-sdk,$(PACKAGES)),$(shell $(PKG_CONFIG) --libs $(filter-out kos-sdk,$(PACKAGES)))) @LIBRARIES@
SDKDIR = $(call sdk,sdkdir)
KOS_CONFORM ?= $(call sdk,kos_conform)
plugindir ?= $(patsubst $(PKG_CONFIG_SYSROOT_DIR)%,%,$(call sdk,plugindir))

@NAME@.so: @NAME@.@SUFFIX@
	@COMPILE@ $(CPPFLAGS) @OPTIONS@ $(WARNINGS) -fPIC -fvisibility=hidden -shared -Wl,-z,defs,-z,now $(LDFLAGS) -o $@ $< $(LIBS)

@NAME@_test: @NAME@_test.c
	$(CC) -std=c17 $(CPPFLAGS) -I$(SDKDIR) $(CFLAGS) $(WARNINGS) -o $@ $< $(SDKDIR)/poll_host.c -ldl

check: @NAME@.so @NAME@_test
	./@NAME@_test ./@NAME@.so
	$(KOS_CONFORM) --hosting both --settings @NAME@.klp-policy ./@NAME@.so

install: @NAME@.so
	install -d '$(DESTDIR)$(plugindir)'
	install -m 644 @NAME@.so '$(DESTDIR)$(plugindir)/@NAME@.so'

clean:
	rm -f @NAME@.so @NAME@_test

.PHONY: check install clean
