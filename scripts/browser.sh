#!/usr/bin/env bash
# Chromium and its driver for the tests of the pages, and a font with Chinese letters for their pictures. As root on Debian;
# safe to run again, silent when all is there. Nothing is started: the tests start the driver and end it.
#
#   scripts/browser.sh [start]
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/daemons.sh"

start() {
  packages chromium=chromium chromedriver=chromium-driver fc-list=fontconfig
  if ! fc-list ':lang=zh-cn' | grep -q .; then
    packages no-command-of=fonts-wqy-microhei
    fc-cache >/dev/null
  fi
}

locked "$test_state/browser.lock"
case ${1:-start} in
start) start ;;
*) fail "unknown: $1; say start" ;;
esac
