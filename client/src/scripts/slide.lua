-- Renews the session. Returns the milliseconds left and the time, or nil if there is none.
local left = slide(false)
if not left then return false end
return {left, now()}
