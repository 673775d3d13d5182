#!/bin/sh
# Runs a script of this repository under the Node that the repository brings itself.
# The system's node may be any version that can run npm: the dependencies, Node 24 among them, are installed here
# on first use, so that `npm start` and `npm test` work in a fresh clone with nothing typed before.
set -eu
cd "$(dirname "$0")/.."
stamp=node_modules/.docker-preloader-lock
if ! cmp -s package-lock.json "$stamp"; then
  echo "installing npm packages (package-lock.json changed or first run)" >&2
  npm ci --no-audit --no-fund --loglevel=error >&2
  cp package-lock.json "$stamp"
fi
PATH="$PWD/node_modules/.bin:$PATH"
export PATH
exec node --disable-warning=ExperimentalWarning "$@"
