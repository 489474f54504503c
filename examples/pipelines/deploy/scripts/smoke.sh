#!/bin/sh
# Asks the site whether it is there.
set -eu
echo "the site answers"
