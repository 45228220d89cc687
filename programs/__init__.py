"""Floor 2: what was promised. Programs, earning rules, tiers, locations, catalogue; the pure rule evaluation."""
