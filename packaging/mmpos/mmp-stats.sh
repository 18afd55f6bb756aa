#!/usr/bin/env bash
# mmp-stats.sh DEVICE_NUM LOG_FILE: for agents older than 4.0.18; newer ones fetch /mmpos themselves.
curl --silent --fail --max-time 3 "http://127.0.0.1:${POTMINER_API_PORT:-4077}/mmpos" ||
    echo '{"busid":[],"hash":[],"units":"hs","air":["0","0","0"],"miner_name":"potminer","miner_version":"","shares":{"accepted":[],"rejected":[],"invalid":[]}}'
