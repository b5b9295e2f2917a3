-- Posts the bodies of a file in turn, and counts every answer that is not 200 or not as long as it has to be.
-- wrk … -s wrk.lua URL -- FILE LENGTH [HEADER …]
-- Each line is a body; with names of headers, their values stand before it, a tab behind each.
local threads = {}
bad = 0

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  expected = tonumber(args[2])
  requests, at = {}, 0
  local headers = { ["Content-Type"] = "application/json" }
  for line in io.lines(args[1]) do
    for at = 3, #args do
      headers[args[at]], line = line:match("^([^\t]*)\t(.*)$")
    end
    requests[#requests + 1] = wrk.format("POST", nil, headers, line)
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function response(status, headers, body)
  if status ~= 200 or #body ~= expected then
    bad = bad + 1
  end
end

function done(summary, latency, requests)
  local wrong = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  for _, thread in ipairs(threads) do
    wrong = wrong + thread:get("bad")
  end
  io.write(string.format(
    '\n{"requests": %d, "seconds": %f, "wrong": %d, "p50_ms": %f, "p99_ms": %f}\n',
    summary.requests, summary.duration / 1e6, wrong, latency:percentile(50) / 1000, latency:percentile(99) / 1000
  ))
end
