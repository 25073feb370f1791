//! The looks: one sheet for drawings, one for the page around them, each for light and for dark surroundings. Colours are told
//! apart by those who do not see red or green; lines differ in weight and dashes too.

/// Fonts that are there, whatever the system.
const SANS: &str = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif";

/// Of drawings, both alone and in the page.
pub fn of_drawings() -> String {
    format!(
        "
.figure{{font-family:{SANS};font-size:11.5px;fill:#5b6472}}
.figure .paper{{fill:#ffffff}}
.figure .heading{{font-size:19px;font-weight:650;fill:#151a23}}
.figure .title{{font-size:13.5px;font-weight:600;fill:#151a23}}
.figure .note{{font-size:11.5px;font-weight:400;fill:#5b6472}}
.figure .tick,.figure .series,.figure .label{{font-variant-numeric:tabular-nums}}
.figure .name{{fill:#8a93a1}}
.figure .end{{text-anchor:end}}
.figure .middle{{text-anchor:middle}}
.figure line{{stroke-width:1;shape-rendering:crispEdges}}
.figure .grid{{stroke:#e4e7ec}}
.figure .faint{{stroke:#f1f3f6}}
.figure .axis{{stroke:#9aa3b0}}
.figure .line{{fill:none;stroke-width:1.6;stroke-linejoin:round;stroke-linecap:round}}
.figure .surface{{stroke:none;fill-opacity:.13}}
.figure .series{{font-weight:600}}
.figure .label{{font-weight:600;fill:#151a23}}
.figure .point{{fill:#ffffff;stroke:#2563eb;stroke-width:2}}
.figure .tip{{fill:#64748b;fill-opacity:0}}
.figure .tip:hover{{fill-opacity:.16}}
.figure line.moment{{stroke:#c2255c;stroke-dasharray:4 3}}
.figure text.moment{{fill:#c2255c;font-weight:600}}
.figure .span{{fill-opacity:.16}}
.figure .span.detection{{fill:#f59f00}}
.figure .span.election{{fill:#c2255c}}
.figure .span.first{{fill:#7048e8}}
.figure tspan.detection{{fill:#b25f00}}
.figure tspan.election{{fill:#c2255c}}
.figure tspan.first{{fill:#6741d9}}
{light}
@media (prefers-color-scheme:dark){{
.figure{{fill:#9aa4b5}}
.figure .paper{{fill:#12161d}}
.figure .heading,.figure .title,.figure .label{{fill:#eef1f6}}
.figure .note{{fill:#9aa4b5}}
.figure .name{{fill:#7c8697}}
.figure .grid{{stroke:#262d38}}
.figure .faint{{stroke:#1b212a}}
.figure .axis{{stroke:#5b6676}}
.figure .point{{fill:#12161d;stroke:#6ea8fe}}
.figure line.moment{{stroke:#f783ac}}
.figure text.moment{{fill:#f783ac}}
.figure .span{{fill-opacity:.28}}
.figure tspan.detection{{fill:#ffc078}}
.figure tspan.election{{fill:#f783ac}}
.figure tspan.first{{fill:#b197fc}}
{dark}
}}
",
        light = lines(&[
            ("answered", "#2563eb"),
            ("gets", "#0d9488"),
            ("trouble", "#d6336c"),
            ("p50", "#0d9488"),
            ("p99", "#2563eb"),
            ("p999", "#7c3aed"),
            ("max", "#8d99ab"),
        ]),
        dark = lines(&[
            ("answered", "#6ea8fe"),
            ("gets", "#38d9a9"),
            ("trouble", "#ff8787"),
            ("p50", "#38d9a9"),
            ("p99", "#6ea8fe"),
            ("p999", "#b197fc"),
            ("max", "#76839a"),
        ]),
    )
}

/// The colour of each line, of the surface below it, and of its name.
fn lines(colours: &[(&str, &str)]) -> String {
    let rules = colours.iter().map(|(class, colour)| {
        format!(
            ".figure .line.{class}{{stroke:{colour}}}.figure .surface.{class},.figure .series.{class}{{fill:{colour}}}"
        )
    });
    rules.chain([".figure .line.max{stroke-width:1}".to_owned()]).collect::<Vec<_>>().join("\n")
}

/// Of the page.
pub fn of_page() -> String {
    format!(
        "
:root{{color-scheme:light dark;--ink:#151a23;--soft:#5b6472;--rule:#e4e7ec;--ground:#f6f7f9;--card:#ffffff;--good:#0b7a53;--bad:#b4234a}}
@media (prefers-color-scheme:dark){{:root{{--ink:#eef1f6;--soft:#9aa4b5;--rule:#262d38;--ground:#0b0e13;--card:#12161d;--good:#4cd4a0;--bad:#ff8fab}}}}
*{{box-sizing:border-box}}
body{{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 {SANS}}}
main{{max-width:1060px;margin:0 auto;padding:32px 20px 64px}}
h1{{font-size:26px;line-height:1.2;letter-spacing:-.01em;margin:0 0 6px}}
h2{{font-size:17px;margin:0 0 12px}}
p{{margin:0 0 12px}}
.soft{{color:var(--soft)}}
code,pre{{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace}}
pre{{margin:0;padding:10px 14px;background:var(--card);border:1px solid var(--rule);border-radius:8px;white-space:pre-wrap;overflow-wrap:anywhere}}
section{{margin-top:20px;padding:20px 22px;background:var(--card);border:1px solid var(--rule);border-radius:12px}}
.figures{{display:flex;flex-wrap:wrap;gap:1px;padding:0;overflow:hidden;background:var(--rule)}}
.figures div{{flex:1 1 118px;background:var(--card);padding:14px 18px}}
.figures dt{{color:var(--soft);font-size:12.5px}}
.figures dd{{margin:0;font-size:21px;font-weight:620;white-space:nowrap;letter-spacing:-.01em;font-variant-numeric:tabular-nums}}
.verdict{{border-left:4px solid var(--good);padding:12px 18px}}
.verdict.invalid{{border-left-color:var(--bad)}}
.verdict strong{{color:var(--good)}}
.verdict.invalid strong{{color:var(--bad)}}
.verdict p,.verdict ul{{margin:0}}
svg.figure{{display:block;width:100%;height:auto}}
.scroll{{overflow-x:auto}}
table{{border-collapse:collapse;width:100%;font-size:13.5px;font-variant-numeric:tabular-nums}}
caption{{text-align:left;font-weight:600;padding-bottom:8px}}
th,td{{padding:5px 12px 5px 0;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap}}
th{{color:var(--soft);font-weight:500}}
th:first-child,td:first-child{{text-align:left}}
table.words th,table.words td{{text-align:left}}
td.words{{text-align:left;white-space:normal;overflow-wrap:anywhere}}
summary{{cursor:pointer;font-weight:600}}
details[open] summary{{margin-bottom:12px}}
@media print{{body{{background:none}}section{{break-inside:avoid}}}}
"
    )
}
