#!/bin/bash
# Sets a station up system-wide below DIR/root, and runs it in what the settings of its unit (in the environment, by their names)
# leave of that. Usage, in a mount namespace of its own: sandbox.sh DIR PROGRAM PKI HTTPS_PORT MQTT_PORT
set -eu
: "${ExecStart?}" "${User?}" "${StateDirectory?}" "${ProtectSystem?}" "${ProtectHome?}" "${PrivateTmp?}"
: "${PrivateDevices?}" "${NoNewPrivileges?}" "${LimitNOFILE?}" "${REAL_ROOT?}"
root=$1/root view=$1/view program=$2 pki=$3 https=$4 mqtt=$5
mkdir -p "$root" "$view"
mount -t tmpfs -o mode=755 none "$root"
for name in bin sbin lib lib32 lib64 usr proc dev; do
    if [ -L "/$name" ]; then
        cp -a "/$name" "$root/$name"
    elif [ -d "/$name" ]; then
        mkdir "$root/$name"
        mount --rbind "/$name" "$root/$name"
    fi
done
for name in etc opt tmp run root/pki home var/lib/mosquitto; do
    mkdir -p "$root/$name"
done
# Without root there is one user in here.
own=64001 other=64002
[ "$REAL_ROOT" = yes ] || own=0 other=0
printf 'root:x:0:0::/root:/bin/sh\ndau-station:x:%s:%s::/:/bin/sh\nmosquitto:x:%s:%s::/:/bin/sh\n' \
    $own $own $other $other >"$root/etc/passwd"
printf 'root:x:0:\ndau-station:x:%s:\nmosquitto:x:%s:\n' $own $other >"$root/etc/group"
echo '127.0.0.1 localhost' >"$root/etc/hosts"
touch "$root/opt/dau-station"
mount --bind "$program" "$root/opt/dau-station"
mount --bind "$pki" "$root/root/pki"
chroot "$root" /opt/dau-station init --dir /etc/dau-station --pki /root/pki \
    --listen 127.0.0.1 --https-port "$https" --mqtt-port "$mqtt"
chown -R $other "$root/var/lib/mosquitto"
PATH=$PATH:/usr/sbin chroot "$root" mosquitto -c /etc/dau-station/mosquitto.conf &

state=var/lib/$StateDirectory
mkdir -p "$root/$state"
chown $own:$own "$root/$state"
mount --rbind "$root" "$view"
if [ "$ProtectSystem" = strict ]; then
    for name in . usr proc dev; do
        mount -o remount,bind,ro "$view/$name"
    done
    if touch "$view/etc/x" 2>/dev/null; then
        echo "the sandbox is none" >&2
        exit 9
    fi
fi
mount --bind "$root/$state" "$view/$state"
if [ "$ProtectHome" = yes ]; then
    mount -t tmpfs -o mode=000 none "$view/root"
    mount -t tmpfs -o mode=000 none "$view/home"
fi
[ "$PrivateTmp" != yes ] || mount -t tmpfs -o mode=1777 none "$view/tmp"
if [ "$PrivateDevices" = yes ]; then
    mount -t tmpfs -o mode=755 none "$view/dev"
    for name in null zero full random urandom; do
        touch "$view/dev/$name"
        mount --bind "/dev/$name" "$view/dev/$name"
    done
fi
more=
[ "$NoNewPrivileges" != yes ] || more=--no-new-privs
groups=--clear-groups
[ "$REAL_ROOT" = yes ] || groups=--keep-groups
ulimit -n "$LimitNOFILE" 2>/dev/null || true
# shellcheck disable=SC2086 # Words.
exec chroot "$view" setpriv --reuid "$User" --regid "$User" $groups $more /opt/dau-station ${ExecStart#* }
