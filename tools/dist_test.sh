#!/usr/bin/env bash
# tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [options of test.py]: see dist_train.sh.
set -euo pipefail
usage="usage: tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [options]"
config=${1:?$usage} checkpoint=${2:?$usage} processes=${3:?$usage} cores=$(nproc)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores > processes ? cores / processes : 1))}
meeting_point=(--standalone)  # on one machine torchrun finds a free port
[[ -z "${NNODES:-}${MASTER_PORT:-}" ]] || meeting_point=(--nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}"
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${MASTER_PORT:-29500}")
exec torchrun "${meeting_point[@]}" --nproc_per_node="$processes" \
    "$(dirname "$0")/test.py" "$config" "$checkpoint" --launcher pytorch "${@:4}"
