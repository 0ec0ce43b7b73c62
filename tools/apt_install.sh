#!/usr/bin/env bash
# apt_install.sh PACKAGE…: installs Debian packages without asking, as root or through sudo.
set -euo pipefail

command -v apt-get >/dev/null || {
  echo "error: these packages are needed and this machine has no apt-get: $*" >&2
  exit 1
}
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || {
    echo "error: run as root or install sudo; needed: apt-get install --no-install-recommends $*" >&2
    exit 1
  }
  as_root=(sudo)
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "apt-get install $*"
# DEBIAN_FRONTEND is passed through env: sudo drops the caller's environment.
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" </dev/null >"$log" 2>&1; }
apt update && apt install -y --no-install-recommends "$@" || {
  tail -n 20 "$log" >&2
  echo "error: apt-get could not install: $*" >&2
  exit 1
}
