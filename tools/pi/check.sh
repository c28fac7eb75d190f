#!/usr/bin/env bash
# Runs the program that tools/pi/build.sh has packed, on a processor that is emulated: what works here without a Pi.
#
# tools/pi/check.sh TARBALL
#
# Needs qemu-user, and the arm64 glibc of Debian's libc6-arm64-cross (or QEMU_LD_PREFIX). Each step prints how long it took.
# The adapter hci0 is only asked for: what the kernel says to that differs from machine to machine.
set -euo pipefail

fail() {
    echo "tools/pi/check.sh: $*" >&2
    exit 1
}

[ $# -eq 1 ] || fail "reading the arguments: name one tarball; tools/pi/build.sh makes it"
[ -f "$1" ] || fail "reading $1: there is no such file; tools/pi/build.sh makes it"
tarball="$(realpath "$1")"
command -v qemu-aarch64 >/dev/null || fail "finding qemu-aarch64: it is not there; install qemu-user"
export QEMU_LD_PREFIX="${QEMU_LD_PREFIX:-/usr/aarch64-linux-gnu}"
[ -e "$QEMU_LD_PREFIX/lib/ld-linux-aarch64.so.1" ] ||
    fail "finding the arm64 glibc in $QEMU_LD_PREFIX: it is not there; install libc6-arm64-cross, or set QEMU_LD_PREFIX"

scratch="$(mktemp -d)"
gateway=""
ended() {
    if [ -n "$gateway" ]; then kill "$gateway" 2>/dev/null || true; fi
    rm -rf "$scratch"
}
trap ended EXIT
tar -xzf "$tarball" -C "$scratch"
folder="$(echo "$scratch"/mesh-gateway-*)"
# Nothing of this machine's own gateway.
unset MESH_GATEWAY "${!MESH_GATEWAY_@}" STATE_DIRECTORY
export MESH_GATEWAY_DATA_DIR="$scratch/data"
program() {
    qemu-aarch64 "$folder/mesh-gateway" "$@"
}

since="$(date +%s%N)"
passed() {
    local now
    now="$(date +%s%N)"
    printf '%6d ms  %s\n' "$(((now - since) / 1000000))" "$*"
    since="$now"
}
# has TEXT FILE WHAT: the text stands in the file.
has() {
    grep -qF -- "$1" "$2" || {
        cat "$2" >&2
        fail "$3: \`$1\` is not in what it said, which is above"
    }
}

for file in install.sh README mesh-gateway.service mesh-gateway.sysusers LICENSE-APACHE LICENSE-MIT; do
    [ -f "$folder/$file" ] || fail "unpacking: $file is missing in the tarball"
done
bash -n "$folder/install.sh"
! grep -q '@[A-Z]*@' "$folder/README" "$folder/install.sh" || fail "unpacking: not every @…@ was filled in"
passed "the tarball is whole"

if command -v systemd-analyze >/dev/null; then
    # Under its own name, with a program that is there.
    mkdir "$scratch/unit"
    sed 's|^ExecStart=.*|ExecStart=/bin/true|; /^User=\|^Group=/d' "$folder/mesh-gateway.service" >"$scratch/unit/mesh-gateway.service"
    mkdir "$scratch/unit/mesh-gateway.service.d"
    for dropin in "$folder"/dropins/*.conf; do
        # Older ones complain of what they do not know.
        [ "${dropin##*/}" != restart-backoff.conf ] || continue
        cp "$dropin" "$scratch/unit/mesh-gateway.service.d/"
        systemd-analyze verify --man=no "$scratch/unit/mesh-gateway.service" >"$scratch/out" 2>&1 || true
        ! grep -F "$scratch" "$scratch/out" || fail "checking the unit with ${dropin##*/}: see above"
        rm "$scratch/unit/mesh-gateway.service.d/"*
    done
    passed "the unit and its drop-ins: $(systemd-analyze security --offline=true "$folder/mesh-gateway.service" |
        sed -n 's/.*\(Overall exposure level.*: [0-9.]*\).*/\1/p')"
fi

version="$(basename "$folder" | sed 's/^mesh-gateway-\(.*\)-aarch64.*/\1/')"
program --version >"$scratch/out"
has "mesh-gateway $version" "$scratch/out" "asking for the version"
passed "--version: $(cat "$scratch/out")"

program init --network farm --name barn >"$scratch/out" 2>&1 || { cat "$scratch/out"; fail "making a network: see above"; }
program config check >"$scratch/out"
has "good" "$scratch/out" "checking the settings"
program invite hut 2>/dev/null | MESH_GATEWAY_DATA_DIR="$scratch/hut" program init --invite - >"$scratch/out" 2>&1
has "hut is in the network farm" "$scratch/out" "entering by invitation"
passed "init, config check, invite, init --invite -"

# There is none with this number, so the gateway says so and looks for it; the sentence depends on what the kernel has.
qemu-aarch64 "$folder/mesh-gateway" --adapter hci9 --listen 127.0.0.1:0 >"$scratch/out" 2>&1 &
looking=$!
for _ in $(seq 300); do
    if grep -q "opening hci9: " "$scratch/out" || ! kill -0 "$looking" 2>/dev/null; then break; fi
    sleep 0.1
done
kill "$looking" 2>/dev/null || fail "opening hci9: the gateway ended, though it should look for the adapter: $(cat "$scratch/out")"
wait "$looking" || true
has "opening hci9: " "$scratch/out" "opening an adapter that is not there"
passed "--adapter hci9: $(grep -o 'opening hci9: [^;]*' "$scratch/out" | head -n 1)"

# The simulator is not built in, and whoever asks for it is told so.
for asks in demo "play office.toml" "--adapter sim"; do
    code=0
    # shellcheck disable=SC2086 # it is a command line
    program $asks >"$scratch/out" 2>&1 || code=$?
    [ "$code" -eq 2 ] || fail "asking for the simulator with \`$asks\`: exit code $code, not 2"
    has "this program was built without the simulator" "$scratch/out" "asking for the simulator with \`$asks\`"
done
passed "demo, play, --adapter sim: refused"

qemu-aarch64 "$folder/mesh-gateway" --adapter none --listen 127.0.0.1:0 --json >"$scratch/ready" 2>"$scratch/log" &
gateway=$!
for _ in $(seq 300); do
    [ ! -s "$scratch/ready" ] || break
    kill -0 "$gateway" 2>/dev/null || { cat "$scratch/log" >&2; fail "starting a gateway: it ended; see above"; }
    sleep 0.2
done
[ -s "$scratch/ready" ] || fail "starting a gateway: it was not ready within a minute"
export MESH_GATEWAY="unix:$scratch/data/agents.sock"
timeout 120 qemu-aarch64 "$folder/mesh-gateway" listen --as bob --count 1 >"$scratch/heard" &
listener=$!
program send --to bob --wait 'the pump is on' >"$scratch/out"
wait "$listener" || fail "receiving a message: the listener ended with $?"
has "the pump is on" "$scratch/heard" "receiving a message"
program status --json >"$scratch/out" || { cat "$scratch/out" >&2; fail "asking how the gateway is: not well"; }
kill -TERM "$gateway"
wait "$gateway" || fail "stopping the gateway: exit code $?, not 0"
gateway=""
passed "--adapter none: send, listen, status, SIGTERM"
