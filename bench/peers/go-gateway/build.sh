#!/bin/sh
# Builds the Go peer of the gateway's benchmark: build.sh FOLDER OUTPUT. Run from the root of the repository. The packages are Debian's:
#   apt-get install golang-go golang-github-grpc-ecosystem-grpc-gateway-dev golang-grpc-gateway protobuf-compiler
set -e
folder=$1
output=$2
module=$folder/src/sluicebench
mkdir -p "$module/echo" "$folder/bin"
# What protoc looks for by the name of its plug-in is Debian's generator of the generation that grpc-gateway 1 uses.
ln -sf "$(command -v protoc-gen-go-1-3 || command -v protoc-gen-go)" "$folder/bin/protoc-gen-go"
PATH=$folder/bin:$PATH protoc -I bench -I proto \
  --go_out=plugins=grpc,paths=source_relative,Mecho.proto=sluicebench/echo:"$module/echo" \
  --grpc-gateway_out=logtostderr=true,paths=source_relative:"$module/echo" \
  bench/echo.proto
cp bench/peers/go-gateway/main.go "$module/main.go"
cd "$module"
GO111MODULE=off GOPATH=$folder:/usr/share/gocode go build -o "$output" .
