#!/bin/sh
# Asks for the twitter tokens of a user; prints the answer, or the problem and fails.
#   PROXY_URL=https://gigya-credential-proxy.gigya-credential-proxy.svc TOKEN_FILE=/token/token \
#   CA_FILE=/ca/ca.crt deploy/examples/call.sh user-twitter
set -eu
# The credential goes in by a file, never by the command line, which every process can read.
printf 'header = "Authorization: Bearer %s"\n' "$(cat "$TOKEN_FILE")" |
    curl --silent --show-error --fail-with-body --max-time 15 ${CA_FILE:+--cacert "$CA_FILE"} \
        --config - --header 'Content-Type: application/json' \
        --data "{\"uid\": \"$1\", \"provider\": \"twitter\", \"min_ttl\": 60}" \
        "$PROXY_URL/v1/provider-tokens"
