#!/usr/bin/env bash
# One sweep over the nodes of a Slurm job. In the folder that is to hold .sweeps/ (and mlflow.db,
# without a tracking server), which all nodes must see, with the project's environment active:
#
#   SWEEP=imdb-night sbatch deploy/slurm.sh --trials 500 --final-seeds 5
#
# What stands after the script is for `python -m sweeps.launch`: how to search. Where is in the
# environment, so that the job can go on without being told again:
#
#   SWEEP                the sweep's name; submitted again under it, the sweep goes on (default:
#                        slurm-JOB)
#   SWEEP_STORAGE        checkpoints: a folder that all nodes see, or s3://... (default: checkpoints/
#                        in the folder of submission)
#   SWEEP_STUDY_STORAGE  postgresql://..., its password in PGPASSWORD (default: a file in .sweeps/)
#   SWEEP_EXPERIMENT     MLflow's experiment (default: sentiment)
#   MLFLOW_TRACKING_URI  the tracking server
#   SWEEP_NODE_ADDRESS   of the first node, if it has several (default: the first)
#
# Five minutes before its time is over the job stops the sweep in good order and queues itself again,
# and goes on where it was. scancel stops the sweep in the same order, and queues nothing.
#SBATCH --job-name=sweep
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=04:00:00
#SBATCH --signal=B:USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
# With GPUs, one sign less before it:
##SBATCH --gpus-per-node=4
set -euo pipefail

: "${SLURM_JOB_ID:?start it by sbatch}"
cd "$SLURM_SUBMIT_DIR"
name=${SWEEP:-slurm-$SLURM_JOB_ID}
nodes=${SLURM_JOB_NUM_NODES:-1}
# Others may have processes on these nodes, and Ray listens on all of their addresses.
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0

# The batch script runs on the first node.
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
host=${SWEEP_NODE_ADDRESS:-$(hostname -I | cut -d ' ' -f 1)}
port=$(python -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')
address=$host:$port
scratch=/tmp/ray-$SLURM_JOB_ID
options=(--temp-dir="$scratch" --num-cpus="${SLURM_CPUS_PER_TASK:-1}"
  --num-gpus="${SLURM_GPUS_ON_NODE:-0}" --block)

steps=()
sweep=
requeue=
# shellcheck disable=SC2329 # by the trap
stop_nodes() {
  trap - EXIT
  if ((${#steps[@]})); then
    kill -TERM "${steps[@]}" 2> /dev/null || true
    # One that has yet to find its cluster does not listen.
    for _ in {1..20}; do
      kill -0 "${steps[@]}" 2> /dev/null || break
      sleep 1
    done
    kill -KILL "${steps[@]}" 2> /dev/null || true
    srun --overlap --nodes="$nodes" --ntasks="$nodes" rm -rf "$scratch" || true
  fi
}
trap stop_nodes EXIT
# A second signal would end the sweep at once, so that only the first is passed on.
# shellcheck disable=SC2329 # by the traps
stop_sweep() {
  trap '' TERM USR1
  if [[ -n $sweep ]]; then kill -TERM "$sweep" 2> /dev/null || true; else exit 130; fi
}
trap 'requeue=yes; stop_sweep' USR1
trap stop_sweep TERM

srun --overlap --nodes=1 --ntasks=1 --nodelist="$first" \
  ray start --head --node-ip-address="$host" --port="$port" --include-dashboard=false \
  "${options[@]}" &
steps+=($!)
if ((nodes > 1)); then
  srun --overlap --nodes=$((nodes - 1)) --ntasks=$((nodes - 1)) --exclude="$first" \
    ray start --address="$address" "${options[@]}" &
  steps+=($!)
fi

# Nodes that come later are used too; one that does not come at all should be known.
python - "$address" "$nodes" << 'PYTHON' &
import sys
import time

import ray

address, nodes = sys.argv[1], int(sys.argv[2])
deadline = time.monotonic() + 300
while True:
    try:
        if not ray.is_initialized():
            ray.init(address, logging_level="critical", log_to_driver=False)
        alive = sum(node["Alive"] for node in ray.nodes())
    except ConnectionError:
        alive = 0
    if alive >= nodes:
        break
    if time.monotonic() > deadline:
        sys.exit(f"error: {alive} of {nodes} nodes have joined {address} in five minutes")
    time.sleep(1)
print(f"{alive} nodes at {address}", flush=True)
PYTHON
joined=$!
status=0
wait -n "$joined" "${steps[@]}" || status=$?
if kill -0 "$joined" 2> /dev/null; then
  echo "error: Ray has ended on a node before all had joined" >&2
  kill -TERM "$joined"
  exit 1
fi
if ((status)); then exit "$status"; fi

where=(--address "$address" --storage "${SWEEP_STORAGE:-$PWD/checkpoints}" --quiet
  --experiment "${SWEEP_EXPERIMENT:-sentiment}")
if [[ -n ${SWEEP_STUDY_STORAGE:-} ]]; then where+=(--study-storage "$SWEEP_STUDY_STORAGE"); fi
if [[ -e .sweeps/$name/settings.json ]]; then
  python -m sweeps.launch "${where[@]}" --resume "$name" &
else
  python -m sweeps.launch "${where[@]}" --name "$name" "$@" &
fi
sweep=$!

# `wait` ends early when a signal comes, and the sweep has then yet to end.
while kill -0 "$sweep" 2> /dev/null; do
  status=0
  wait "$sweep" || status=$?
done
if [[ -n $requeue && $status == 130 ]]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit "$status"
