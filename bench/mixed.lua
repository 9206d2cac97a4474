-- What wrk sends: one of the bodies of the file BODIES, drawn uniformly; at the end its figures as one line of JSON.
local bodies = {}
for line in io.lines(os.getenv("BODIES")) do
  bodies[#bodies + 1] = line
end

function request()
  local headers = { ["Content-Type"] = "application/json" }
  return wrk.format("POST", "/v1/predict", headers, bodies[math.random(#bodies)])
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  local line = '\nFIGURES {"requests": %d, "seconds": %f, "p50": %f, "p95": %f, "p99": %f, "errors": %d}\n'
  local times = {}
  for place, percent in ipairs({ 50, 95, 99 }) do
    times[place] = latency:percentile(percent) / 1e3
  end
  io.write(line:format(summary.requests, summary.duration / 1e6, times[1], times[2], times[3], failed))
end
