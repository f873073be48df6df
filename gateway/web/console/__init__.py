"""The operators' console: the door for people, in a browser. Imported only where it is open."""
