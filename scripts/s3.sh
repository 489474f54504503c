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
. "$(dirname "${BASH_SOURCE[0]}")/python-environment.sh"

python_environment moto 'moto[server]==5.2.5' \
  'import moto, moto.server; print(moto.__version__)' HARRIER_TEST_MOTO "${1:-start}"
