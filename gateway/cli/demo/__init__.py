"""`make demo`: two authorities on this machine, one case, and every proof checked."""
