/**
 * How the page looks, in light and in dark.
 *
 * @module
 */

/** The style sheet. Whatever a colour says, a word or a dash says too. */
export const STYLE: string = `:root {
  color-scheme: light dark;
  --ground: #f6f7f9; --panel: #fff; --text: #1b1f24; --soft: #57606a; --edge: #d0d7de;
  --stored: #0757b8; --bound: #a40e26; --in: #0757b8; --out: #9a4600; --trouble: #a40e26;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #0d1117; --panel: #161b22; --text: #e6edf3; --soft: #9da7b3; --edge: #30363d;
    --stored: #6cb6ff; --bound: #ff938a; --in: #6cb6ff; --out: #f0a35e; --trouble: #ff938a;
  }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 80rem; padding: 1rem; background: var(--ground); color: var(--text); font: 1rem/1.45 system-ui, sans-serif; }
header { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center; }
h1 { font-size: 1.4rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 0 0 .5rem; overflow-wrap: anywhere; }
#status { margin: 0 auto 0 0; color: var(--soft); }
button { font: inherit; padding: .3rem .9rem; border: 1px solid var(--edge); border-radius: .4rem; background: var(--panel); color: inherit; }
button[aria-pressed=true] { background: var(--text); color: var(--panel); }
:focus-visible { outline: 3px solid var(--stored); outline-offset: 2px; }
main { display: grid; gap: 1rem; margin: 1rem 0; grid-template-columns: repeat(auto-fit, minmax(min(100%, 28rem), 1fr)); }
section { background: var(--panel); border: 1px solid var(--edge); border-radius: .6rem; padding: 1rem; }
section.troubled { border-color: var(--trouble); border-width: 2px; }
ul, ol { list-style: none; margin: 0; padding: 0; }
.alerts li { display: inline-block; margin: 0 .5rem .5rem 0; padding: .1rem .6rem; border: 1px solid var(--trouble); border-radius: 1rem; color: var(--trouble); font-weight: 600; }
figure { margin: 0 0 .8rem; }
figcaption, output { font-size: .875rem; color: var(--soft); }
figcaption { display: flex; flex-wrap: wrap; gap: 0 1rem; }
.top { margin-left: auto; }
svg { display: block; width: 100%; height: 6rem; border: 1px solid var(--edge); border-radius: .3rem; touch-action: pan-y; }
path { fill: none; stroke-width: 2; vector-effect: non-scaling-stroke; }
.stored { stroke: var(--stored); } .area { fill: var(--stored); opacity: .15; }
.bound { stroke: var(--bound); stroke-dasharray: 7 5; }
.in, .puts { stroke: var(--in); } .out, .gets { stroke: var(--out); stroke-dasharray: 3 3; }
.cursor { stroke: var(--text); stroke-width: 1; }
b { font-weight: 600; } .of-stored, .of-in, .of-puts { color: var(--in); } .of-bound { color: var(--bound); } .of-out, .of-gets { color: var(--out); }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)); gap: .4rem 1rem; margin: 0; }
dt { font-size: .875rem; color: var(--soft); } dd { margin: 0; font-variant-numeric: tabular-nums; }
footer { margin-top: 1rem; } a { color: var(--stored); }`;
