#!/bin/sh
# Fails if a source file holds a tab or a blank at the end of a line.
set -eu
if grep -rn -e "$(printf '\t')" -e ' $' "$1" --include='*.rs'; then
    echo "not formatted" >&2
    exit 1
fi
echo "formatted"
