#!/usr/bin/env bash
# A study on SLURM: sbatch nbs/configs/cluster_slurm.sh study.yaml, from a folder that all nodes share.
#SBATCH --job-name=study
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=2
#SBATCH --time=12:00:00
set -euo pipefail
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(getent hosts "$head" | awk '{ print $1; exit }'):6379
srun ray symmetric-run --address "$address" --min-nodes "$SLURM_JOB_NUM_NODES" -- \
    bayes-lora-layers study "${1:-study.yaml}" --ray auto --gpus-per-run 1 --cpus-per-run 8
