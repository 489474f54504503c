#!/bin/sh
# Fails if a data file is empty; a strict check wants a line feed at its end, too.
set -eu
for file in "$1"/*; do
    test -s "$file"
    [ "$2" != true ] || [ -z "$(tail -c 1 "$file")" ]
    echo "$file is fine"
done
