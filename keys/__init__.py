"""The only code that touches a private key or a cryptography library."""
