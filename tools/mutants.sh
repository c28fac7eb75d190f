#!/usr/bin/env bash
# Breaks the core on purpose, one way after the other, and says how soon the fuzzer notices.
#
# tools/mutants.sh            all patches in tools/mutants
# tools/mutants.sh NAME...    these
#
# The patches go into a copy of the sources. Exit code 0: each was caught within MUTANT_SEEDS seeds (1000).
set -euo pipefail
cd "$(dirname "$0")/.."

SEEDS="${MUTANT_SEEDS:-1000}"
# A broken core may hang: far longer than any run that ends. A guess.
SECONDS_MAX="${MUTANT_SECONDS:-900}"
home="$PWD"
copy="$(mktemp -d)"
trap 'rm -rf "$copy"' EXIT

git ls-files -z | grep -zv '^tools/' | tar --null --files-from=- -cf - | tar -xf - -C "$copy"
# Dependencies are the same for all, and for the next time. What an earlier run left behind of the core may be broken: cargo
# goes by the times of the sources.
find "$copy" -name '*.rs' -exec touch {} +
export CARGO_TARGET_DIR="$home/target/mutants"

names=("$@")
if [ "${#names[@]}" -eq 0 ]; then
    for patch in tools/mutants/*.patch; do
        names+=("$(basename "$patch" .patch)")
    done
fi

build() {
    (cd "$copy" && cargo test --release --locked -p firmware-sim --test fuzz --no-run --message-format=json 2>build.log) |
        python3 -c '
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable") and message["target"]["name"] == "fuzz":
        print(message["executable"])'
}

missed=0
printf '%-20s %-10s %-12s %s\n' mutant "after" rule "what it does"
for name in "${names[@]}"; do
    patch="$home/tools/mutants/$name.patch"
    patch -d "$copy" -p1 --quiet <"$patch"
    program="$(build)" || { cat "$copy/build.log" >&2; exit 1; }
    said="$(cd "$copy" && FUZZ_SEEDS="1..$SEEDS" timeout "$SECONDS_MAX" "$program" --ignored --nocapture 2>&1)" && ended=0 || ended=$?
    caught="$(sed -n 's/^CAUGHT seed [0-9]* rule \(.*\) after \([0-9]*\)$/\2 \1/p' <<<"$said" | head -n 1)"
    if [ -z "$caught" ] && [ "$ended" -eq 124 ]; then
        caught="- hangs"
    elif [ -z "$caught" ]; then
        caught="MISSED -"
        missed=$((missed + 1))
    fi
    printf '%-20s %-10s %-12s %s\n' "$name" ${caught} "$(head -n 1 "$patch")"
    patch -d "$copy" -p1 --quiet -R <"$patch"
done
exit "$((missed > 0))"
