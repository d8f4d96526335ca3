"""The GitHub Action: inputs in, GitHub out. Never imports torch, not even through others."""
