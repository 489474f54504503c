#!/usr/bin/env bash
# PyJWT from PyPI in a virtual environment of its own, for the test that verifies id tokens as a service would. On Debian, as root
# where python3-venv is missing; safe to run again, silent when it is there.
#
#   scripts/pyjwt.sh [start]
#   scripts/pyjwt.sh env     HARRIER_TEST_PYJWT, the Python that has it, as a shell assignment
#   scripts/pyjwt.sh wipe    remove it
#
# HARRIER_TEST_STATE   it lies below (/var/lib/harrier-test)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/daemons.sh"

version=2.15.1
place=$test_state/pyjwt
python=$place/bin/python

there() { [ "$("$python" -c 'import cryptography, jwt; print(jwt.__version__)' 2>/dev/null)" = "$version" ]; }

start() {
  ! there || return 0
  packages python3=python3
  # Debian's own: another Python of the user's may lack what the environment needs.
  /usr/bin/python3 -c 'import ensurepip' 2>/dev/null || packages no-command-of=python3-venv
  rm -rf "$place"
  /usr/bin/python3 -m venv "$place"
  "$python" -m pip install --quiet --disable-pip-version-check "PyJWT[crypto]==$version" ||
    fail "pip could not install PyJWT $version; see its message above"
  there || fail "PyJWT in $place does not work; remove it with scripts/pyjwt.sh wipe"
}

locked "$test_state/pyjwt.lock"
case ${1:-start} in
start) start ;;
env) printf 'HARRIER_TEST_PYJWT=%q\n' "$python" ;;
wipe) rm -rf "$place" ;;
*) fail "unknown: $1; say start, env or wipe" ;;
esac
