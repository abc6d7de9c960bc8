#!/usr/bin/env bash
# Trains on all GPUs of this machine, in one process; given again, the same command goes on with the run.
#
#   configs/launch/one_node.sh CONFIG.toml RUN_FOLDER [KEY=VALUE ...]
#   configs/launch/one_node.sh configs/large.toml runs/large optimizer.batch_size=512
#
# `jaxcrystal` must be on the PATH. The batch is shared equally: optimizer.batch_size is a multiple of
# the number of GPUs. Ctrl-C and SIGTERM save the state first.
set -euo pipefail

if (($# < 2)); then
  echo "usage: ${0##*/} CONFIG.toml RUN_FOLDER [KEY=VALUE ...]" >&2
  exit 2
fi
config=$1 run=$2
shift 2

resume=
if [[ $run == *://* ]]; then
  resume=--resume-if-started
elif [[ -e $run/config.toml ]]; then
  resume=--resume
fi
# In place of this shell, so that it is the training that signals reach.
exec jaxcrystal train "$config" ${resume:+"$resume"} --set "out=$run" "$@"
