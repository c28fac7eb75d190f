#!/usr/bin/env bash
# Runs a command in a virtual machine with two Bluetooth LE controllers that hear each other; see usage below.
#
# Owns the boot and the ends of the machine's ports. What lies in the machine is initramfs.sh's business, what it does is
# init's. Needs the packages that tools/vm/packages names, no rights and no network; writes below target/vm only.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
state="$(cd "$here/../.." && pwd)/target/vm"

usage() {
    cat <<'END'
usage: tools/vm/run.sh [OPTION]... -- COMMAND [ARGUMENT]...

Runs COMMAND as root in a virtual machine. Its output is this program's output, its exit code is this program's exit code;
125 when the machine did not get that far, 124 when time was up.

  --arm ARM        what the command finds (default user-channel):
                     user-channel  controllers hci0 and hci1, down, used by nobody
                     dbus          the same, powered by bluetoothd on the system bus
                     meshd         one bluetooth-meshd on the system bus; it takes hci1 and leaves hci0
                     none          no controllers
  --add BINARY     puts a program of this machine, and the libraries it needs, into /usr/local/bin there; may be repeated
  --out FOLDER     where to put what the command leaves in /out
  --trace          records what goes over HCI into /out/hci.btsnoop
  --keep-log FILE  where to put the machine's console
  --timeout S      seconds until the machine is given up (default 300)
END
}

fail() {
    echo "run.sh: $*" >&2
    exit 125
}

arm=user-channel out='' trace='' log='' limit=300 binaries=()
while [ $# -gt 0 ]; do
    case "$1" in
    --arm | --add | --out | --keep-log | --timeout)
        [ $# -ge 2 ] || fail "reading the arguments: $1 needs a value; see --help"
        case "$1" in
        --arm) arm="$2" ;;
        --add) binaries+=("$2") ;;
        --out) out="$2" ;;
        --keep-log) log="$2" ;;
        --timeout) limit="$2" ;;
        esac
        shift 2
        ;;
    --trace)
        trace=yes
        shift
        ;;
    --help | -h)
        usage
        exit
        ;;
    --)
        shift
        break
        ;;
    *) fail "reading the arguments: $1 is not known; see --help" ;;
    esac
done
[ $# -gt 0 ] || fail "reading the arguments: no command to run; see --help"
case "$arm" in
user-channel | dbus | meshd | none) ;;
*) fail "reading the arguments: --arm $arm is none of user-channel, dbus, meshd, none" ;;
esac
[[ $limit =~ ^[1-9][0-9]*$ ]] || fail "reading the arguments: --timeout $limit is no number of seconds"
[ -z "$trace" ] || [ -n "$out" ] || fail "reading the arguments: --trace needs --out FOLDER to put the record in"

command -v qemu-system-x86_64 >/dev/null ||
    fail "starting the machine: there is no qemu-system-x86_64; install what tools/vm/packages names (./ci.sh vm does)"
# The newest kernel that has its modules.
kernel=''
while read -r image; do
    [ ! -d "/lib/modules/${image#/boot/vmlinuz-}" ] || kernel="$image"
done < <(find /boot -maxdepth 1 -name 'vmlinuz-*-amd64' | sort -V)
[ -n "$kernel" ] ||
    fail "starting the machine: no /boot/vmlinuz-*-amd64 with modules; install what tools/vm/packages names"
[ -r "$kernel" ] || fail "starting the machine: $kernel may not be read; run as a user who may"

mkdir -p "$state"
run="$(mktemp -d "$state/run.XXXXXX")"
machine=''
clean() {
    [ -z "$machine" ] || kill "$machine" 2>/dev/null || true
    rm -rf "$run"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# ---- its file system ----

"$here/initramfs.sh" "${kernel#/boot/vmlinuz-}" "$run/root" "$run/base.cpio" ${binaries[@]+"${binaries[@]}"} || exit 125
# What differs from run to run is an archive of its own behind the other.
mkdir -p "$run/more/machine"
printf 'arm=%s\ntrace=%s\n' "$arm" "$trace" >"$run/more/machine/settings"
{
    printf 'exec'
    for word; do
        printf " '%s'" "${word//\'/\'\\\'\'}"
    done
    printf '\n'
} >"$run/more/machine/command"
(cd "$run/more" && find . -print0 | cpio --quiet --null -o -H newc -R 0:0) >"$run/more.cpio"
cat "$run/base.cpio" "$run/more.cpio" >"$run/image.cpio"
rm -rf "$run/root" "$run/base.cpio"

# ---- the boot ----

console="$run/console.log"
mkfifo "$run/stdout" "$run/stderr"
# Both ends are held until the machine is gone: a reader then comes to its end, also when the machine never wrote.
exec 5<>"$run/stdout" 6<>"$run/stderr" 7<"$run/stdout" 8<"$run/stderr"
cat <&7 5>&- 6>&- 7>&- 8>&- &
readers=($!)
cat <&8 >&2 5>&- 6>&- 7>&- 8>&- &
readers+=($!)
exec 7<&- 8<&-
ports=(-device virtio-serial-pci)
for port in stdout stderr status files; do
    ports+=(-chardev "file,id=$port,path=$run/$port" -device "virtserialport,chardev=$port,name=$port")
done
# Always emulated: where KVM is there and works a run is no different, where it is there and does not it would fail.
timeout --kill-after=5 "$limit" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 768 \
    -nodefaults -display none -no-reboot -serial "file:$console" "${ports[@]}" \
    -kernel "$kernel" -initrd "$run/image.cpio" -append "console=ttyS0 panic=-1 quiet edd=off" \
    </dev/null >"$run/qemu.log" 2>&1 5>&- 6>&- &
machine=$!
code=0
wait "$machine" || code=$?
machine=''
exec 5>&- 6>&-
wait "${readers[@]}" || true

# ---- what became of it ----

[ -z "$log" ] || tr -d '\r' <"$console" >"$log" || fail "keeping the console: $log cannot be written"
if [ -n "$out" ] && [ -s "$run/files" ]; then
    mkdir -p "$out"
    tar -xf "$run/files" -C "$out" --no-same-owner
fi
status="$(cat "$run/status" 2>/dev/null || true)"
# seen: the end of the console, for people.
seen() {
    [ -s "$console" ] || return 0
    echo "    the console ended with:" >&2
    tr -d '\r' <"$console" | tail -n 25 | sed 's/^/    | /' >&2
}
case "$status" in
"exit "*)
    exit "${status#exit }"
    ;;
"no start: "*)
    seen
    fail "setting up the machine: ${status#no start: }"
    ;;
esac
if [ "$code" -eq 124 ] || [ "$code" -eq 137 ]; then
    seen
    echo "run.sh: running the command: not done within $limit s; give it more with --timeout" >&2
    exit 124
fi
sed 's/^/    qemu: /' "$run/qemu.log" >&2
seen
if grep -q 'Kernel panic' "$console" 2>/dev/null; then
    fail "running the machine: $(grep -o 'Kernel panic.*' "$console" | head -n 1 | tr -d '\r')"
fi
fail "running the machine: it ended without the command's exit code"
