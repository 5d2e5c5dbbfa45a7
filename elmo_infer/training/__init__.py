"""Training of the biLM and of the baselines; inference never imports this package."""
