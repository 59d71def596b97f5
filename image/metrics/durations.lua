-- The histogram of the time from a request to the headers of the plugin's response.
--
--   count(region, microseconds)    adds a response
--   lines(region)                  the histogram's samples, as text.family takes them

local state = require "metrics.state"

local BUCKETS = { 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 }

local histograms = {} -- by region: { counts = per bucket, sum = in microseconds, count }
for _, region in ipairs(state.regions) do
  local counts = {}
  for index = 1, #BUCKETS do
    counts[index] = 0
  end
  histograms[region] = { counts = counts, sum = 0, count = 0 }
end

local function count(region, microseconds)
  local histogram, seconds = histograms[region], microseconds / 1e6
  for index = 1, #BUCKETS do
    if seconds <= BUCKETS[index] then
      histogram.counts[index] = histogram.counts[index] + 1
      break
    end
  end
  histogram.sum = histogram.sum + microseconds
  histogram.count = histogram.count + 1
end

local function lines(region)
  local histogram, total, found = histograms[region], 0, {}
  for index, bound in ipairs(BUCKETS) do
    total = total + histogram.counts[index]
    found[#found + 1] = { "_bucket", string.format(',le="%s"', bound), total }
  end
  found[#found + 1] = { "_bucket", ',le="+Inf"', histogram.count }
  found[#found + 1] = { "_sum", "", string.format("%.15g", histogram.sum / 1e6) }
  found[#found + 1] = { "_count", "", histogram.count }
  return found
end

return { count = count, lines = lines }
