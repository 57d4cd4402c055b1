-- For wrk: its own report stops at the 99th percentile.
done = function(_, latency)
  io.write("percentiles in us:")
  for _, percent in ipairs({ 50, 99, 99.9 }) do
    io.write(string.format(" %g%%=%d", percent, latency:percentile(percent)))
  end
  io.write("\n")
end
