#!/bin/sh
# Bundles a package with the one it builds on.
set -eu
test -f node_modules/.lock
mkdir -p dist
cat packages/shared/*.js "packages/$1"/*.js > "dist/$1.js"
echo "bundled $1"
