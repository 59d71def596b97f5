"""What every other package uses: errors, console, data, waiting."""
