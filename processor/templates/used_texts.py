"""Which texts were used under which version of a template: a version never stands for two (T02)."""

import json
from collections.abc import Collection, Mapping
from hashlib import blake2b
from typing import Any

from processor.domain.record import TemplateId
from processor.domain.template import TemplateSet
from processor.errors import UsageError
from processor.templates.file_model import AttachmentSection, LocaleSection, Section, TemplateFile, WebhookSection

UsedTexts = Mapping[tuple[TemplateId, int], Collection[bytes]]
"""By id and version of a template, the `text_digest` of each text that was used under them."""


def text_digest(content: str) -> bytes:
    """What a version of a template stands for, of its `content`: 16 bytes, equal for contents that say the same.

    A field that the content lacks counts as its default, and one that no template has does not count: other versions of
    this program have other fields, and none of them changes what an author wrote. Nor do the values of a webhook's
    headers count, which may be secrets that are rotated. ValueError for what is no content of a template.
    """
    try:
        fields = _with_defaults(TemplateFile, json.loads(content))
        if fields["webhook"] is not None:
            fields["webhook"] = _with_defaults(WebhookSection, fields["webhook"])
            fields["webhook"]["headers"] = sorted(fields["webhook"]["headers"])
        fields["locale"] = {tag: _with_defaults(LocaleSection, text) for tag, text in dict(fields["locale"]).items()}
        fields["attachment"] = [_with_defaults(AttachmentSection, attachment) for attachment in fields["attachment"]]
        text = json.dumps(fields, sort_keys=True)
    except (RecursionError, TypeError) as failure:
        raise ValueError(f"not the content of a template: {failure}") from failure
    return blake2b(text.encode(), digest_size=16).digest()


def _with_defaults(section: type[Section], raw: Any) -> dict[str, Any]:
    """The fields of `section`, as in `raw` or by default, None for one that has neither. TypeError when `raw` is no
    object."""
    if not isinstance(raw, dict):
        raise TypeError("an object is missing")
    defaults = {name: None if field.is_required() else field.default for name, field in section.model_fields.items()}
    return {name: raw.get(name, default) for name, default in defaults.items()}


def refuse_changed_texts(templates: TemplateSet, used: UsedTexts) -> None:
    """Raise UsageError when a template has another text than those that were used under its version."""
    changed = [
        template
        for template in templates.templates
        if (texts := used.get((template.id, template.version))) and text_digest(template.content) not in texts
    ]
    if changed:
        others = f"; and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise UsageError(
            f"{changed[0].id} has other content under version {changed[0].version}, which was used before{others}",
            hint="raise its version, or undo the change",
        )
