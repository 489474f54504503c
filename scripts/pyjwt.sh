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
. "$(dirname "${BASH_SOURCE[0]}")/python-environment.sh"

python_environment pyjwt 'PyJWT[crypto]==2.15.1' \
  'import cryptography, jwt; print(jwt.__version__)' HARRIER_TEST_PYJWT "${1:-start}"
