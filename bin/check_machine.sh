#!/bin/sh
# Says in one line what to install when this machine lacks something. Argument: the Python to use.
fail() { echo "fink: $1" >&2; exit 1; }
"$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || fail "Python 3.11 or newer is needed; install it: apt-get install python3 python3-venv"
"$1" -c 'import venv, ensurepip' 2>/dev/null || fail "Python's venv is missing; install it: apt-get install python3-venv"
command -v java >/dev/null || fail "Java is not installed; install it: apt-get install openjdk-17-jre-headless"
version=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -1)
[ "${version:-0}" -ge 17 ] || fail "Java 17 or newer is needed, this is ${version:-unknown}; install it: apt-get install openjdk-17-jre-headless"
command -v mvn >/dev/null || fail "Maven is not installed; install it: apt-get install maven"
