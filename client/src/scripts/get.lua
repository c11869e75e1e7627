-- Reads field ARGV[4]. Returns it alone in a list, or nil if there is no session.
local left = slide(false)
if not left then return false end
return {value_of(ARGV[4])}
