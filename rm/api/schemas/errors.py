"""The one shape of errors."""

from rm.api.shapes import COMPONENTS, TEXT, described, mapping, record

COMPONENTS["Error"] = record(
    "error",
    error=record(
        "code message help",
        code=described(TEXT, "A short word that stays the same; decide by it."),
        message=described(TEXT, "What is wrong, for people."),
        help=described(TEXT, "What to do about it."),
        fields=described(mapping(TEXT), "With 422: what is wrong with each field."),
    ),
)
