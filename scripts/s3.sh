#!/usr/bin/env bash
# moto from PyPI, a server that speaks S3 and checks signatures, in a virtual environment of its own: tests of the coordinator's
# storage start it. On Debian, as root where python3-venv is missing; safe to run again, silent when it is there.
#
#   scripts/s3.sh [start]
#   scripts/s3.sh env     HARRIER_TEST_MOTO, the Python that has it, as a shell assignment
#   scripts/s3.sh wipe    remove it
#
# HARRIER_TEST_STATE   it lies below (/var/lib/harrier-test)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/daemons.sh"

version=5.2.5
place=$test_state/moto
python=$place/bin/python

there() { [ "$("$python" -c 'import moto, moto.server; print(moto.__version__)' 2>/dev/null)" = "$version" ]; }

start() {
  ! there || return 0
  packages python3=python3
  # Debian's own: another Python of the user's may lack what the environment needs.
  /usr/bin/python3 -c 'import ensurepip' 2>/dev/null || packages no-command-of=python3-venv
  rm -rf "$place"
  /usr/bin/python3 -m venv "$place"
  "$python" -m pip install --quiet --disable-pip-version-check "moto[server]==$version" ||
    fail "pip could not install moto $version; see its message above"
  there || fail "moto in $place does not work; remove it with scripts/s3.sh wipe"
}

locked "$test_state/moto.lock"
case ${1:-start} in
start) start ;;
env) printf 'HARRIER_TEST_MOTO=%q\n' "$python" ;;
wipe) rm -rf "$place" ;;
*) fail "unknown: $1; say start, env or wipe" ;;
esac
