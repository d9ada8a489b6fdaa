-- Each connection pauses for PAUSE_MS (on average) after an answer: so many requests per second, whatever the server could do.
local pause = tonumber(os.getenv("PAUSE_MS"))

function delay()
  local whole = math.floor(pause)
  return math.random() < pause - whole and whole + 1 or whole
end
