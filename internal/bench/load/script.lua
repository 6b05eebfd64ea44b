-- What wrk sends, and how it reports: see Load in load.go, which runs it with
--   <file> <method> <path> <order> <seed> <pause>
--
-- All requests are made up before the first is sent, so that the client costs the
-- same, and little, whatever it sends to whom.

local requests, order, pause, last = {}, '', 0, 0
local random = math.random

function init(args)
  local file, method, path = args[1], args[2], args[3]
  order, pause = args[4], tonumber(args[6])
  math.randomseed(tonumber(args[5]))
  for line in io.lines(file) do
    local token, body = line:match('^([^\t]*)\t?(.*)$')
    local headers = { Authorization = 'Bearer ' .. token }
    if body == '' then
      body = nil
    else
      headers['Content-Type'] = 'application/json'
    end
    requests[#requests + 1] = wrk.format(method, path, headers, body)
  end
  if pause == 0 then
    delay = nil
  end
end

function delay()
  return pause
end

function request()
  if order == 'random' then
    return requests[random(#requests)]
  end
  last = last % #requests + 1
  return requests[last]
end

function done(summary, latency)
  local e = summary.errors
  print(string.format(
    'RESULT {"requests":%d,"micros":%d,"refused":%d,"failed":%d,"p50":%d,"p99":%d}',
    summary.requests, summary.duration, e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
