-- Regular files.
--
--   read(path)           all that is in it, or nil
--   write_all(fd, data)  writes the data; whether all of it was

local write = require("posix.unistd").write

local function read(path)
  local file = io.open(path, "rb")
  if not file then
    return nil
  end
  local data = file:read "a"
  file:close()
  return data
end

-- They take a write whole unless the file system is full.
local function write_all(fd, data)
  return write(fd, data) == #data
end

return { read = read, write_all = write_all }
