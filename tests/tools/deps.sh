#!/bin/sh
# SPDX-License-Identifier: MIT
# Install what the Makefile's targets need (Debian packages). Quiet when all is there.
set -eu

# package:command-or-file that shows it is installed
wanted='
gcc:gcc
make:make
python3:python3
qemu-system-x86:qemu-system-x86_64
qemu-system-arm:qemu-system-aarch64
libcmocka-dev:/usr/include/cmocka.h
clang-14:clang-14
clang-format-14:clang-format-14
clang-tidy-14:clang-tidy-14
libclang-rt-14-dev:/usr/lib/llvm-14/lib/clang
spin:spin
valgrind:valgrind
gdb-multiarch:gdb-multiarch
gnuplot-nox:gnuplot
libmimalloc-dev:/usr/include/mimalloc.h
libjemalloc-dev:/usr/include/jemalloc/jemalloc.h
libgc-dev:/usr/include/gc/gc.h
'
case $(uname -m) in
aarch64) cross='gcc-x86-64-linux-gnu:x86_64-linux-gnu-gcc' ;;
*)
	cross='gcc-aarch64-linux-gnu:aarch64-linux-gnu-gcc'
	# static programs for the guest that is measured against
	wanted="$wanted libc6-dev-arm64-cross:/usr/aarch64-linux-gnu/include/stdio.h"
	;;
esac

missing=
for row in $wanted "$cross" "g++:g++"; do
	package=${row%%:*}
	proof=${row#*:}
	if [ ! -e "$proof" ] && ! command -v "$proof" >/dev/null 2>&1; then
		missing="$missing $package"
	fi
done
[ -n "$missing" ] || exit 0

echo "installing:$missing"
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
# shellcheck disable=SC2086 # the list is words on purpose
if ! { $sudo apt-get update && $sudo apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
	tail -20 "$log" >&2
	echo "could not install:$missing" >&2
	exit 1
fi
rm -f "$log"
