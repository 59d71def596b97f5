-- Regular files.
--
--   read(path)   the file's content, or nil

local function read(path)
  local file = io.open(path, "rb")
  if not file then
    return nil
  end
  local data = file:read "a"
  file:close()
  return data
end

return { read = read }
