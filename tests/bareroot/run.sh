#!/usr/bin/env bash
# bash tests/bareroot/run.sh COMMAND
#
# Runs one command line in a copy of this checkout inside a bare Debian 12 root that holds python3, python3-venv and
# the root certificates, and no compiler, header, git or node. Needs root rights and debootstrap. Everything it mounts
# lives in a mount namespace of its own and goes with it.
#
#   UNVETO_BAREROOT=DIR   keep the bare root in DIR and start later runs from it (the copy of the checkout is made anew)
set -euo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
command_line=$1

if [[ "${2:-}" != --in-namespace ]]; then
    exec unshare --mount --pid --fork bash "${BASH_SOURCE[0]}" "$command_line" --in-namespace
fi

if [[ -n "${UNVETO_BAREROOT:-}" ]]; then
    root=$UNVETO_BAREROOT
else
    root=$(mktemp -d)
    trap 'umount -R "$root/proc" "$root/dev/shm" 2>/dev/null; rm -rf --one-file-system "$root"' EXIT
fi
if [[ ! -f "$root/.complete" ]]; then
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$root" >"$root.log" 2>&1 ||
        { tail -n 20 "$root.log" >&2; exit 1; }
    rm -f "$root.log"
    touch "$root/.complete"
fi
for program in gcc cc c++ clang git node npm; do
    [[ ! -e "$root/usr/bin/$program" ]] || { echo "the root is not bare: $program" >&2; exit 1; }
done

cp /etc/resolv.conf "$root/etc/resolv.conf"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
rm -rf "$root/srv/unveto" "$root/srv/home"
mkdir -p "$root/srv/unveto" "$root/srv/home"
# What a clone would hold: committed, changed and new files, without what git ignores.
(cd "$checkout" && git ls-files --cached --others --exclude-standard -z | tar --null --ignore-failed-read -cf - -T -) |
    tar -xf - -C "$root/srv/unveto"

mount -t proc proc "$root/proc"
mkdir -p "$root/dev/shm"
mount -t tmpfs tmpfs "$root/dev/shm"
# The certificates of this machine, which may trust a proxy of its own.
env -i SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt \
    PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/srv/home TERM=dumb LANG=C.UTF-8 CI="${CI:-}" \
    chroot "$root" bash -c "cd /srv/unveto && $command_line" </dev/null
