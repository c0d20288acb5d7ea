"""What is wrong with a plan from outside, field by field.

Used by the checks of drafts in this package.
"""

from llmcore.errors import BadParams


class Problems:
    """Collects `{"pointer", "message"}`; raises once at the end so that a caller sees all of them."""

    def __init__(self) -> None:
        """None yet."""
        self.fields: list[dict[str, str]] = []

    def add(self, pointer: str, message: str) -> None:
        """Note a problem; pointers are relative to the RPC's params."""
        self.fields.append({"pointer": pointer, "message": message})

    def settle(self) -> None:
        """Raise BadParams if there is any."""
        if self.fields:
            first = self.fields[0]
            raise BadParams(f"The plan is refused: {first['pointer']} {first['message']}.", self.fields)
