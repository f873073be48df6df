from hypothesis import settings

# How fast the machine is, is no property of the code.
settings.register_profile("gateway", deadline=None)
settings.load_profile("gateway")
