#!/bin/sh
# Sends the payloads of two documentation pages to a wrapped site, and two that are refused with the reason.
#   sh examples/seed_payloads.sh http://127.0.0.1:8000/zaraz/api
set -eu
url=${1:?"say where to: sh $0 http://127.0.0.1:8000/zaraz/api"}

post() {
    printf '\n# %s\n' "$1"
    curl --silent --show-error --max-time 10 --header 'content-type: application/json' --data-raw "$2" \
        --write-out '\nHTTP %{http_code}\n' "$url"
}

# Cloudflare, «HTTP Events API»: the example payload, and the one with `system`
post 'one event' '{"events": [{"client": {"__zarazTrack": "transaction successful", "value": "200"}}]}'

post 'one event, with page and device' '{"events": [{
  "client": {"__zarazTrack": "transaction successful", "value": "200"},
  "system": {
    "page": {"url": "https://example.com", "title": "My website"},
    "device": {"language": "en-US", "ip": "192.168.0.1"}
  }
}]}'

# EventBunker, «Using Track Event API»: its fields stand in `client`, and its name is `__zarazTrack`
post 'the fields of a track event' '{"events": [{
  "client": {
    "__zarazTrack": "my_first_event_name",
    "customer_identifier": "your_app_customer_id",
    "example_string_field": "",
    "example_number_field": 123,
    "example_array_field": ["cat", "dog"],
    "example_bool_field": true
  },
  "eventmw": {"timestamp": "2021-06-26T14:48:00.000"}
}]}'

post 'a batch: the second event lacks its client, so it is refused and the first is not' \
    '{"events": [{"client": {"__zarazTrack": "sign up"}}, {"clinet": {}}]}'

post 'no list of events: refused' '{"event_name": "my_first_event_name"}'
