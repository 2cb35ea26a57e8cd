"""What `rm-release` refuses, in words for the person who called it."""


class ToolError(Exception):
    """Something that is not done; the text says what is wrong and what to do, never what a key holds."""
