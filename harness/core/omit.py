"""A mark for configs that contain other configs: which of their options a command lacks."""


class Omit:
    """In an annotation, the fields that `harness.cli.expand` leaves at their default."""

    def __init__(self, *names: str) -> None:
        self.names = frozenset(names)
