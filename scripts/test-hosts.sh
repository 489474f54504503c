#!/usr/bin/env bash
# All that tests run against besides this program: a Docker Engine, a private registry plain and with TLS, the images, Podman,
# PostgreSQL, python-gitlab, PyJWT, Chromium, an S3 server.
# As root on Debian; safe to run again, silent when all is there. Each script here says what it makes and how to change it.
#
#   scripts/test-hosts.sh [start]
#   scripts/test-hosts.sh stop      images and packages stay
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")

case ${1:-start} in
start)
  "$here/engine.sh"
  "$here/registry.sh" tls
  "$here/test-images.sh"
  "$here/podman.sh" images
  "$here/postgres.sh"
  "$here/python-gitlab.sh"
  "$here/pyjwt.sh"
  "$here/browser.sh"
  "$here/s3.sh"
  ;;
stop)
  "$here/postgres.sh" stop
  "$here/podman.sh" stop
  "$here/registry.sh" stop
  "$here/engine.sh" stop
  ;;
*)
  echo "test-hosts.sh: unknown: $1; say start or stop" >&2
  exit 1
  ;;
esac
