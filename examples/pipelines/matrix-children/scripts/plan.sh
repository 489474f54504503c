#!/bin/sh
# Writes a pipeline with a job for each word.
set -eu
for word in "$@"; do
    printf 'paint %s:\n  script: echo painting %s\n' "$word" "$word"
done
