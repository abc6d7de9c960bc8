#!/usr/bin/env bash
# Trains on several nodes under Slurm; the job goes on after its time limit, and after a preemption.
#
#   sbatch [OPTIONS] configs/launch/slurm.sh CONFIG.toml RUN_FOLDER [KEY=VALUE ...]
#   sbatch --nodes=4 --time=12:00:00 configs/launch/slurm.sh configs/large.toml /shared/runs/large
#
# Options of sbatch replace those below, where your cluster needs others (--partition, --account).
# `jaxcrystal` must be on the PATH where you call sbatch, and the files at the same paths on all nodes:
# the run folder lies on a file system that they share, or at a URL (s3://bucket/run).
# optimizer.batch_size is a multiple of the number of GPUs in all.
#
#SBATCH --job-name=jaxcrystal
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=16
#SBATCH --time=24:00:00
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
#
# Five minutes before the time limit all processes get SIGTERM: they save the state and end with 143.
#SBATCH --signal=TERM@300
#SBATCH --requeue
set -euo pipefail

if (($# < 2)); then
  echo "usage: sbatch [OPTIONS] slurm.sh CONFIG.toml RUN_FOLDER [KEY=VALUE ...]" >&2
  exit 2
fi
config=$1 run=$2
shift 2

# Looked at once, before any process of the run can write the file.
resume=
if [[ $run == *://* ]]; then
  resume=--resume-if-started
elif [[ -e $run/config.toml ]]; then
  resume=--resume
fi
# jax finds the other processes by what srun sets, but would give each the one GPU of its number on the
# node: here it is one process a node, with all GPUs of it.
if [[ -n ${SLURM_GPUS_ON_NODE:-} ]]; then
  JAX_LOCAL_DEVICE_IDS=$(seq -s, 0 $((SLURM_GPUS_ON_NODE - 1)))
  export JAX_LOCAL_DEVICE_IDS
fi
if [[ -n ${SLURM_CPUS_PER_TASK:-} ]]; then
  export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
fi

# Processes that stop do so a moment apart: the first must not take the others with it while they save.
status=0
srun --kill-on-bad-exit=0 jaxcrystal train "$config" --distributed ${resume:+"$resume"} \
  --set "out=$run" "$@" || status=$?
if ((status == 143)); then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
