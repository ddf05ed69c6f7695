#!/bin/bash
# Nexmark queries through SQL: Updraft beside Apache Flink in local mode, one after the other, the same files on two cores.
#
#   bench/flink/run.sh [MILLIONS of rows] [QUERIES…]
#
# Flink's jars come from the package index of Python (apache-flink-libraries), into bench/data/flink; a JDK of version 17 must be there.
# What it costs either to start is measured with few rows, and taken off. Memory is the greatest resident set.
set -euo pipefail
cd "$(dirname "$0")/../.."
millions=${1:-10}
shift || true
queries=${*:-q1 q2 q5 q7 q8 q11 q12 q17}
version=${FLINK_VERSION:-2.3.0}
home=$PWD/bench/data/flink
updraft=${UPDRAFT:-$PWD/target/release/updraft}
libraries=$home/$version/pyflink

if [ ! -d "$libraries" ]; then
    pip install --quiet --no-deps --target "$home/$version" "apache-flink-libraries==$version"
fi
mkdir -p "$home/log"
java=(java -Xmx4g --add-exports=java.base/sun.net.util=ALL-UNNAMED --add-opens=java.base/java.lang=ALL-UNNAMED
    --add-opens=java.base/java.net=ALL-UNNAMED --add-opens=java.base/java.io=ALL-UNNAMED
    --add-opens=java.base/java.nio=ALL-UNNAMED --add-opens=java.base/java.lang.reflect=ALL-UNNAMED
    --add-opens=java.base/java.text=ALL-UNNAMED --add-opens=java.base/java.time=ALL-UNNAMED
    --add-opens=java.base/java.util=ALL-UNNAMED --add-opens=java.base/java.util.concurrent=ALL-UNNAMED
    --add-opens=java.base/java.util.concurrent.atomic=ALL-UNNAMED --add-opens=java.base/java.util.concurrent.locks=ALL-UNNAMED
    -cp "$libraries/lib/*" bench/flink/Run.java)

# Seconds and KiB of a command; what it says goes to a log.
measured() {
    local log=$home/log/$1; shift
    if ! /usr/bin/env time -f '%e %M' -o "$log.time" "$@" > "$log" 2>&1; then
        echo "failed: see $log" >&2
        return 1
    fi
    tail -1 "$log.time"
}

# A query as one file, over so many rows.
script() {
    sed "s/ROWS/$2/" bench/flink/tables.sql > "$home/$1-$2.sql"
    cat "bench/flink/$1.sql" >> "$home/$1-$2.sql"
    echo "$home/$1-$2.sql"
}

flink() { measured "flink-$1" "${java[@]}" "$(script "$1" "$2")" 2; }
ours() { measured "updraft-$1" "$updraft" run --kernels 2 "$(script "$1" "$2")"; }

rows=$((millions * 1000000))
printf '%-6s %12s %10s %12s %10s %8s\n' query 'Updraft k/s' MiB 'Flink k/s' MiB ratio
for query in $queries; do
    read -r small _ < <(ours "$query" 1000)
    read -r large memory < <(ours "$query" "$rows")
    read -r flink_small _ < <(flink "$query" 1000)
    read -r flink_large flink_memory < <(flink "$query" "$rows")
    awk -v q="$query" -v n="$rows" -v a="$small" -v b="$large" -v m="$memory" -v c="$flink_small" -v d="$flink_large" -v f="$flink_memory" \
        'BEGIN { u = n / (b - a + 1e-3) / 1e3; v = n / (d - c + 1e-3) / 1e3;
            printf "%-6s %12.0f %10.0f %12.0f %10.0f %8.1f\n", q, u, m / 1024, v, f / 1024, u / v }'
done
