#!/usr/bin/env bash
# Samples one run as a Slurm array of jobs that need nothing of each other; a job goes on after its time
# limit, and after a preemption.
#
#   sbatch --array=1-N [OPTIONS] configs/launch/slurm_array.sh N ORDERS_OR_OPTIONS ... --out PLACE
#   sbatch --array=1-16 configs/launch/slurm_array.sh 16 orders.toml --seed 1 --out /shared/runs/first
#   sbatch --array=1-16 configs/launch/slurm_array.sh 16 orders.toml --out s3://bucket/runs/first
#
# What follows N are the arguments of `jaxcrystal sample`: the same for all jobs. Jobs may run at any
# time, in any order and on any kind of node; the one that ends last writes summary.csv. Jobs that failed
# are given again by their numbers (--array=3,7, and still 16); what is there is not sampled twice.
# `jaxcrystal` must be on the PATH where you call sbatch. Options of sbatch replace those below.
#
#SBATCH --job-name=jaxcrystal-sample
#SBATCH --ntasks=1
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --output=%x-%A-%a.log
#SBATCH --open-mode=append
#
# A minute before the time limit the job is stopped, as a preemption may stop it at any moment.
#SBATCH --signal=TERM@60
#SBATCH --requeue
set -euo pipefail

if (($# < 2)) || [[ ! $1 =~ ^[0-9]+$ || -z ${SLURM_ARRAY_TASK_ID:-} ]]; then
  echo "usage: sbatch --array=1-N [OPTIONS] slurm_array.sh N ORDERS_OR_OPTIONS ... --out PLACE" >&2
  exit 2
fi
jobs=$1
shift

if [[ -n ${SLURM_CPUS_PER_TASK:-} ]]; then
  export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
fi

# Parts are complete or absent: nothing has to be saved when the job is stopped.
status=0
srun jaxcrystal sample "$@" --shard "$SLURM_ARRAY_TASK_ID/$jobs" || status=$?
if ((status == 143)); then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
