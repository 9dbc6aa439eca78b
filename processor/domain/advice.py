"""What to do about a dead letter: who acts, and when another try is worth it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from processor.domain.reasons import Reason, TemplateReason


@dataclass(frozen=True, slots=True)
class Advice:
    """`who` acts; `when` it is worth to try the record again, which may be never with the bytes as they are."""

    who: str
    when: str


_CORRECTED: Final = "only with corrected bytes: these stay what they are"

ADVICE: Final[Mapping[Reason, Advice]] = {  # reason of a record -> who acts, and when to try again
    Reason.BAD_FRAME: Advice("producer of the event", _CORRECTED),
    Reason.UNKNOWN_SCHEMA: Advice("producer of the event", "after the schema is registered"),
    Reason.INCOMPATIBLE_SCHEMA: Advice(
        "producer of the event, with us", "after an upgrade whose schemas can read the producer's"
    ),
    Reason.UNKNOWN_EVENT: Advice(
        "producer of the event", "after an upgrade that knows the event, or with its name set"
    ),
    Reason.INVALID_EVENT: Advice("producer of the event", _CORRECTED),
    Reason.MISSING_KEY: Advice("producer of the event", "only with a key: the record has none"),
    Reason.WRONG_KEY: Advice("producer of the event, or operator", "after PROCESSOR_KEY_CHECK=warn, or with its key"),
    Reason.EVENT_TOO_LARGE: Advice("operator", "after PROCESSOR_MAX_EVENT_BYTES was raised"),
    Reason.TEMPLATE_FAILED: Advice(
        "owner of each template that failed", "when they are corrected, each for its own reason"
    ),
    Reason.MAPPING_ERROR: Advice("us, by the error in the log", "after an upgrade that corrects it"),
    Reason.OUTPUT_REFUSED: Advice("operator", "after the limits of the output topics were raised"),
    Reason.OTHER: Advice("operator", "after an upgrade to the version that wrote it, or a later one"),
}

TEMPLATE_ADVICE: Final[Mapping[TemplateReason, Advice]] = {  # reason of a failed template -> the same
    TemplateReason.MISSING_VALUE: Advice("owner of the template", "after a version that can do without the value"),
    TemplateReason.LOOKUP_MISSING: Advice("owner of the reference tables", "after the row is there and valid"),
    TemplateReason.INVALID_JSON_BODY_SYNTAX: Advice("owner of the template", "after a version with a valid body"),
    TemplateReason.MAX_MESSAGE_SIZE_LIMIT_EXCEEDED: Advice(
        "owner of the template, or operator", "after a shorter version, or when the topic takes larger records"
    ),
    TemplateReason.TEMPLATE_SUSPENDED: Advice(
        "owner of the template", "after the cause for which it failed before is corrected: it was not tried"
    ),
    TemplateReason.OTHER: Advice("owner of the template", "after a version that can write the value in the detail"),
}
