#!/usr/bin/env bash
# Builds mesh-gateway for a Raspberry Pi (64 bit) and packs it for installing there.
#
# tools/pi/build.sh                        release, into target/pi/mesh-gateway-<version>-aarch64.tar.gz
# tools/pi/build.sh --linker gcc|zig       otherwise: gcc where it is installed or apt can install it, else zig
# tools/pi/build.sh --glibc 2.28           runs from this glibc on; needs zig and chooses it
# tools/pi/build.sh --profile dev          another profile of cargo; the tarball's name ends with it
#
# CARGO_BUILD_JOBS limits the processors used, as it does for cargo. Everything made is below target/; with apt, Debian's
# cross linker is installed.
set -euo pipefail
cd "$(dirname "$0")/../.."

TARGET=aarch64-unknown-linux-gnu
# What the gateway has on a Pi: every radio, and no simulator.
FEATURES=serial,usb,bluez
# The oldest Raspberry Pi OS that zig builds for unless told otherwise: 10 (buster), which has this glibc.
ZIG_GLIBC=2.28
ZIG_PACKAGES=("cargo-zigbuild==0.24.*" "ziglang==0.15.*")

fail() {
    echo "tools/pi/build.sh: $*" >&2
    exit 1
}

linker="" glibc="" profile=release
while [ $# -gt 0 ]; do
    case "$1" in
    --linker | --glibc | --profile) [ $# -ge 2 ] || fail "reading the arguments: $1 needs a value" ;;
    *) fail "reading the arguments: '$1' is not known; see the head of this file" ;;
    esac
    case "$1" in
    --linker) linker="$2" ;;
    --glibc) glibc="$2" ;;
    --profile) profile="$2" ;;
    esac
    shift 2
done
case "$linker" in "" | gcc | zig) ;; *) fail "choosing the linker: '$linker' is neither gcc nor zig" ;; esac
if [ -n "$glibc" ]; then
    [[ "$glibc" =~ ^2\.[0-9]+$ ]] || fail "choosing the glibc: '$glibc' is no version such as 2.28"
    [ "$linker" != gcc ] || fail "choosing the glibc: gcc links against the one it came with; use --linker zig"
    linker=zig
fi
for tool in cargo rustup tar gzip; do
    command -v "$tool" >/dev/null || fail "building: there is no $tool; install it (cargo and rustup: https://rustup.rs)"
done

# ---- the linker ----

# Debian's cross linker, installed where it is missing and may be installed.
gcc_there() {
    command -v aarch64-linux-gnu-gcc >/dev/null && return
    command -v apt-get >/dev/null || return 1
    local root=()
    if [ "$(id -u)" -ne 0 ]; then
        sudo -n true 2>/dev/null || return 1
        root=(sudo -n)
    fi
    echo "installing gcc-aarch64-linux-gnu and libc6-dev-arm64-cross"
    "${root[@]}" apt-get -qq update </dev/null &&
        "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
            gcc-aarch64-linux-gnu libc6-dev-arm64-cross </dev/null >/dev/null &&
        command -v aarch64-linux-gnu-gcc >/dev/null
}

# zig and cargo-zigbuild from PyPI, in a place of their own below target/.
zig_there() {
    local home="$PWD/target/ci-tools/zigbuild"
    # The package looks for zig beside itself.
    export PATH="$home/bin:$PATH" PYTHONPATH="$home/packages${PYTHONPATH:+:$PYTHONPATH}"
    [ ! -x "$home/bin/cargo-zigbuild" ] || return 0
    command -v python3 >/dev/null || return 1
    rm -rf "$home"
    mkdir -p "$home/bin"
    echo "installing ${ZIG_PACKAGES[*]}"
    python3 -m pip install --quiet --disable-pip-version-check --target "$home/packages" "${ZIG_PACKAGES[@]}" </dev/null &&
        ln -s ../packages/bin/cargo-zigbuild "$home/bin/cargo-zigbuild" && [ -x "$home/bin/cargo-zigbuild" ]
}

need="install gcc-aarch64-linux-gnu and libc6-dev-arm64-cross (Debian, Ubuntu), or Python 3 with pip for ziglang and cargo-zigbuild"
case "$linker" in
gcc) gcc_there || fail "finding aarch64-linux-gnu-gcc: it is not there and could not be installed; $need" ;;
zig) zig_there || fail "installing zig: Python 3 with pip and the network are needed; $need" ;;
*) if gcc_there; then linker=gcc; elif zig_there; then linker=zig; else fail "finding a linker: $need"; fi ;;
esac

# ---- the build ----

rustup target list --installed | grep -qx "$TARGET" || rustup target add "$TARGET"
cargo_home="${CARGO_HOME:-$HOME/.cargo}"
# No paths of the machine that builds in the messages of the one that runs, and no symbols.
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="--remap-path-prefix=$cargo_home=cargo --remap-path-prefix=$PWD=mesh-gateway"
case "$profile" in
release) export CARGO_PROFILE_RELEASE_STRIP=symbols ;;
dev) export CARGO_PROFILE_DEV_STRIP=symbols ;;
esac
arguments=(--locked --profile "$profile" -p mesh-gateway --bin mesh-gateway --no-default-features --features "$FEATURES")
if [ "$linker" = gcc ]; then
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc cargo build --target "$TARGET" "${arguments[@]}"
else
    cargo zigbuild --target "$TARGET.${glibc:-$ZIG_GLIBC}" "${arguments[@]}"
fi
folder="$profile"
[ "$profile" != dev ] || folder=debug
binary="${CARGO_TARGET_DIR:-target}/$TARGET/$folder/mesh-gateway"
[ -f "$binary" ] || fail "building: cargo left no $binary"

# ---- the tarball ----

version="$(cargo metadata --locked --no-deps --format-version 1 |
    sed -n 's/.*"name":"mesh-gateway","version":"\([^"]*\)".*/\1/p')"
[ -n "$version" ] || fail "packing: the version of mesh-gateway is not in cargo's metadata"
# The newest version of a symbol that the program asks of glibc is the oldest glibc it runs on.
needs="$(LC_ALL=C grep -aoE 'GLIBC_2\.[0-9]+' "$binary" | sort -Vu | tail -n 1)"
needs="${needs#GLIBC_}"
[ -n "$needs" ] || fail "packing: $binary asks for no glibc; is it linked statically?"

name="mesh-gateway-$version-aarch64"
[ "$profile" = release ] || name="$name-$profile"
stage="target/pi/$name"
rm -rf "$stage"
mkdir -p "$stage"
cp -R tools/pi/package/. "$stage/"
sed -i "s/@VERSION@/$version/g; s/@GLIBC@/$needs/g" "$stage/README" "$stage/install.sh"
install -m 0755 "$binary" "$stage/mesh-gateway"
cp LICENSE-APACHE LICENSE-MIT "$stage/"
chmod 0755 "$stage/install.sh"
# The same sources and tools give the same tarball.
tar --sort=name --owner=0 --group=0 --numeric-owner --mode='u+w,go-w' \
    --mtime="@${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}" \
    -C target/pi -cf - "$name" | gzip -n >"target/pi/$name.tar.gz"
echo "target/pi/$name.tar.gz: $(stat -c %s "target/pi/$name.tar.gz") bytes, the program $(stat -c %s "$binary");" \
    "runs with glibc $needs and later"
