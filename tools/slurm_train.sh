#!/usr/bin/env bash
# tools/slurm_train.sh PARTITION JOB_NAME CONFIG [options of train.py]
# NODES, GPUS_PER_NODE, CPUS_PER_TASK and SRUN_ARGS say how much to ask for.
set -euo pipefail
usage="usage: tools/slurm_train.sh PARTITION JOB_NAME CONFIG [options]"
partition=${1:?$usage} job=${2:?$usage} config=${3:?$usage}
exec srun --partition="$partition" --job-name="$job" --nodes="${NODES:-1}" --kill-on-bad-exit=1 \
    --gres="gpu:${GPUS_PER_NODE:-8}" --ntasks-per-node="${GPUS_PER_NODE:-8}" \
    --cpus-per-task="${CPUS_PER_TASK:-8}" ${SRUN_ARGS:-} \
    python -u "$(dirname "$0")/train.py" "$config" --launcher slurm "${@:4}"
