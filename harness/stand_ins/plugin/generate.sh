#!/bin/sh
# Regenerates finfocusv1/ from the proto file. Needs protoc (or
# `python -m grpc_tools.protoc`, set PROTOC), protoc-gen-go and
# protoc-gen-connect-go in PATH; see README.md.
set -eu
cd "$(dirname "$0")"
${PROTOC:-protoc} -Iproto \
  --go_out=. --go_opt=module=finfocus-plugin-standin \
  --connect-go_out=. --connect-go_opt=module=finfocus-plugin-standin \
  proto/finfocus/v1/costsource.proto
