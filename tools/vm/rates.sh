#!/usr/bin/env bash
# How fast one adapter sends to another by each way to it, in one run of the virtual machine: HCI alone, then bluetoothd.
#
# tools/vm/rates.sh        needs what tools/vm/packages names; about a minute behind the build
set -euo pipefail
cd "$(dirname "$0")/../.."

cargo build --locked -p hw-tests --features bluez --bin rate
# bluetoothd powers the adapters by itself, some seconds after its start.
tools/vm/run.sh --arm user-channel --add target/debug/rate -- sh -euc '
    rate --frames 200 hci
    dbus-daemon --system --fork --nopidfile
    (bluetoothd -n -E >/dev/null 2>&1 &)
    powered() {
        dbus-send --system --print-reply --dest=org.bluez /org/bluez/hci1 org.freedesktop.DBus.Properties.Get \
            string:org.bluez.Adapter1 string:Powered 2>/dev/null | grep -q "boolean true"
    }
    tries=0
    until powered; do
        sleep 0.3
        tries=$((tries + 1))
        [ $tries -lt 100 ] || { echo "bluetoothd does not power hci1" >&2; exit 1; }
    done
    sleep 2
    rate --frames 200 update
    rate --frames 40 anew
'
