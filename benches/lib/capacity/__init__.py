"""What single connections and requests cost, and what follows for many visitors on a host."""
