#!/usr/bin/env bash
# Messages between two controllers by BlueZ's mesh daemon and by two gateways, in one run of the virtual machine.
#
# tools/vm/beside-meshd.sh [OPTION OF beside-meshd]...        needs what tools/vm/packages names, and the network
#
# The daemon is Debian 13's (5.82), with the C library it is built for. Debian 12's (5.66) cannot be measured: told which controller to
# use it gives it back and takes it without end, left to choose it goes by way of the kernel, and there every frame ends with "Command
# Disallowed", as a new random address is set while the controller scans.
set -euo pipefail
cd "$(dirname "$0")/../.."
suite=trixie
packages=(bluez-meshd libell0 libc6 libjson-c5 libreadline8t64 libtinfo6)

state="$PWD/target/vm/meshd-$suite"
fetched="$state/meshd.tar"
if [ ! -e "$fetched" ]; then
    rm -rf "$state"
    mkdir -p "$state"/{lists/partial,archives/partial,root,meshd}
    # From wherever this machine has its packages, but of the other release, and without touching what it knows.
    uri="$(apt-get indextargets --format '$(REPO_URI)|$(CODENAME)' 'Created-By: Packages' | sed -n 's/|bookworm$//p' | head -n 1)"
    [ -n "$uri" ] || { echo "beside-meshd.sh: fetching bluetooth-meshd: apt knows no Debian 12 to find Debian 13 beside" >&2; exit 1; }
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $suite main" >"$state/sources.list"
    : >"$state/status"
    apt=(apt-get -qq -o "Dir::Etc::SourceList=$state/sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$state/lists"
        -o "Dir::State::status=$state/status" -o "Dir::Cache=$state" -o "Dir::Cache::archives=$state/archives" -o APT::Sandbox::User=)
    "${apt[@]}" update
    (cd "$state/archives" && "${apt[@]}" download "${packages[@]}")
    for package in "$state"/archives/*.deb; do dpkg -x "$package" "$state/root"; done
    lib="$state/root/usr/lib/x86_64-linux-gnu"
    cp -L "$state/root/usr/libexec/bluetooth/bluetooth-meshd" "$lib"/{libell.so.0,libjson-c.so.5,libreadline.so.8,libtinfo.so.6} \
        "$lib"/{libc.so.6,libm.so.6,ld-linux-x86-64.so.2} "$state/meshd/"
    tar -C "$state" -cf "$fetched" meshd
fi

cargo build --release --locked -p hw-tests -p mesh-gateway --features hw-tests/bluez,mesh-gateway/bluez --bin beside-meshd --bin mesh-gateway
tools/vm/run.sh --timeout 1500 --add target/release/mesh-gateway --add target/release/beside-meshd --add "$fetched" -- sh -euc '
    tar -xf /usr/local/bin/meshd.tar -C /usr
    exec beside-meshd "$@" --meshd /usr/meshd/ld-linux-x86-64.so.2 --library-path /usr/meshd /usr/meshd/bluetooth-meshd
' beside-meshd "$@"
