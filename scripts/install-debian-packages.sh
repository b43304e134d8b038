#!/bin/sh
# Install what the tests need from Debian besides Python: make; Node.js with npm for the test
# that verifies receipts with @sigstore/verify; PostgreSQL for the tests of TLS to a database;
# GnuPG and OpenSSL for the tests of encrypted files; SoftHSM for the tests of keys in hardware.
# Does nothing where they are there.
# Needs root for anything that is missing.
set -eu

missing=""
command -v make >/dev/null || missing="$missing make"
command -v git >/dev/null || missing="$missing git"
command -v node >/dev/null || missing="$missing nodejs"
command -v npm >/dev/null || missing="$missing npm"
command -v gpg >/dev/null || missing="$missing gnupg"
command -v openssl >/dev/null || missing="$missing openssl"
command -v postgres >/dev/null || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 ||
  missing="$missing postgresql"
ls /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so >/dev/null 2>&1 ||
  missing="$missing softhsm2"
python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"

[ -z "$missing" ] && exit 0
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086  # one word a package
apt-get install -y -qq --no-install-recommends $missing
