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
. "$(dirname "${BASH_SOURCE[0]}")/python-environment.sh"

python_environment python-gitlab 'python-gitlab==8.6.0' \
  'import gitlab; print(gitlab.__version__)' HARRIER_TEST_PYTHON_GITLAB "${1:-start}"
