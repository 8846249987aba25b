"""`card/report.html`: one self-contained page about a release."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipelines.cards.examples import draw_examples
from pipelines.cards.funnel import describe_rule, explain_reason, read_funnel, total_dropped
from pipelines.mix import read_manifests
from transforms.work import Work

EXAMPLES_EACH = 6


def build_report(work: Work) -> bytes:
    """Returns the page: the funnel by source, every reason with examples, and the mixtures.

    Text from the web is escaped, and the page forbids itself scripts and requests.
    """
    funnels = read_funnel(work)
    dropped = total_dropped(funnels)
    examples = draw_examples(work, EXAMPLES_EACH)
    environment = Environment(
        loader=PackageLoader("pipelines.cards"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.j2").render(
        recipe=work.recipe,
        digest=work.recipe.digest(),
        funnels=funnels,
        inputs=sum(funnel.inputs for funnel in funnels),
        kept=sum(funnel.kept for funnel in funnels),
        reasons=[
            {
                "name": name,
                "rows": rows,
                "meaning": explain_reason(name),
                "rule": describe_rule(work.recipe, name),
                "examples": examples.get(name, []),
            }
            for name, rows in dropped.most_common()
        ],
        kept_examples=examples.get("kept", []),
        manifests=read_manifests(work),
    )
    return page.encode("utf-8")
