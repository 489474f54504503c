// The pages work without this script. With it: parts marked data-live follow the server, the log follows its job, sections
// fold, the log is searched, times are shown in the reader's time zone.
"use strict";

const find = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));

// ---- theme
find("[data-theme-switch]")?.addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
});

// ---- times
function localTimes(root) {
  for (const time of all("time[datetime]", root)) {
    time.title = new Date(time.dateTime).toLocaleString();
  }
}
localTimes(document);

// What goes on is counted further, by the server's clock.
const ahead = Date.now() - Number(document.body.dataset.now);
setInterval(() => {
  for (const clock of all("[data-since]")) {
    const seconds = Math.floor((Date.now() - ahead - Number(clock.dataset.since)) / 1000);
    if (seconds < 10) continue;
    const two = (number) => String(number).padStart(2, "0");
    const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
    clock.textContent = h > 0 ? `${h}:${two(m)}:${two(s)}` : `${two(m)}:${two(s)}`;
  }
}, 1000);

// ---- live parts
let fetching = false;
let again = false;
// A part that goes while it is pressed takes the click with it.
let pressed = false;
addEventListener("pointerdown", () => (pressed = true), true);
for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => setTimeout(() => (pressed = false)), true);
async function refresh() {
  if (fetching) {
    again = true;
    return;
  }
  fetching = true;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (answer.ok) {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of all("[data-live]")) {
        const fresh = page.getElementById(part.id);
        if (pressed) {
          again = true;
          break;
        }
        // A part somebody is working in is left until they are done.
        if (!fresh || fresh.isEqualNode(part) || part.contains(document.activeElement) && document.activeElement.matches("input,textarea,select")) continue;
        const open = all("details", part).map((element) => element.open);
        const stops = all("a,button,summary", part);
        const focus = part.contains(document.activeElement) ? stops.indexOf(document.activeElement) : -1;
        part.replaceWith(fresh);
        all("details", fresh).forEach((element, index) => {
          if (open[index]) element.open = true;
        });
        if (focus >= 0) {
          // The same link or button, wherever it is now; else what stands in its place.
          const deed = (stop) => stop.getAttribute("href") ?? stop.form?.getAttribute("action");
          const now = all("a,button,summary", fresh);
          (now.find((stop) => deed(stop) && deed(stop) === deed(stops[focus])) ?? now[focus])?.focus();
        }
        localTimes(fresh);
      }
    }
  } catch {
    // The server is away, or the reader goes to another page. Once it is back it says what was missed.
  } finally {
    fetching = false;
    if (again) {
      again = false;
      setTimeout(refresh, 200);
    }
  }
}
const events = document.body.dataset.events;
let nudgeLog = () => {};
if (events) {
  const source = new EventSource(events);
  // A change of the job often ends its log.
  source.addEventListener("changed", () => {
    refresh();
    nudgeLog();
  });
  source.addEventListener("log", () => nudgeLog());
  addEventListener("pagehide", () => source.close());
}

// ---- log
const log = find("#log");
if (log) {
  const folded = new Set();
  const seen = new Set();
  const follow = find("[data-log-follow]");
  const following = () => follow.getAttribute("aria-pressed") === "true";
  const setFollow = (on) => follow.setAttribute("aria-pressed", String(on));

  function show() {
    for (const line of log.children) {
      const inside = line.dataset.in;
      line.hidden = inside !== undefined && inside.split(" ").some((section) => folded.has(section));
      const section = line.dataset.section;
      if (section !== undefined) find(".fold", line)?.setAttribute("aria-expanded", String(!folded.has(section)));
    }
  }
  function meet() {
    for (const line of all("[data-section]", log)) {
      const section = line.dataset.section;
      if (!seen.has(section)) {
        seen.add(section);
        if (line.dataset.collapsed) folded.add(section);
      }
    }
    show();
  }
  function fold(section) {
    if (!folded.delete(section)) folded.add(section);
    show();
  }
  function unfoldFor(line) {
    for (const section of (line.dataset.in ?? "").split(" ")) folded.delete(section);
    show();
  }
  log.addEventListener("click", (event) => {
    const line = event.target.closest("[data-section]");
    if (line && !event.target.closest("a")) fold(line.dataset.section);
  });
  find("[data-log-fold]").addEventListener("click", () => {
    for (const line of all("[data-section]", log)) folded.add(line.dataset.section);
    show();
  });
  find("[data-log-unfold]").addEventListener("click", () => {
    folded.clear();
    show();
  });
  const times = find("[data-log-times]");
  times.addEventListener("click", () => {
    const on = log.classList.toggle("times");
    times.setAttribute("aria-pressed", String(on));
  });

  // The end of the log is asked for: rows from the last that is settled, which may have changed.
  let busy = false;
  let asked = false;
  async function more() {
    if (busy) {
      asked = true;
      return;
    }
    if (log.dataset.complete === "true") return;
    busy = true;
    try {
      const first = Number(log.dataset.lines);
      const answer = await fetch(`${log.dataset.log}?line=${first}`);
      if (!answer.ok) return;
      const { html, settled, complete, ended } = await answer.json();
      const fresh = new DOMParser().parseFromString(html, "text/html").body;
      while (log.children.length > first) log.lastElementChild.remove();
      log.append(...fresh.childNodes);
      log.dataset.lines = settled;
      log.dataset.complete = complete;
      for (const [section, time] of Object.entries(ended)) {
        const place = find(`[data-section="${section}"] .d`, log);
        if (place) place.textContent = time;
      }
      if (log.children.length > 0) find("[data-log-empty]")?.remove();
      meet();
      if (search.value) look();
      if (following()) log.lastElementChild?.scrollIntoView({ block: "end" });
    } finally {
      busy = false;
      if (asked) {
        asked = false;
        setTimeout(more, 150);
      }
    }
  }
  nudgeLog = more;
  follow.addEventListener("click", () => {
    setFollow(!following());
    if (following()) log.lastElementChild?.scrollIntoView({ block: "end" });
  });
  // Scrolling up by hand ends following.
  addEventListener("wheel", (event) => event.deltaY < 0 && setFollow(false), { passive: true });
  find("[data-log-top]").addEventListener("click", () => {
    setFollow(false);
    log.firstElementChild?.scrollIntoView({ block: "center" });
  });
  find("[data-log-bottom]").addEventListener("click", () => log.lastElementChild?.scrollIntoView({ block: "end" }));

  // ---- search
  const search = find("[data-log-search]");
  const found = find("[data-log-found]");
  let matches = [];
  let at = -1;
  // The rows that have the text, and the places in them. Where the reader is, they stay.
  function look() {
    const here = matches[at];
    for (const line of all(".match", log)) line.classList.remove("match", "here");
    const wanted = search.value.toLowerCase();
    matches = wanted ? Array.from(log.children).filter((line) => find(".x", line).textContent.toLowerCase().includes(wanted)) : [];
    for (const line of matches) line.classList.add("match");
    if (globalThis.Highlight) CSS.highlights.set("found", new Highlight(...matches.slice(0, 1000).flatMap((line) => places(line, wanted))));
    at = matches.indexOf(here);
    if (at >= 0) here.classList.add("here");
    tell();
  }
  function places(line, wanted) {
    const text = find(".x", line);
    const lower = text.textContent.toLowerCase();
    // Some letters are longer in lower case: then nothing is where it seems.
    if (lower.length !== text.textContent.length) return [];
    const nodes = document.createTreeWalker(text, NodeFilter.SHOW_TEXT);
    const ranges = [];
    let [node, before] = [nodes.nextNode(), 0];
    const seek = (place) => {
      while (before + node.length < place) {
        before += node.length;
        node = nodes.nextNode();
      }
      return [node, place - before];
    };
    for (let found = lower.indexOf(wanted); found >= 0; found = lower.indexOf(wanted, found + wanted.length)) {
      const range = new Range();
      range.setStart(...seek(found));
      range.setEnd(...seek(found + wanted.length));
      ranges.push(range);
    }
    return ranges;
  }
  function tell() {
    found.textContent = !search.value ? "" : matches.length === 0 ? "0" : `${Math.max(at, 0) + 1}/${matches.length}`;
  }
  function step(by) {
    if (matches.length === 0) return;
    matches[at]?.classList.remove("here");
    at = (at + by + matches.length) % matches.length;
    const line = matches[at];
    line.classList.add("here");
    setFollow(false);
    unfoldFor(line);
    line.scrollIntoView({ block: "center" });
    tell();
  }
  search.addEventListener("input", () => {
    at = -1;
    look();
    step(1);
  });
  search.addEventListener("keydown", (event) => {
    if (event.key === "Enter") {
      event.preventDefault();
      step(event.shiftKey ? -1 : 1);
    }
  });
  find("[data-log-next]").addEventListener("click", () => step(1));
  find("[data-log-previous]").addEventListener("click", () => step(-1));
  addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.target.matches("input,textarea,select")) {
      event.preventDefault();
      search.focus();
    }
  });

  meet();
  function toHash() {
    const line = /^#L\d+$/.test(location.hash) && document.getElementById(location.hash.slice(1));
    for (const other of all(".target", log)) other.classList.remove("target");
    if (!line) return false;
    setFollow(false);
    unfoldFor(line);
    line.classList.add("target");
    line.scrollIntoView({ block: "center" });
    return true;
  }
  addEventListener("hashchange", toHash);
  if (!toHash() && following()) log.lastElementChild?.scrollIntoView({ block: "end" });
  more();
}
