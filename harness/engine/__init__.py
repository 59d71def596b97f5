"""The container engine: found or started, its containers and emulators."""
