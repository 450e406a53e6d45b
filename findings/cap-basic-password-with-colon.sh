#!/usr/bin/env bash
# @sap/cds 9.9.3 with express 4.22.1 on Node.js 20.20, seen on 2026-11-29.
#
# Basic authentication (RFC 7617) splits user and password at the first colon: a user's name holds none, a password may.
# The `basic` strategy of CAP's server does not let a user in whose password holds a colon: the same service answers 401
# to `alice` with the password that its own configuration says. A password without a colon is let in.
# Who polls such a service, and is told that the account is refused, looks for the mistake at the wrong end.
#
# Output seen:
#   password without a colon: 200
#   password with a colon: 401
set -euo pipefail
folder=$(mktemp -d)
server=
trap '[ -n "$server" ] && kill "$server" 2>/dev/null; rm -rf "$folder"' EXIT
cd "$folder"
cat > package.json <<'JSON'
{
  "name": "seen", "private": true,
  "dependencies": {"@sap/cds": "9.9.3", "express": "4.22.1"},
  "cds": {"requires": {"auth": {"kind": "basic", "users": {
    "alice": {"password": "wonderland"},
    "bob": {"password": "wonder:land"}
  }}}}
}
JSON
npm install --silent --ignore-scripts --no-audit --no-fund
mkdir srv
cat > srv/seen.cds <<'CDS'
@requires: 'authenticated-user'
service Seen @(path: '/seen') {
  function hello() returns String;
}
CDS
cat > srv/seen.js <<'JS'
module.exports = srv => { srv.on('hello', () => 'hello') }
JS
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
PORT=$port node node_modules/@sap/cds/bin/serve.js > server.log 2>&1 &
server=$!
for _ in $(seq 60); do
  curl -s -o /dev/null "http://127.0.0.1:$port/" && break
  sleep 1
done
status() { curl -s -o /dev/null -w '%{http_code}' -u "$1" "http://127.0.0.1:$port/seen/hello()"; }
seen="password without a colon: $(status alice:wonderland)
password with a colon: $(status bob:wonder:land)"
echo "$seen"
[ "$seen" = "password without a colon: 200
password with a colon: 401" ] || { echo "this has changed" >&2; exit 1; }
