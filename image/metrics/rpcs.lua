-- Counts the responses to remote procedure calls by method and code. For a call haproxy.region.cfg sets
--   txn.rpc     the method by the table `rpcs`, or "other"
--   txn.grpc    true for gRPC and gRPC-Web, whose HTTP status is 200 even for errors
--   txn.code    of an error in Connect, the code in its JSON body
--
--   count(txn, region)               a response of the plugin; returns the code, nil if the request is not a call
--   refuse(txn, region, status)      a response of the proxy itself, by its HTTP status
--   lines(region)                    the samples, as text.family takes them
--
-- HAProxy does not expose trailers, where gRPC puts its code: a response without a body is a failed call with the code
-- "error". The code is known if it is in a header: in gRPC-Web, and from a plugin that serves only gRPC.
-- Codes: https://grpc.github.io/grpc/core/md_doc_statuscodes.html in the spelling of Connect,
-- https://connectrpc.com/docs/protocol#error-codes; both have the same table for other HTTP status codes.

local state = require "metrics.state"

local GRPC_CODES = {
  [0] = "ok", "canceled", "unknown", "invalid_argument", "deadline_exceeded", "not_found", "already_exists",
  "permission_denied", "resource_exhausted", "failed_precondition", "aborted", "out_of_range", "unimplemented", "internal",
  "unavailable", "data_loss", "unauthenticated",
}
local IS_CODE = {}
for index = 1, #GRPC_CODES do
  IS_CODE[GRPC_CODES[index]] = true
end
local CODE_OF_STATUS = {
  [400] = "internal", [401] = "unauthenticated", [403] = "permission_denied", [404] = "unimplemented",
  [429] = "unavailable", [502] = "unavailable", [503] = "unavailable", [504] = "unavailable",
}
local OK = 200

-- By region and by `,method="…",code="…"`. Two exist from the start, because Prometheus sees no increase before the first sample.
local counters = {}
for _, region in ipairs(state.regions) do
  counters[region] = { [',method="other",code="ok"'] = 0, [',method="other",code="unavailable"'] = 0 }
end
local labels = {} -- by method and code, so that a request allocates no string

local function add(region, method, code)
  local of_method = labels[method] or {}
  labels[method] = of_method
  local label = of_method[code] or string.format(',method="%s",code="%s"', method, code)
  of_method[code] = label
  local counter = counters[region]
  counter[label] = (counter[label] or 0) + 1
  return code
end

local function grpc_code(txn, status)
  local number = txn.f:res_hdr("grpc-status")
  if number then
    return GRPC_CODES[math.tointeger(tonumber(number))] or "unknown"
  elseif status ~= OK then
    return CODE_OF_STATUS[status] or "unknown"
  end
  return txn:get_var("txn.empty") and "error" or "ok"
end

local function connect_code(txn, status)
  if status == OK then
    return "ok"
  end
  local code = txn:get_var("txn.code")
  return IS_CODE[code] and code or CODE_OF_STATUS[status] or "unknown"
end

local function count(txn, region)
  local method = txn:get_var("txn.rpc")
  if not method then
    return nil
  end
  local code_of = txn:get_var("txn.grpc") and grpc_code or connect_code
  return add(region, method, code_of(txn, txn.f:status()))
end

local function refuse(txn, region, status)
  local method = txn:get_var("txn.rpc")
  if method then
    add(region, method, CODE_OF_STATUS[status])
  end
end

local function lines(region)
  local names, found = {}, {}
  for label in pairs(counters[region]) do
    names[#names + 1] = label
  end
  table.sort(names)
  for index, label in ipairs(names) do
    found[index] = { "", label, counters[region][label] }
  end
  return found
end

return { count = count, refuse = refuse, lines = lines }
