"""From a scanned image to what a registry has: seal, plan, tags, signature, record, page."""
