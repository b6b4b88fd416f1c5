#!/usr/bin/env bash
# Writes PublicAPI.Unshipped.txt of both libraries anew from what their sources make public: run it after a change that means to change the API.
# Takes no arguments and needs the .NET SDK alone. A build fails (RS0016, RS0017) where a list and the sources differ.
set -euo pipefail
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log" "$log.list"' EXIT
for project in src/Kernels src/Engine; do
  list=$project/PublicAPI.Unshipped.txt
  # With an empty list every public symbol is reported as missing, and the log holds the line that belongs on the list. A second pass finds the
  # constructors that a type declares beside its name, which are reported once the type is on the list.
  echo '#nullable enable' >"$list"
  for _ in 1 2; do
    dotnet build -c Release --no-incremental -v q -nologo -p:TreatWarningsAsErrors=false -p:BuildProjectReferences=false "-p:ErrorLog=$log%2Cversion=2.1" "$project" >/dev/null
    { sed 1d "$list"; sed -nE 's/^ *"APIName": "(.*)",?$/\1/p' "$log" | sed -e 's/\\"/"/g' -e 's/\\\\/\\/g'; } | LC_ALL=C sort -u >"$log.list"
    { echo '#nullable enable'; cat "$log.list"; } >"$list"
  done
  echo "$list: $(($(wc -l <"$list") - 1)) symbols"
done
