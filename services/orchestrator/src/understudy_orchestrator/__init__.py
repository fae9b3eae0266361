"""Plans and drives failovers, durably."""
