#!/usr/bin/env bash
# Builds the file system of the virtual machine: initramfs.sh KERNEL_VERSION ROOT IMAGE [BINARY]...
#
# ROOT is a folder that it may empty and fill, IMAGE the archive to write, the binaries go to /usr/local/bin in it.
# Everything comes from this machine's Debian packages; what the machine does with it is init's business.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"

fail() {
    echo "initramfs.sh: building the machine's file system: $*" >&2
    exit 1
}

[ $# -ge 3 ] || fail "usage: initramfs.sh KERNEL_VERSION ROOT IMAGE [BINARY]..."
version="$1" root="$2" image="$3"
shift 3

# First the ports to the outside; then AF_ALG and ciphers, for btvirt and bluetooth-meshd; then a generator of random
# numbers, without which the kernel's own test of ECDH fails and no controller can be powered.
MODULES=(virtio_pci virtio_console af_alg algif_hash algif_skcipher algif_aead aes_generic ecb ctr cmac ccm sha512_generic drbg
    hci_vhci)
PROGRAMS=(btvirt bluetoothd bluetooth-meshd btmon btmgmt hciconfig dbus-daemon dbus-send)

# found NAME: where a program of Debian lies; daemons are not in everybody's PATH.
found() {
    local folder
    for folder in /usr/bin /usr/sbin /usr/libexec/bluetooth; do
        [ ! -e "$folder/$1" ] || {
            echo "$folder/$1"
            return
        }
    done
    fail "there is no $1; install what tools/vm/packages names (./ci.sh vm does)"
}

# take BINARY PATH: the binary without its symbols, and the libraries it is linked with.
take() {
    local library
    mkdir -p "$root/${2%/*}"
    strip -o "$root/$2" "$1" 2>/dev/null || cp -L "$1" "$root/$2"
    chmod 755 "$root/$2"
    # Scripts and static programs have none.
    while read -r library; do
        [ -e "$root/$library" ] || {
            mkdir -p "$root/${library%/*}"
            cp -L "$library" "$root/$library"
        }
    done < <(ldd "$1" 2>/dev/null | grep -o '/[^ ]*')
}

rm -rf "$root"
mkdir -p "$root"/{dev,proc,sys,tmp,run,out,root,machine,modules,etc,usr/bin,usr/sbin,usr/lib,usr/lib64,var/lib}
for merged in bin sbin lib lib64; do
    ln -s "usr/$merged" "$root/$merged"
done
ln -s ../run "$root/var/run"
install -m 755 "$here/init" "$root/init"
install -m 755 "$(found busybox)" "$root/usr/bin/busybox"

for program in "${PROGRAMS[@]}"; do
    path="$(found "$program")"
    take "$path" "$path"
done
for binary; do
    [ -f "$binary" ] || fail "there is no file $binary; build it first"
    take "$binary" "/usr/local/bin/${binary##*/}"
done

# D-Bus: the bus's configuration, and who may own BlueZ's names.
mkdir -p "$root/usr/share/dbus-1" "$root/etc/dbus-1/system.d"
cp /usr/share/dbus-1/system.conf "$root/usr/share/dbus-1/"
cp /etc/dbus-1/system.d/bluetooth*.conf "$root/etc/dbus-1/system.d/"
# Without a file of settings bluetoothd leaves adapters off.
mkdir -p "$root/etc/bluetooth"
printf '%s\n' '[Policy]' 'AutoEnable=true' >"$root/etc/bluetooth/main.conf"
printf '%s\n' 'root:x:0:0:root:/root:/bin/sh' 'messagebus:x:100:100::/nonexistent:/bin/false' >"$root/etc/passwd"
printf '%s\n' 'root:x:0:' 'messagebus:x:100:' 'bluetooth:x:101:' >"$root/etc/group"
printf '%s\n' 'passwd: files' 'group: files' 'hosts: files' >"$root/etc/nsswitch.conf"
echo '127.0.0.1 localhost machine' >"$root/etc/hosts"
# Any will do: nobody else sees this machine.
echo '0123456789abcdef0123456789abcdef' >"$root/etc/machine-id"

modprobe="$(found modprobe)"
while read -r what path _; do
    [ "$what" = insmod ] || continue
    name="${path##*/}"
    name="${name%%.ko*}.ko"
    [ ! -e "$root/modules/$name" ] || continue
    case "$path" in
    *.ko) cp "$path" "$root/modules/$name" ;;
    *.ko.xz) xz -dc "$path" >"$root/modules/$name" ;;
    *.ko.zst) zstd -qdc "$path" >"$root/modules/$name" ;;
    *) fail "the kernel module $path is packed in a way that is not known here" ;;
    esac
    echo "$name" >>"$root/modules/order"
done < <(for module in "${MODULES[@]}"; do
    "$modprobe" --show-depends -S "$version" "$module" || true
done)
for module in "${MODULES[@]}"; do
    "$modprobe" --show-depends -S "$version" "$module" >/dev/null || fail "kernel $version has no module $module"
done

# Not compressed: unpacking would take the emulated processor longer than reading.
(cd "$root" && find . -print0 | cpio --quiet --null -o -H newc -R 0:0) >"$image"
