"""The command `check`."""

from __future__ import annotations

from ml4ir_losses.cli.options import ConfigPath, Overrides, Seed, Strict
from ml4ir_losses.cli.output import import_keras, print_table, say
from ml4ir_losses.core.registry import register_command


@register_command("check")
def check(config: ConfigPath, overrides: Overrides = None, seed: Seed = None, strict: Strict = False) -> None:
    """Check a config and its data without training."""
    from ml4ir_losses.config.load import load_config

    checked = load_config(config, overrides or (), seed)
    import_keras()
    from ml4ir_losses.experiments.evaluate import check as inspect_config

    summary = inspect_config(checked, strict=strict)
    splits, findings = summary.pop("splits"), summary.pop("findings")
    say(
        f"{summary.pop('name')}: loss {summary.pop('loss')}, "
        + ", ".join(f"{n:,} {what}" for what, n in summary.items())
    )
    columns = list(next(iter(splits.values())))
    rows = [[split, *(_number(values[c]) for c in columns)] for split, values in splits.items()]
    print_table(["split", *columns], rows, "words per text" if "rows" in columns else "documents per query")
    for finding in findings:
        say(finding)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,g}"
