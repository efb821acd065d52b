"""How fast this machine is: measured, refined by finished jobs, and told through the shapes."""
