#!/bin/sh
# Puts uv at FOLDER/bin/uv, with nothing but a system python3: bootstrap.sh FOLDER VERSION
set -eu
folder=$1
version=$2

fail() {
  echo "set-up: $*" >&2
  exit 1
}

command -v python3 >/dev/null || fail "python3 is missing. Debian: apt install python3 python3-venv; macOS: xcode-select --install"
echo "installing uv $version"
rm -rf "$folder"
if python3 -c 'import ensurepip, venv' 2>/dev/null; then
  python3 -m venv "$folder"
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$version"
elif python3 -m pip --version >/dev/null 2>&1; then
  python3 -m pip install --quiet --disable-pip-version-check --target "$folder" "uv==$version"
else
  fail "python3 has neither venv nor pip. Debian: apt install python3-venv"
fi
