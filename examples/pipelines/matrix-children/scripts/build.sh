#!/bin/sh
# "Builds" the sources for a system.
set -eu
echo "$1 on $2: $(cat src/*.txt | tr -d '\n')"
