#!/usr/bin/env bash
# tools/dist_train.sh CONFIG PROCESSES [options of train.py]: one machine, one process per GPU, or several on a CPU.
# More machines: set NNODES, NODE_RANK, MASTER_ADDR and MASTER_PORT on each. MAX_RESTARTS=3 starts all processes again,
# from the newest checkpoint, up to three times after one of them has died.
set -euo pipefail
usage="usage: tools/dist_train.sh CONFIG PROCESSES [options]"
config=${1:?$usage} processes=${2:?$usage} cores=$(nproc)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores > processes ? cores / processes : 1))}
meeting_point=(--standalone)  # on one machine torchrun finds a free port
[[ -z "${NNODES:-}${MASTER_PORT:-}" ]] || meeting_point=(--nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}"
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${MASTER_PORT:-29500}")
exec torchrun "${meeting_point[@]}" ${MAX_RESTARTS:+--max-restarts="$MAX_RESTARTS"} --nproc_per_node="$processes" \
    "$(dirname "$0")/train.py" "$config" --launcher pytorch ${MAX_RESTARTS:+--resume} "${@:3}"
