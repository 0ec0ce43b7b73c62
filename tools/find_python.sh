#!/usr/bin/env bash
# Prints a Python (3.10 or newer) that can make virtual environments; installs Debian's venv package if only that lacks.
# Candidates are run, not merely looked up: a pyenv shim exists on PATH for versions that are not active.
set -euo pipefail
cd "$(dirname "$0")"

candidates=(python3.13 python3.12 python3.11 python3.10 python3 /usr/bin/python3)
new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; }
has_venv() { "$1" -c 'import venv, ensurepip' >/dev/null 2>&1; }

for python in "${candidates[@]}"; do
  if new_enough "$python" && has_venv "$python"; then
    echo "$python"
    exit 0
  fi
done
for python in "${candidates[@]}"; do
  if new_enough "$python"; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    ./apt_install.sh "python$version-venv" >&2
    has_venv "$python" && echo "$python" && exit 0
    echo "error: $python cannot make virtual environments (no ensurepip), and python$version-venv did not help" >&2
    exit 1
  fi
done
echo "error: no Python 3.10 or newer found: install one (Debian 12, Ubuntu 22.04 and later have it as python3)" >&2
exit 1
