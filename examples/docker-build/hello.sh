#!/bin/sh
echo "built by a job, of $(ls /bin | wc -l) commands"
