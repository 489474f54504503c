#!/bin/sh
# Renders the pages of a folder into one.
set -eu
echo "<html>"
for page in "$1"/*.txt; do sed 's/.*/<p>&<\/p>/' "$page"; done
echo "</html>"
