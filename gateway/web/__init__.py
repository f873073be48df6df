"""The doors: HTTP applications for peers and for the authority's own systems."""
