#!/usr/bin/env bash
# Trains on all hosts of a TPU pod; given again, the same command goes on with the run.
#
#   TPU_NAME=NAME TPU_ZONE=ZONE configs/launch/tpu_pod.sh CONFIG.toml RUN_FOLDER [KEY=VALUE ...]
#   TPU_NAME=pod TPU_ZONE=us-central2-b configs/launch/tpu_pod.sh configs/large.toml /shared/runs/large
#
# Run it where gcloud is set up. On every host of the pod the checkout lies in ~/jaxcrystal (or in the
# folder that TPU_FOLDER names), with jaxcrystal in its .venv; once, for all hosts:
#
#   gcloud compute tpus tpu-vm ssh NAME --zone=ZONE --worker=all --command='
#     git clone THIS_REPOSITORY jaxcrystal && cd jaxcrystal &&
#     python3 -m venv .venv && .venv/bin/pip install . "jax[tpu]"'
#
# The paths of configuration, data and run folder are those of the hosts, from that folder on. The run
# folder lies on a file system that the hosts share, or at a URL such as gs://bucket/runs/large, and so
# may the data (settings data.train, data.validation): install '.[remote]' then. A host that gets SIGTERM, before maintenance or when
# the TPU is taken back, has all of them save the state first.
set -euo pipefail

if (($# < 2)) || [[ -z ${TPU_NAME:-} || -z ${TPU_ZONE:-} ]]; then
  echo "usage: TPU_NAME=NAME TPU_ZONE=ZONE ${0##*/} CONFIG.toml RUN_FOLDER [KEY=VALUE ...]" >&2
  exit 2
fi
config=$1 run=$2
shift 2
folder=$(printf '%q' "${TPU_FOLDER:-jaxcrystal}")

on_worker() { # WORKER COMMAND
  gcloud compute tpus tpu-vm ssh "$TPU_NAME" --zone="$TPU_ZONE" --worker="$1" --command="cd $folder && $2"
}

resume=
if [[ $run == *://* ]]; then
  resume=--resume-if-started
else
  # Looked at once, before any host of the run can write the file.
  saved=$(printf '%q' "$run/config.toml")
  found=$(on_worker 0 "if test -e $saved; then echo --resume; fi")
  if [[ $found == *--resume* ]]; then
    resume=--resume
  fi
fi
# Each host starts the same command; jax finds the others by what the pod tells it.
train=$(printf '%q ' .venv/bin/jaxcrystal train "$config" --distributed ${resume:+"$resume"} --set "out=$run" "$@")
on_worker all "exec $train"
