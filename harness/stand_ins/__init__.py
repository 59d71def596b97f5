"""Stand-ins for services that are unreachable; reports always name them."""
