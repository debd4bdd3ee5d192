// Draws the graph of who calls whom from the table of edges below it. dagre finds
// the places; where there is no script the table says the same.
"use strict";
(() => {
  const svg = (name, attributes, ...children) => {
    const e = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
    e.append(...children);
    return e;
  };
  const measure = document.createElement("canvas").getContext("2d");
  const wide = (text, font) => { measure.font = font; return measure.measureText(text).width; };

  const draw = () => {
    const box = document.getElementById("graph");
    if (!box) return;
    const rows = [...document.querySelectorAll("#edges tbody tr")].map((r) => r.dataset);
    const now = JSON.stringify(rows.map((r) => [r.from, r.to, r.tone, r.label]));
    if (box.drawn === now) return;
    box.drawn = now;
    const narrow = box.parentElement.clientWidth < 620; // the box itself is not there while it is empty
    const g = new dagre.graphlib.Graph();
    g.setGraph({ rankdir: "LR", nodesep: 18, ranksep: narrow ? 18 : 56, edgesep: 14, marginx: 10, marginy: 10 });
    g.setDefaultEdgeLabel(() => ({}));
    for (const name of new Set(rows.flatMap((r) => [r.from, r.to]))) {
      const shown = name.length > 28 ? name.slice(0, 27) + "…" : name;
      g.setNode(name, { shown, width: Math.max(wide(shown, "560 13px system-ui, sans-serif") + 30, 64), height: 32 });
    }
    const most = Math.max(...rows.map((r) => Number(r.rate)), 1e-9);
    for (const r of rows) {
      g.setEdge(r.from, r.to, { ...r, width: wide(r.label, "11.5px system-ui, sans-serif") + 12, height: 16, labelpos: "c" });
    }
    dagre.layout(g);
    const { width, height } = g.graph();
    const out = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true" });
    const labels = [];
    for (const id of g.edges()) {
      const e = g.edge(id), from = g.node(id.v), to = g.node(id.w);
      const thick = 1.2 + 3 * Math.sqrt(Number(e.rate) / most), long = 7 + thick;
      // The label lies on a level stretch of the line.
      const p = e.points.slice(1, -1).flatMap((q) => Math.hypot(q.x - e.x, q.y - e.y) < 1
        ? [-1, 1].map((k) => ({ x: q.x + (from.x < to.x ? k : -k) * e.width / 2, y: q.y })) : [q]);
      // Out of the middle of one side and into the middle of another, level at both
      // ends and at every point between: so the line goes through its label.
      const side = (n, other) => ({ x: n.x + (other.x < n.x ? -1 : 1) * n.width / 2, y: n.y });
      const start = side(from, p[0] ?? to), end = side(to, p.at(-1) ?? from);
      const ahead = end.x < to.x ? 1 : -1;
      const line = [start, ...p, { x: end.x - ahead * long * 0.8, y: end.y }];
      let d = `M${start.x} ${start.y}`;
      for (let i = 1; i < line.length; i++) {
        const middle = (line[i - 1].x + line[i].x) / 2;
        d += `C${middle} ${line[i - 1].y} ${middle} ${line[i].y} ${line[i].x} ${line[i].y}`;
      }
      const head = [[0, 0], [-long, -long * 0.42], [-long, long * 0.42]].map(([x, y]) => `${end.x + ahead * x},${end.y + y}`).join(" ");
      out.append(svg("g", { class: `edge ${e.tone}` }, svg("path", { d, "stroke-width": thick }), svg("polygon", { points: head })));
      const text = svg("text", { x: e.x, y: e.y });
      text.textContent = e.label;
      const back = svg("rect", { class: "back", x: e.x - e.width / 2, y: e.y - e.height / 2, width: e.width, height: e.height });
      labels.push(svg("g", { class: `edge ${e.tone}` }, back, text));
    }
    out.append(...labels);
    for (const id of g.nodes()) {
      const n = g.node(id), self = id === box.dataset.self;
      const text = svg("text", { x: n.x, y: n.y });
      text.textContent = n.shown;
      const title = svg("title", {});
      title.textContent = id;
      const rect = svg("rect", { x: n.x - n.width / 2, y: n.y - n.height / 2, width: n.width, height: n.height, rx: 8 });
      const node = svg("g", { class: self ? "node self" : "node" }, title, rect, text);
      // The links are for the mouse: the table has nothing that they have not.
      out.append(g.predecessors(id).includes(box.dataset.self) ? svg("a", { href: `upstream?service=${encodeURIComponent(id)}`, tabindex: "-1" }, node) : node);
    }
    box.replaceChildren(out);
  };
  draw();
  document.addEventListener("innermesh:page", draw);
  let again;
  addEventListener("resize", () => {
    clearTimeout(again);
    again = setTimeout(() => { const box = document.getElementById("graph"); if (box) { box.drawn = ""; draw(); } }, 150);
  });
})();
