#!/bin/sh
# Builds a crate: its sources, one after the other, with their name in front.
set -eu
mkdir -p "$2"
{ echo "# $1"; cat "crates/$1"/src/*.rs; } > "$2/$1"
echo "built $2/$1"
