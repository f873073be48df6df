"""The rules, pure: bytes and values in, values out; no clock, disk, socket, thread or dice."""
