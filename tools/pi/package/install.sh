#!/usr/bin/env bash
# Installs mesh-gateway @VERSION@ as a service on this machine, or brings an installed one up to date. Run it as root from the
# unpacked folder; it needs no network, and running it again does no harm.
#
# sudo ./install.sh                         the program, its user, its service, a network of its own
# sudo ./install.sh --adapter hci0          the same, sets the adapter with the rights that it needs, and starts the service
# sudo ./install.sh --name hut --network farm
#                                           names for this node and its network, if there is no network here yet
# sudo ./install.sh --invite FILE           enter the network of an invitation instead; - reads standard input
# sudo ./install.sh --uninstall             removes all but the data and their user
#
# DESTDIR=FOLDER installs into an image instead: files and user only, nothing is run or started.
set -euo pipefail

HERE="$(cd "$(dirname "$0")" && pwd)"
DESTDIR="${DESTDIR:-}"
DESTDIR="${DESTDIR%/}"
GLIBC="@GLIBC@"
WHO=mesh-gateway
DATA=/var/lib/mesh-gateway
PROGRAM=/usr/local/bin/mesh-gateway
UNIT=/usr/local/lib/systemd/system/mesh-gateway.service
DROPINS=/etc/systemd/system/mesh-gateway.service.d
DOC=/usr/local/share/doc/mesh-gateway
# Those that belong to an adapter: only one of them is in force.
FOR_ADAPTERS=(hci-user-channel serial usb)

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

say() {
    echo "$*"
}

adapter="" network="" name="" invite="" uninstall=""
while [ $# -gt 0 ]; do
    case "$1" in
    --adapter | --network | --name | --invite)
        [ -n "${2:-}" ] || fail "reading the arguments: $1 needs a value"
        declare "${1#--}=$2"
        shift
        ;;
    --uninstall) uninstall=1 ;;
    -h | --help)
        sed -n '2,/^set /{s/^# \{0,1\}//;/^set /d;p}' "$0"
        exit
        ;;
    *) fail "reading the arguments: '$1' is not known; see $0 --help" ;;
    esac
    shift
done
[ -z "$invite" ] || [ -z "$network$name" ] ||
    fail "reading the arguments: an invitation brings its own names; leave --network and --name out"

[ "$(id -u)" -eq 0 ] || fail "writing to /usr/local and /etc: that takes root; run it with sudo"
if [ -n "$DESTDIR" ]; then
    [ -d "$DESTDIR" ] || fail "installing into DESTDIR: there is no folder $DESTDIR"
    [ -z "$adapter$network$name$invite" ] ||
        fail "installing into DESTDIR: networks and adapters are made on the machine itself; run install.sh there again"
fi

# Whether there is a systemd that listens; in an image or a chroot there is none.
running() {
    [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]
}

as_gateway() {
    (cd / && umask 077 && runuser -u "$WHO" -- env STATE_DIRECTORY="$DATA" "$PROGRAM" "$@")
}

# place FILE TARGET MODE: replaced at once, also while the old one runs.
place() {
    install -D -o 0 -g 0 -m "$3" "$HERE/$1" "$DESTDIR$2.new"
    mv -f "$DESTDIR$2.new" "$DESTDIR$2"
}

# ---- out ----

if [ -n "$uninstall" ]; then
    if running && [ -e "$UNIT" ]; then
        systemctl disable --quiet --now mesh-gateway.service
    fi
    rm -f "$DESTDIR$PROGRAM" "$DESTDIR$UNIT" "$DESTDIR/etc/systemd/system/multi-user.target.wants/mesh-gateway.service"
    for dropin in "${FOR_ADAPTERS[@]}" restart-backoff; do
        rm -f "$DESTDIR$DROPINS/$dropin.conf"
    done
    # What someone else has put there stays.
    rmdir "$DESTDIR$DROPINS" 2>/dev/null || true
    rm -rf "$DESTDIR$DOC"
    if running; then systemctl daemon-reload; fi
    say "removed. The data are still in $DATA, with the network's key, and belong to the user $WHO."
    say "To remove those too: rm -r $DATA && userdel $WHO"
    exit
fi

# ---- can it be? ----

for file in mesh-gateway mesh-gateway.service mesh-gateway.sysusers README; do
    [ -f "$HERE/$file" ] || fail "reading $HERE/$file: it is not there; unpack the whole tarball and run install.sh from it"
done
if [ -z "$DESTDIR" ]; then
    command -v systemctl >/dev/null || fail "finding systemd: there is none here; the service needs it"
    if ! told="$("$HERE/mesh-gateway" --version 2>&1)"; then
        [ "$(uname -m)" = aarch64 ] || fail "starting the program: it is for aarch64, and this machine is $(uname -m)"
        [ "$(getconf LONG_BIT)" = 64 ] ||
            fail "starting the program: the kernel has 64 bit, but this system has 32; install the 64-bit Raspberry Pi OS"
        fail "starting the program, which needs glibc $GLIBC or later ($(getconf GNU_LIBC_VERSION) is here): $told"
    fi
fi

if [ -n "$invite$network$name" ] && [ -e "$DATA/network.toml" ]; then
    fail "entering a network: this machine is in one already, in $DATA; nothing was changed. Leave those options out to bring the \
program up to date, or move $DATA away to begin again"
fi

# ---- in ----

before="" founded=""
[ ! -x "$DESTDIR$PROGRAM" ] || before=1
place mesh-gateway "$PROGRAM" 0755
place mesh-gateway.service "$UNIT" 0644
for file in README LICENSE-APACHE LICENSE-MIT; do
    place "$file" "$DOC/$file" 0644
done
# Drop-ins that are in force are brought up to date; restart-backoff only where systemd knows it.
for dropin in "${FOR_ADAPTERS[@]}"; do
    place "dropins/$dropin.conf" "$DOC/dropins/$dropin.conf" 0644
    [ ! -e "$DESTDIR$DROPINS/$dropin.conf" ] || place "dropins/$dropin.conf" "$DROPINS/$dropin.conf" 0644
done
place dropins/restart-backoff.conf "$DOC/dropins/restart-backoff.conf" 0644
if [ -z "$DESTDIR" ] && [ "$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')" -ge 254 ]; then
    place dropins/restart-backoff.conf "$DROPINS/restart-backoff.conf" 0644
fi

if command -v systemd-sysusers >/dev/null; then
    systemd-sysusers ${DESTDIR:+"--root=$DESTDIR"} - <"$HERE/mesh-gateway.sysusers"
elif [ -n "$DESTDIR" ]; then
    fail "making the user $WHO in $DESTDIR: there is no systemd-sysusers here; install it"
else
    getent passwd "$WHO" >/dev/null ||
        useradd --system --user-group --home-dir "$DATA" --no-create-home --shell /usr/sbin/nologin "$WHO"
fi
if [ -n "$DESTDIR" ]; then
    say "installed into $DESTDIR. On the machine itself run install.sh again: it makes a network and sets the adapter."
    exit
fi

install -d -m 0700 -o "$WHO" -g "$WHO" "$DATA"
# Commands that were run as root leave files behind that the service cannot read.
chown -R --no-dereference "$WHO:$WHO" "$DATA"

if [ ! -e "$DATA/network.toml" ]; then
    options=()
    [ -n "$invite" ] || founded=1
    if [ -n "$invite" ]; then
        # Opened here: the service's user may not be able to read the file.
        if [ "$invite" != - ]; then
            [ -r "$invite" ] || fail "reading the invitation: there is no file $invite; see --help"
            exec <"$invite"
        fi
        options=(--invite -)
    else
        [ -z "$network" ] || options+=(--network "$network")
        [ -z "$name" ] || options+=(--name "$name")
    fi
    told="$(as_gateway init "${options[@]}" 2>&1)" || fail "making the network in $DATA: $told"
    # How to start it by hand is not what comes next here.
    grep -v 'Start the gateway with' <<<"$told" || true
    [ -z "$invite" ] || say "The invitation is used up: delete it."
fi

if [ -n "$adapter" ]; then
    # Says itself what is wrong with the name.
    MESH_GATEWAY_ADAPTER="$adapter" as_gateway config show >/dev/null || fail "setting the adapter: see above"
    settings="$DATA/mesh-gateway.toml"
    [ "$(grep -cE '^#?adapter = ' "$settings")" -eq 1 ] ||
        fail "setting the adapter: $settings has not one line with \`adapter = \`; write it there by hand, below [radio]"
    changed="$(sed -E "s|^#?adapter = .*|adapter = \"$adapter\"|" "$settings")"
    # shellcheck disable=SC2016 # That shell's own arguments.
    printf '%s\n' "$changed" | runuser -u "$WHO" -- sh -c 'umask 077; cat >"$1.new" && mv "$1.new" "$1"' sh "$settings"
    right=""
    case "$adapter" in
    hci*) right=hci-user-channel ;;
    serial:*) right=serial ;;
    usb:*) right=usb ;;
    esac
    for dropin in "${FOR_ADAPTERS[@]}"; do
        if [ "$dropin" = "$right" ]; then
            place "dropins/$dropin.conf" "$DROPINS/$dropin.conf" 0644
        else
            rm -f "$DROPINS/$dropin.conf"
        fi
    done
fi
if grep -qsE '^[[:space:]]*adapter[[:space:]]*=[[:space:]]*["'\'']sim["'\'']' "$DATA/mesh-gateway.toml"; then
    say "Warning: $DATA/mesh-gateway.toml says adapter = \"sim\", and this program has no simulator: the service will not start." >&2
    say "  Name a radio: sudo ./install.sh --adapter hci0" >&2
fi
as_gateway config check >/dev/null || fail "checking the settings: see above; correct them and run install.sh again"

# ---- start ----

if running; then
    systemctl daemon-reload
    if [ -n "$adapter" ]; then
        systemctl enable --quiet mesh-gateway.service
        systemctl restart mesh-gateway.service
    else
        systemctl try-restart mesh-gateway.service
    fi
elif [ -n "$adapter" ]; then
    systemctl enable --quiet mesh-gateway.service
fi

say "$([ -n "$before" ] && echo "brought up to date" || echo installed): $("$PROGRAM" --version), data in $DATA"
case "$adapter" in
"")
    if [ ! -e /etc/systemd/system/multi-user.target.wants/mesh-gateway.service ]; then
        say "Next: sudo ./install.sh --adapter hci0   (the board's Bluetooth; or none, for other gateways over IP alone)"
    fi
    ;;
hci*)
    if running && systemctl is-active --quiet bluetooth.service; then
        say "bluetoothd runs: it must leave $adapter to the gateway. If nothing else here uses Bluetooth:"
        say "  sudo systemctl disable --now bluetooth"
    fi
    ;;
esac
[ -z "$adapter" ] || say "Next: systemctl status mesh-gateway; journalctl -u mesh-gateway; mesh-gateway status"
[ -z "$founded" ] || say "Invite others: sudo -u $WHO mesh-gateway invite NAME --data-dir $DATA"
