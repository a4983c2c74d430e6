#!/usr/bin/env bash
#SBATCH --signal=USR1@300 --requeue --open-mode=append
# sbatch --nodes=64 --ntasks-per-node=8 --gres=gpu:8 --time=24:00:00 tools/slurm_requeue.sh CONFIG --work-dir DIR
# Five minutes before the time is over every process saves and leaves with code 138; the job then starts again and resumes.
set -uo pipefail
usage="usage: tools/slurm_requeue.sh CONFIG [options of train.py], as a job of sbatch"
config=${1:?$usage} job=${SLURM_JOB_ID:?$usage}
tools=${TOOLS:-${SLURM_SUBMIT_DIR:-.}/tools}  # Slurm runs a copy of this file from elsewhere
srun --kill-on-bad-exit=1 ${SRUN_ARGS:-} python -u "$tools/train.py" "$config" --launcher slurm --resume "${@:2}"
code=$?
[[ $code -ne 138 ]] || exec scontrol requeue "$job"
exit $code
