#!/bin/sh
# "Deploys" what was built: says where to, and leaves a note.
set -eu
test -s public/index.html
test -n "$2"
echo "deployed build $2 to $1"
