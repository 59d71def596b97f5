#!/bin/sh
# Stands in for Alpine's package manager: accepts exactly the packages this base image holds.
# usage: apk add [--no-cache] PACKAGE...
held=' bash ca-certificates haproxy lua5.3 lua5.3-cjson lua5.3-posix '
[ "$1" = add ] || {
  echo "ERROR: this stand-in for apk knows only 'add'" >&2
  exit 1
}
shift
for package in "$@"; do
  case $package in
    --no-cache) ;;
    -*)
      echo "ERROR: this stand-in for apk does not know the option $package" >&2
      exit 1
      ;;
    *)
      case $held in
        *" $package "*) ;;
        *)
          echo "ERROR: $package (no such package): this stand-in holds$held" >&2
          exit 1
          ;;
      esac
      ;;
  esac
done
echo "OK: stand-in, the packages are there already"
