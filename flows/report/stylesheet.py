"""The page's look: dark on white; what is wide scrolls inside its own box; on paper it fits."""

STYLESHEET = """\
:root { color-scheme: light; }
body { margin: 0; background: #fff; color: #1a1a1a; font: 16px/1.5 system-ui, "Segoe UI", Roboto, sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; margin: 0.5rem 0; }
h2 { font-size: 1.3rem; margin: 2.2rem 0 0.5rem; padding-top: 0.5rem; border-top: 1px solid #ccc; }
h3 { font-size: 1.05rem; margin: 1.6rem 0 0.4rem; }
p, ul { max-width: 48rem; margin: 0.5rem 0; }
ul { padding-left: 1.2rem; }
li { margin: 0.25rem 0; }
p, li { overflow-wrap: anywhere; }
code { font: 0.9em ui-monospace, "DejaVu Sans Mono", Menlo, monospace; background: #f2f2f2; padding: 0 0.2em; }
.table, .plot { overflow-x: auto; margin: 0.8rem 0; }
.plot svg { display: block; height: auto; max-width: none; }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: 0.2rem 0; white-space: nowrap; }
th, td { padding: 0.25rem 0.6rem; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top; }
th { border-bottom: 2px solid #888; vertical-align: bottom; }
td { min-width: 14rem; max-width: 26rem; overflow-wrap: anywhere; }
.label, .number { min-width: 0; white-space: nowrap; }
.number { text-align: right; }
th.number { white-space: normal; }
details { margin: 0.8rem 0; }
summary { cursor: pointer; font-weight: 600; font-size: 0.85rem; padding: 0.4rem 0; }
@media print {
  body { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  .table, .plot { overflow: visible; }
  .plot svg { max-width: 100%; }
  .plot, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  table { font-size: 7pt; }
  th, td { padding: 0.15rem 0.3rem; }
  td { min-width: 6rem; }
  details:not([open]) { display: none; }
  thead { display: table-header-group; }
}
"""
