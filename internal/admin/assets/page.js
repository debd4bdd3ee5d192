// What the page can do besides being read: follow the process, sort, filter.
"use strict";
(() => {
  const main = document.getElementById("main");
  const live = document.getElementById("live");

  // merge makes one element like another with as few changes as will do, so that
  // what has the focus, is selected or was opened stays as it is.
  const merge = (here, there) => {
    if (here.isEqualNode(there) || here.dataset?.keep !== undefined) return;
    const own = ["open", "aria-sort", "hidden"]; // these are the reader's
    for (const { name, value } of there.attributes) {
      if (!own.includes(name) && here.getAttribute(name) !== value) here.setAttribute(name, value);
    }
    for (const { name } of [...here.attributes]) {
      if (!own.includes(name) && !there.hasAttribute(name)) here.removeAttribute(name);
    }
    if (here.matches("input, textarea, select")) return;
    if (here.tagName === "TBODY") return mergeRows(here, there);
    const fresh = [...there.childNodes];
    const old = [...here.childNodes].filter((n) => !(n.nodeType === 1 && n.dataset.own !== undefined));
    fresh.forEach((n, i) => {
      const o = old[i];
      if (!o) here.append(n);
      else if (o.nodeType !== n.nodeType || o.nodeName !== n.nodeName) o.replaceWith(n);
      else if (n.nodeType === 1) mergeHeader(o, n);
      else if (o.nodeValue !== n.nodeValue) o.nodeValue = n.nodeValue;
    });
    old.slice(fresh.length).forEach((n) => n.remove());
  };
  const mergeHeader = (o, n) => { if (!(o.matches("th[data-sort]") && o.querySelector("button"))) merge(o, n); };
  // Rows are told apart by their ids: they may have been sorted here.
  const mergeRows = (here, there) => {
    const known = new Map([...here.rows].map((r) => [r.id, r]));
    for (const row of [...there.rows]) {
      const o = row.id && known.get(row.id);
      if (o) { known.delete(row.id); merge(o, row); o.dataset.n = row.sectionRowIndex; } else { row.dataset.n = row.sectionRowIndex; here.append(row); }
    }
    for (const gone of known.values()) gone.remove();
    arrange(here);
  };

  // Sorting: each header that can be sorted by gets a button.
  const chosen = new Map(); // table's id to column and direction
  const value = (row, column, kind) => {
    const cell = row.cells[column];
    if (!cell) return kind === "number" ? 0 : "";
    const v = cell.dataset.v ?? cell.textContent;
    return kind === "number" ? parseFloat(v) || 0 : v.trim().toLowerCase();
  };
  const arrange = (body) => {
    const by = chosen.get(body.parentElement.id);
    const rows = [...body.rows];
    const at = new Map(rows.map((r, i) => [r, Number(r.dataset.n ?? i)]));
    const keys = by && new Map(rows.map((r) => [r, value(r, by.column, by.kind)]));
    const sorted = rows.toSorted((a, b) => {
      if (by) {
        const x = keys.get(a), y = keys.get(b);
        const order = by.kind === "number" ? x - y : x.localeCompare(y, undefined, { numeric: true });
        if (order) return by.down ? -order : order;
      }
      return at.get(a) - at.get(b);
    });
    if (sorted.some((r, i) => r !== rows[i])) {
      const focus = body.contains(document.activeElement) ? document.activeElement : null;
      body.append(...sorted);
      focus?.focus({ preventScroll: true });
    }
  };
  const prepare = () => {
    for (const table of main.querySelectorAll("table[data-sortable]")) {
      [...table.tBodies[0].rows].forEach((r, i) => { r.dataset.n ??= i; });
      for (const th of table.tHead.querySelectorAll("th[data-sort]")) {
        if (th.querySelector("button")) continue;
        const button = document.createElement("button");
        button.type = "button";
        button.append(...th.childNodes);
        th.append(button);
      }
    }
    filterAll();
  };
  main.addEventListener("click", (e) => {
    const button = e.target.closest("th[data-sort] > button");
    if (!button) return;
    const th = button.parentElement, table = th.closest("table");
    const was = chosen.get(table.id);
    const same = was?.column === th.cellIndex;
    const first = th.dataset.sort === "number" && !th.textContent.startsWith("State"); // the largest first, and the worst
    const by = same ? { ...was, down: !was.down } : { column: th.cellIndex, kind: th.dataset.sort, down: first };
    chosen.set(table.id, by);
    table.tHead.querySelectorAll("[aria-sort]").forEach((o) => o.removeAttribute("aria-sort"));
    th.setAttribute("aria-sort", by.down ? "descending" : "ascending");
    arrange(table.tBodies[0]);
  });

  // Filtering: by words, and by trouble.
  const filter = (id) => {
    const box = document.getElementById(id);
    if (!box) return;
    const words = (main.querySelector(`[data-filter="${id}"]`)?.value ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    const only = main.querySelector(`[data-trouble="${id}"]`)?.checked;
    let any = false;
    for (const row of box.tBodies ? box.tBodies[0].rows : box.querySelectorAll("[data-row]")) {
      const text = words.length ? row.textContent.toLowerCase() : "";
      const fits = words.every((w) => text.includes(w)) && !(only && row.dataset.bad === undefined);
      if (row.hidden === fits) row.hidden = !fits;
      any ||= fits;
    }
    const none = main.querySelector(`[data-none="${id}"]`);
    if (none) none.hidden = any || (!words.length && !only);
  };
  const filterAll = () => {
    for (const i of main.querySelectorAll("[data-filter]")) filter(i.dataset.filter);
  };
  main.addEventListener("input", (e) => {
    const id = e.target.dataset.filter ?? e.target.dataset.trouble;
    if (id) filter(id);
  });
  main.addEventListener("submit", (e) => {
    const sure = e.submitter?.dataset.sure;
    if (sure && !confirm(sure)) e.preventDefault();
  });

  // Following: the server tells what this page would be now.
  const take = (html) => {
    const page = new DOMParser().parseFromString(`<main>${html}</main>`, "text/html");
    const fresh = document.adoptNode(page.querySelector("main"));
    for (const a of main.attributes) fresh.setAttribute(a.name, a.value);
    merge(main, fresh);
    prepare();
    document.dispatchEvent(new Event("innermesh:page"));
  };
  const say = (state, text) => {
    live.classList.toggle("on", state === "on");
    live.classList.toggle("off", state === "off");
    if (live.textContent !== text) live.textContent = text;
  };
  const follow = () => {
    const source = new EventSource(live.dataset.from);
    let frames = 0;
    source.addEventListener("hello", () => say("on", "live"));
    source.addEventListener("page", (e) => { take(JSON.parse(e.data)); main.dataset.frames = ++frames; });
    source.addEventListener("bye", () => { source.close(); say("off", "ended"); });
    source.onerror = () => say("off", source.readyState === EventSource.CLOSED ? "not live: load again" : "connecting");
    addEventListener("pagehide", () => source.close());
  };

  // The theme: the system's, until another is chosen.
  const theme = document.getElementById("theme");
  const root = document.documentElement;
  const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const name = () => { theme.textContent = dark() ? "Light" : "Dark"; theme.setAttribute("aria-label", `Use the ${dark() ? "light" : "dark"} theme`); };
  theme.hidden = false;
  theme.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("innermesh-theme", root.dataset.theme); } catch { /* until the page is left, then */ }
    name();
  });
  name();
  prepare();
  if (live) follow();
  addEventListener("pageshow", (e) => { if (e.persisted) location.reload(); });
})();
