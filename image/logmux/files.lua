-- Regular files.
--
--   read(path)           the file's content, or nil
--   write_all(fd, data)  writes the data; returns whether all of it was written

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

-- A regular file takes a write in full unless the file system is full.
local function write_all(fd, data)
  return write(fd, data) == #data
end

return { read = read, write_all = write_all }
