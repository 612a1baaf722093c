#!/usr/bin/env bash
# From a fresh clone to an answer:
#   ./quickstart.sh        installs into .venv, runs the embedded demo, prints where the report is and the answer
#   ./quickstart.sh test   installs into .venv and runs every notebook's tests
# Both can be run again; what is done already is not done twice.
set -euo pipefail
cd "$(dirname "$0")"

fail() { echo "quickstart: $*" >&2; exit 1; }
[ $# -eq 0 ] || [ "$*" = test ] || fail "unknown argument '$*'; expected nothing, or 'test'"
command -v git >/dev/null || fail "git is missing; on Debian: apt-get install git"
command -v python3 >/dev/null || fail "python3 is missing; on Debian: apt-get install python3 python3-venv"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
    || fail "$(python3 --version) is too old; Python 3.10 or newer is needed"
python3 -c 'import ensurepip, venv' 2>/dev/null \
    || fail "Python's venv is missing; on Debian: apt-get install python3-venv"

wanted=$(cat settings.ini setup.py | sha256sum)
if [ "$(cat .venv/.installed 2>/dev/null)" != "$wanted" ]; then
    echo "Installing into .venv (PyTorch is large; a few minutes)"
    [ -x .venv/bin/python ] || python3 -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
    echo "$wanted" > .venv/.installed
fi
export PATH="$PWD/.venv/bin:$PATH" VIRTUAL_ENV="$PWD/.venv"
# idle threads sleep, so that other work on the machine does not stall this one
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE}

if [ "${1:-}" = test ]; then
    # two notebooks at a time, one thread each: two threads each on two cores are many times slower
    shared=$(mktemp -d)  # one pretrained demo base for all notebooks
    trap 'rm -rf "$shared"' EXIT
    export BAYES_LORA_LAYERS_SHARED="$shared" OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
    nbdev_test --flags long --n_workers 2 --timing  # alone it leaves out what is flagged `#| long`
    exit
fi

out=runs/digits
# the demo's network is so small that threads cost more than they bring: on two cores one is faster than two
OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} bayes-lora-layers run --file nbs/configs/digits.yaml --output-dir "$out"
