#!/usr/bin/env bash
# tools/dist_train.sh CONFIG PROCESSES [options of train.py]: one machine, one process per GPU, or several on a CPU.
# More machines: set NNODES, NODE_RANK, MASTER_ADDR and MASTER_PORT on each.
set -euo pipefail
config=${1:?usage: tools/dist_train.sh CONFIG PROCESSES [options]}
processes=${2:?usage: tools/dist_train.sh CONFIG PROCESSES [options]}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec torchrun --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$processes" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${MASTER_PORT:-29500}" \
    "$(dirname "$0")/train.py" "$config" --launcher pytorch "${@:3}"
