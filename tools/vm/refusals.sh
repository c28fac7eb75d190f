#!/bin/sh
# What the program says when an adapter cannot be had, with a kernel in that state: run in the machine, with two adapters that nobody uses.
set -eu
home=/tmp/refusals said=/tmp/refusals.said
mesh-gateway init --network refusals --name a --data-dir "$home" >/dev/null 2>&1

# refused WHAT ADAPTER WORDS [BEFORE]...: the program must not have the adapter, must say the words, and go on without it until it is stopped.
refused() {
    what="$1" adapter="$2" words="$3"
    shift 3
    "$@" mesh-gateway --adapter "$adapter" --listen 127.0.0.1:0 --data-dir "$home" >/dev/null 2>"$said" &
    looking=$!
    tries=0
    until grep -qF "$words" "$said"; do
        tries=$((tries + 1))
        if [ $tries -gt 300 ] || ! kill -0 $looking 2>/dev/null; then
            echo "refusals: $what: it does not say \"$words\" but: $(cat "$said")" >&2
            exit 1
        fi
        sleep 0.2
    done
    echo "$what: $(grep -F "$words" "$said" | head -n 1)"
    # The program itself: what was started may be who runs it for another user.
    kill -TERM "$(cat "$home/gateway.lock")"
    code=0
    wait $looking || code=$?
    [ $code -eq 0 ] || { echo "refusals: $what: it did not go on until it was stopped: exit code $code" >&2; exit 1; }
}

refused "no such adapter" hci7 "there is no such adapter; there are hci0, hci1"
refused "no bus" bluez:hci0 "the system bus cannot be reached"
dbus-daemon --system --fork --nopidfile
refused "no bluetoothd" bluez:hci0 "bluetoothd"

# As `rfkill` writes it: no device in particular, type Bluetooth, change all, soft block or none.
printf '\0\0\0\0\2\3\1\0' >/dev/rfkill
refused "blocked" hci0 "sudo rfkill unblock bluetooth"
printf '\0\0\0\0\2\3\0\0' >/dev/rfkill

mesh-gateway --adapter hci0 --listen 127.0.0.1:0 --data-dir "$home" >/dev/null 2>&1 &
holder=$!
tries=0
until hciconfig hci0 | grep -q 'UP'; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { echo "refusals: the first gateway does not take hci0" >&2; exit 1; }
    sleep 0.2
done
mesh-gateway init --network refusals --name b --data-dir "$home-b" >/dev/null 2>&1
home="$home-b"
refused "held by another program" hci0 "it is in use"
kill "$holder"
wait "$holder" || true

unprivileged() {
    su -s /bin/sh -c "$*" messagebus
}
chown -R messagebus "$home"
refused "no right" hci1 "setcap cap_net_admin+ep" unprivileged
