// Follows the sweep: asks for what has changed, and puts it in the place of what it replaces.
const EVERY = 2500;  // milliseconds between two questions
const bar = document.getElementById("live");
const main = document.querySelector("main");
const shown = new Map();  // HTML of the parts by their ids
let version = "";

// What the reader has done to a part stays: sorting, scrolling, focus.
function replace(old, fresh) {
  const all = (part, selector) => [...part.querySelectorAll(selector)];
  const focusable = "a, button, [tabindex]";
  const focus = all(old, focusable).indexOf(document.activeElement);
  const places = all(old, ".scroll").map((each) => [each.scrollLeft, each.scrollTop]);
  const sorted = old.querySelector("th[aria-sort]");
  old.replaceWith(fresh);
  if (sorted !== null) {
    const falling = sorted.getAttribute("aria-sort") === "descending";
    sortTable(fresh.querySelector("table.sortable"), sorted.cellIndex, falling);
  }
  all(fresh, ".scroll").forEach((each, index) => { if (places[index]) each.scrollTo(...places[index]); });
  if (focus >= 0) all(fresh, focusable)[focus]?.focus({ preventScroll: true });
}

// Shows the parts; the one that the reader looks at stays where it is in the window.
function show(parts) {
  const top = (part) => part.getBoundingClientRect().top;
  const seen = [...main.children].find((part) => part.getBoundingClientRect().bottom > 0);
  const before = seen && top(seen);
  for (const [id, html] of Object.entries(parts)) {
    if (shown.get(id) === html) continue;
    shown.set(id, html);
    const template = document.createElement("template");
    template.innerHTML = html;
    const fresh = template.content.firstElementChild, old = document.getElementById(id);
    if (old === null) main.append(fresh);
    else replace(old, fresh);
  }
  const same = seen && document.getElementById(seen.id);
  if (same && window.scrollY > 0) window.scrollBy({ top: top(same) - before, behavior: "instant" });
}

function say(text, state, hasReport) {
  const line = bar.querySelector("span");
  // A screen reader reads it out at each change.
  if (line.textContent !== text) line.textContent = text;
  bar.dataset.state = state;
  bar.querySelector("a").hidden = !hasReport;
}

async function ask() {
  const answer = await fetch(`state?since=${version}`);
  if (!answer.ok) throw new Error(answer.status);
  const state = await answer.json();
  show(state.parts);
  version = state.version;
  say(state.status, state.state, state.report);
}

async function follow() {
  // A page that nobody looks at costs the server nothing.
  if (document.visibilityState === "visible") {
    await ask().catch(() => say(
      "No answer from python -m sweeps.report --live: it was ended, or the connection is gone. "
      + "What is shown is as it was; this page tries again.", "lost", false));
  }
  setTimeout(follow, EVERY);
}
follow();
