#!/bin/sh
# Fails if a crate has a function that panics.
set -eu
! grep -n 'panic!' "$1"/src/*.rs
echo "$1 is clean"
