"""A model as a graph: what it reads, what reads it, what becomes of it. HTML and CSS alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from asfusion.show.theme import variables

_SHOWN = 4  # parameters that were set and stand on the face of a box


@dataclass(frozen=True)
class Parameter:
    """One parameter of a part.

    Parameters
    ----------
    name, value : str
        As a reader sees them.
    is_set : bool
        Whether it differs from its default.
    became : str
        What was chosen where it says ``"auto"``.
    """

    name: str
    value: str
    is_set: bool = False
    became: str = ""


@dataclass(frozen=True)
class Node:
    """One box.

    Parameters
    ----------
    name : str
        Its heading.
    kind : str
        What it is, such as the name of a class.
    facts : tuple of str
        What there is to say of it, a line each.
    marks : tuple of str
        Words that stand out, such as ``"frozen"``.
    parameters : tuple of Parameter
        Those that were set stand out.
    role : {"columns", "part", "fusion", "output"}
        How it is drawn.
    """

    name: str
    kind: str = ""
    facts: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    role: str = "part"


@dataclass(frozen=True)
class Graph:
    """Stages from left to right; in each, lanes that are parallel, of boxes one after another.

    Parameters
    ----------
    name : str
        What is drawn.
    state : str
        Whether it is fitted.
    stages : sequence of sequence of sequence of Node
        Stages, their lanes, and the boxes of these.
    parameters : tuple of Parameter
        Those of the whole.
    chosen : sequence of pair of str
        What was chosen for whom: a name, and the choice.
    """

    name: str
    state: str
    stages: Sequence[Sequence[Sequence[Node]]]
    parameters: tuple[Parameter, ...] = ()
    chosen: Sequence[tuple[str, str]] = field(default=())

    def then(self, *nodes: Node) -> Graph:
        """Return the same graph with boxes one after another at its end."""
        stages = [*self.stages, *([[node]] for node in nodes)]
        return Graph(self.name, self.state, stages, self.parameters, self.chosen)


def as_html(graph: Graph) -> str:
    """Return a graph as HTML that stands in a notebook: no script, no request."""
    stages = "\n".join(map(_stage, graph.stages))
    return (
        f"<style>{_STYLE}</style>\n"
        f'<div class="af-graph" role="group" aria-label="{escape(_in_words(graph))}">\n'
        f"{_head(graph)}\n"
        f'<div class="af-flow"><ol class="af-stages">\n{stages}\n</ol></div>\n'
        f"{_choices(graph)}</div>"
    )


def _in_words(graph: Graph) -> str:
    """Return what a screen reader says before it comes to the boxes."""
    names = [" and ".join(lane[-1].name for lane in stage) for stage in graph.stages]
    return f"Graph of {graph.name}, {graph.state}: {', then '.join(names)}"


def _head(graph: Graph) -> str:
    title = f'<span class="af-title">{escape(graph.name)}</span>'
    state = f'<span class="af-mark">{escape(graph.state)}</span>'
    n_set = sum(one.is_set for one in graph.parameters)
    if not graph.parameters:
        return f'<div class="af-head">{title} {state}</div>'
    told = f"{n_set} of {len(graph.parameters)} parameters set" if n_set else "as by default"
    return (
        f'<details class="af-head"><summary>{title} {state} <span class="af-quiet">{told}</span>'
        f"</summary>{_table(graph.parameters)}</details>"
    )


def _stage(lanes: Sequence[Sequence[Node]]) -> str:
    shown = "\n".join(
        f'<li class="af-lane">{"".join(map(_node, lane))}</li>' for lane in lanes if lane
    )
    kind = f" af-long{min(max(map(len, lanes), default=1), 3)}"
    kind += " af-many" if len(lanes) > 1 else ""
    return f'<li class="af-stage{kind}"><ul class="af-lanes">\n{shown}\n</ul></li>'


def _node(node: Node) -> str:
    style = f"af-node af-{escape(node.role)}"
    face = _face(node)
    if not node.parameters:
        return f'<div class="{style}">{face}</div>'
    table = _table(node.parameters)
    return f'<details class="{style}"><summary>{face}</summary>{table}</details>'


def _face(node: Node) -> str:
    marks = "".join(f'<span class="af-mark">{escape(mark)}</span> ' for mark in node.marks)
    parts = [f'<span class="af-name">{_breakable(node.name)} {marks}</span>']
    parts += [f'<span class="af-kind">{_breakable(node.kind)}</span>'] if node.kind else []
    chosen = [one for one in node.parameters if one.is_set]
    for one in chosen[:_SHOWN]:
        parts.append(f'<code class="af-set">{escape(f"{one.name}={one.value}")}</code>')
    if len(chosen) > _SHOWN:
        parts.append(f'<span class="af-fact">and {len(chosen) - _SHOWN} more set</span>')
    parts += [f'<span class="af-fact">{escape(fact)}</span>' for fact in node.facts]
    return "".join(parts)


def _breakable(name: str) -> str:
    """Return a name that may break where its words end, before it breaks anywhere."""
    return re.sub(r"(_|(?<=[a-z])(?=[A-Z]))", r"\1<wbr>", escape(name))


def _table(parameters: Sequence[Parameter]) -> str:
    rows = "".join(map(_row, sorted(parameters, key=lambda one: not one.is_set)))
    return f'<table class="af-table"><tbody>{rows}</tbody></table>'


def _row(one: Parameter) -> str:
    # By its letters too, not only by its colour.
    style = ' class="af-given"' if one.is_set else ""
    value = one.value + (f" \N{RIGHTWARDS ARROW} {one.became}" if one.became else "")
    return f'<tr{style}><th scope="row">{_breakable(one.name)}</th><td>{escape(value)}</td></tr>'


def _choices(graph: Graph) -> str:
    if not graph.chosen:
        return ""
    rows = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(choice)}</dd>" for name, choice in graph.chosen
    )
    return (
        f'<div class="af-chosen"><span class="af-kind">Chosen for you</span><dl>{rows}</dl></div>'
    )


# Lines between boxes are borders. Lanes of a stage meet at a line along its right side, which each
# lane draws its part of: half of it the first and the last.
_STYLE = f"""{variables(".af-graph")}
.af-graph {{ container-type: inline-size; background: var(--af-paper); color: var(--af-ink);
 font: 13px/1.4 system-ui, -apple-system, "Segoe UI", sans-serif; padding: .7rem .8rem;
 border: 1px solid var(--af-line); border-radius: 8px; text-align: left; }}
.af-graph * {{ box-sizing: border-box; }}
.af-graph :is(ol, ul, li, dl) {{ list-style: none; margin: 0; padding: 0; }}
.af-graph summary {{ cursor: pointer; list-style: none; }}
.af-graph summary::-webkit-details-marker {{ display: none; }}
.af-graph summary:focus-visible {{ outline: 2px solid var(--af-set); outline-offset: 3px;
 border-radius: 4px; }}
.af-graph .af-head {{ margin-bottom: .7rem; }}
.af-graph .af-title {{ font-weight: 650; font-size: 15px; overflow-wrap: anywhere; }}
.af-graph summary .af-quiet::after, .af-graph summary > .af-name::after {{
 content: " \\25B8"; color: var(--af-quiet); font-size: 11px; }}
.af-graph details[open] > summary .af-quiet::after,
.af-graph details[open] > summary > .af-name::after {{ content: " \\25BE"; }}
.af-graph .af-quiet, .af-graph .af-fact {{ color: var(--af-quiet); font-size: 12px; }}
.af-graph .af-mark {{ border: 1px solid var(--af-line); border-radius: 9px; padding: 0 .4rem;
 font-size: 11px; font-weight: 400; color: var(--af-quiet); white-space: nowrap; }}
.af-graph .af-stages {{ display: flex; align-items: center; }}
.af-graph .af-stage {{ display: block; flex: 1 1 0; min-width: 0; position: relative; }}
.af-graph .af-long2 {{ flex-grow: 2.2; }}
.af-graph .af-long3 {{ flex-grow: 3.6; }}
.af-graph .af-stage + .af-stage {{ margin-left: 26px; }}
.af-graph .af-stage + .af-stage::before {{ content: ""; position: absolute; left: -26px; top: 50%;
 width: 24px; border-top: 1.5px solid var(--af-line); }}
.af-graph .af-stage + .af-stage::after {{ content: ""; position: absolute; left: -9px; top: 50%;
 width: 7px; height: 7px; border: solid var(--af-line); border-width: 1.5px 1.5px 0 0;
 transform: translateY(-3px) rotate(45deg); }}
.af-graph .af-lane {{ display: flex; align-items: center; position: relative; padding: 4px 0; }}
.af-graph .af-many > .af-lanes > .af-lane {{ padding-right: 14px; }}
.af-graph .af-many > .af-lanes > .af-lane::before {{ content: ""; position: absolute; right: 0;
 width: 14px; top: 50%; border-top: 1.5px solid var(--af-line); }}
.af-graph .af-many > .af-lanes > .af-lane::after {{ content: ""; position: absolute; right: 0;
 top: 0; bottom: 0; border-right: 1.5px solid var(--af-line); }}
.af-graph .af-many > .af-lanes > .af-lane:first-child::after {{ top: 50%; }}
.af-graph .af-many > .af-lanes > .af-lane:last-child::after {{ bottom: 50%; }}
.af-graph .af-node {{ flex: 1 1 0; min-width: 0; background: var(--af-panel); position: relative;
 border: 1px solid var(--af-line); border-radius: 6px; padding: .35rem .55rem; }}
.af-graph .af-node + .af-node {{ margin-left: 18px; }}
.af-graph .af-node + .af-node::before {{ content: ""; position: absolute; left: -19px; top: 50%;
 width: 18px; border-top: 1.5px solid var(--af-line); }}
.af-graph .af-node > summary > span, .af-graph div.af-node > span {{ display: block; }}
.af-graph .af-name {{ font-weight: 600; overflow-wrap: anywhere; }}
.af-graph .af-kind {{ color: var(--af-quiet); font-size: 12px; overflow-wrap: anywhere; }}
.af-graph .af-fact {{ margin-top: .1rem; overflow-wrap: anywhere; }}
.af-graph code.af-set {{ display: block; background: none; border: 0; padding: 0; font-size: 11.5px;
 font-weight: 600; color: var(--af-set); overflow-wrap: anywhere; white-space: normal; }}
.af-graph .af-columns {{ background: none; border-style: dashed; flex: .72 1 0; }}
.af-graph .af-fusion {{ border-left: 4px solid var(--af-set); }}
.af-graph .af-output {{ border-left: 4px solid var(--af-held); }}
.af-graph .af-table {{ width: 100%; border-collapse: collapse; margin: .4rem 0 .1rem;
 table-layout: auto; font-size: 12px; color: var(--af-quiet); border: 0; }}
.af-graph .af-table tr {{ background: none; }}
.af-graph .af-table th, .af-graph .af-table td {{ text-align: left; font-weight: 400; border: 0;
 padding: .1rem .6rem .1rem 0; vertical-align: top; overflow-wrap: anywhere; background: none;
 white-space: normal; border-top: 1px solid var(--af-line); max-width: 24rem; }}
.af-graph .af-table th {{ overflow-wrap: break-word; }}
.af-graph .af-given th, .af-graph .af-given td {{ color: var(--af-set); font-weight: 600; }}
.af-graph .af-chosen {{ margin-top: .7rem; }}
.af-graph .af-chosen dl {{ display: grid; grid-template-columns: max-content 1fr; gap: 0 .9rem;
 font-size: 12px; }}
.af-graph .af-chosen dt {{ font-weight: 600; margin: 0; }}
.af-graph .af-chosen dd {{ margin: 0; overflow-wrap: anywhere; }}
@container (max-width: 720px) {{
 .af-graph .af-stages {{ flex-direction: column; align-items: stretch; }}
 .af-graph .af-stage + .af-stage {{ margin: 24px 0 0; }}
 .af-graph .af-stage + .af-stage::before {{ left: 50%; top: -22px; width: 0; height: 20px;
  border-top: 0; border-left: 1.5px solid var(--af-line); }}
 .af-graph .af-stage + .af-stage::after {{ left: 50%; top: -8px;
  transform: translateX(-3px) rotate(135deg); }}
 .af-graph .af-many > .af-lanes > .af-lane {{ padding-right: 0; }}
 .af-graph .af-many > .af-lanes > .af-lane::before,
 .af-graph .af-many > .af-lanes > .af-lane::after {{ display: none; }}
}}
"""
