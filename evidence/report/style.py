"""How the page of a report looks, in light and in dark, on a telephone and on paper."""

from ..palette import as_css

__all__ = ["STYLE"]

STYLE = (
    as_css()
    + """
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 16px; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .3em 0; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 1.6em 0 .5em; }
h3 { font-size: 1rem; margin: 1em 0 .2em; }
ul { margin: .2em 0; padding-left: 1.2em; max-width: 90ch; overflow-wrap: anywhere; }
.note, .facts { color: var(--soft); font-size: .875rem; }
.note { max-width: 100ch; }
.facts { display: flex; flex-wrap: wrap; gap: .2em 1.5em; margin: 0; }
.facts div { display: flex; gap: .4em; min-width: 0; }
.facts dt::after { content: ":"; }
.facts dd { margin: 0; color: var(--ink); overflow-wrap: anywhere; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .2em 1.2em; padding: 0; margin: 0 0 .6em; max-width: none; }
.legend li { min-width: 0; }
.legend svg { width: 34px; height: 12px; margin-right: .4em; }
.scroll { overflow-x: auto; border: 1px solid var(--edge); border-radius: 6px; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; min-width: 100%; }
th, td { padding: .35em .7em; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--edge); }
thead th { color: var(--soft); font-weight: 600; background: var(--raised); }
th:first-child { text-align: left; position: sticky; left: 0; background: var(--raised); min-width: 8.5em; max-width: 42vw;
  white-space: normal; overflow-wrap: anywhere; }
tbody th { font-weight: 600; }
tbody tr:last-child > * { border-bottom: 0; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 350px), 1fr)); gap: 16px;
  align-items: start; margin: .6em 0; }
figure { margin: 0; padding: 10px; background: var(--raised); border: 1px solid var(--edge); border-radius: 6px;
  max-width: 480px; }
figcaption { font-weight: 600; font-size: .875rem; margin-bottom: .3em; overflow-wrap: anywhere; }
svg { display: block; width: 100%; height: auto; color: var(--ink); }
.legend svg { display: inline-block; }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); stroke: var(--raised); stroke-width: 3px;
  stroke-linejoin: round; paint-order: stroke; }
svg .soft { fill: var(--soft); }
svg .middle { text-anchor: middle; }
svg .end { text-anchor: end; }
svg .value { font-variant-numeric: tabular-nums; }
svg .grid { stroke: var(--edge); fill: none; }
svg .axis { stroke: var(--soft); fill: none; }
svg .way { stroke: currentColor; stroke-width: 2; fill: none; }
svg .lead { stroke: currentColor; stroke-width: 1.4; stroke-dasharray: 1.5 3; fill: none; }
svg .band { fill: currentColor; opacity: .18; }
svg .interval { stroke: currentColor; stroke-width: 2; fill: none; }
svg .single { fill: none; stroke: currentColor; opacity: .75; }
svg .sign { fill: currentColor; }
svg .reach { fill: transparent; stroke: transparent; }
svg .spot:hover .sign { stroke: var(--ink); stroke-width: 1.5; }
.c0 { color: var(--c0); } .c1 { color: var(--c1); } .c2 { color: var(--c2); } .c3 { color: var(--c3); }
.c4 { color: var(--c4); } .c5 { color: var(--c5); } .c6 { color: var(--c6); } .c7 { color: var(--c7); }
.matrix td { background: color-mix(in srgb, var(--c0) var(--share, 0%), transparent); print-color-adjust: exact; }
.sides { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); gap: 12px; }
.sides figure { max-width: none; }
img { display: block; max-width: 100%; height: auto; }
.figures .legend { margin: .4em 0 0; font-size: .875rem; }
details { margin: 1em 0; }
summary { cursor: pointer; margin-bottom: .5em; }
@media print { main { max-width: none; padding: 0; } body { font-size: 10pt; } h2 { break-after: avoid; }
  figure, tr { break-inside: avoid; } .scroll { overflow: visible; border: 0; } table { font-size: 7pt; }
  th, td { padding: .2em .4em; } .figures { grid-template-columns: 1fr 1fr; } }
"""
)
