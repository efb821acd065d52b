"""The nodes between the phases: reading instructions, and the gates (propose, gate, act: three nodes each)."""
