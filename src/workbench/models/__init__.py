"""One file per model; each opens with its equation and its identifying assumption."""
