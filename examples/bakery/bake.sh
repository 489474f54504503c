#!/usr/bin/env bash
# Bakes one sort of bread from dough.
set -euo pipefail
sort=$1 dough=$2
printf 'a loaf of %s from %s' "$sort" "$(tr '\n' ' ' < "$dough")" > "out/$sort.bread"
echo "baked: $(cat "out/$sort.bread")"
