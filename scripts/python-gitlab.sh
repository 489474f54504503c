#!/usr/bin/env bash
# python-gitlab from PyPI in a virtual environment of its own, for the test that drives the REST API as scripts do. On Debian, as
# root where python3-venv is missing; safe to run again, silent when it is there.
#
#   scripts/python-gitlab.sh [start]
#   scripts/python-gitlab.sh env     HARRIER_TEST_PYTHON_GITLAB, the Python that has it, as a shell assignment
#   scripts/python-gitlab.sh wipe    remove it
#
# HARRIER_TEST_STATE   it lies below (/var/lib/harrier-test)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/daemons.sh"

version=8.6.0
place=$test_state/python-gitlab
python=$place/bin/python

there() { [ "$("$python" -c 'import gitlab; print(gitlab.__version__)' 2>/dev/null)" = "$version" ]; }

start() {
  ! there || return 0
  packages python3=python3 git=git
  # Debian's own: another Python of the user's may lack what the environment needs.
  /usr/bin/python3 -c 'import ensurepip' 2>/dev/null || packages no-command-of=python3-venv
  rm -rf "$place"
  /usr/bin/python3 -m venv "$place"
  "$python" -m pip install --quiet --disable-pip-version-check "python-gitlab==$version" ||
    fail "pip could not install python-gitlab $version; see its message above"
  there || fail "python-gitlab in $place does not work; remove it with scripts/python-gitlab.sh wipe"
}

locked "$test_state/python-gitlab.lock"
case ${1:-start} in
start) start ;;
env) printf 'HARRIER_TEST_PYTHON_GITLAB=%q\n' "$python" ;;
wipe) rm -rf "$place" ;;
*) fail "unknown: $1; say start, env or wipe" ;;
esac
