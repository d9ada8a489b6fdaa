// Pictures drawn here: areas over time, small lines, flame graphs; and the server's pictures of knots.
const keep = {chart: 'state', cursor: null, zoom: [], frame: null};  // what outlives a look: see main.js

// Stacked areas. series: [[name, values]]; over: a line drawn over them, with gaps where it is null. The cursor goes by mouse or arrow keys; the legend tells its values.
function areas(at, series, over, label) {
  const n = at.length, width = Math.max(280, $main.clientWidth - 34), height = 220, foot = 20, left = 52;
  if (n < 2) return h('p.dim', {}, 'Comes with the second look.');
  const sum = a => a.reduce((x, y) => x + y, 0);
  const top = nice(Math.max(1, ...at.map((_, i) => sum(series.map(([, v]) => v[i])))));
  const x = i => left + (at[i] - at[0]) / Math.max(1, at[n - 1] - at[0]) * (width - left), y = v => height - v / top * (height - 8);
  const svg = s('svg', {viewBox: '0 0 ' + width + ' ' + (height + foot), height: height + foot, role: 'img', 'aria-label': label});
  for (const part of [0, .5, 1]) {
    const v = top * part;
    if (!Number.isInteger(v)) continue;
    svg.append(s('line', {x1: left, x2: width, y1: y(v), y2: y(v), stroke: 'var(--line)'}), s('text', {x: left - 6, y: Math.max(10, y(v) + 4), 'text-anchor': 'end'}, count(v)));
  }
  for (const [i, anchor] of [[0, 'start'], [n - 1, 'end']]) svg.append(s('text', {x: x(i), y: height + 15, 'text-anchor': anchor}, clock(at[i])));
  const base = new Array(n).fill(0), points = () => base.map((v, i) => x(i).toFixed(1) + ',' + y(v).toFixed(1));
  for (const [name, values] of series) {
    const lower = points().reverse();
    values.forEach((v, i) => base[i] += v);
    svg.append(s('polygon', {points: points().concat(lower).join(' '), fill: colour(name)}, s('title', {}, name)));
  }
  const from = i => (i && over[1][i - 1] !== null ? 'L' : 'M') + x(i).toFixed(1) + ',' + y(over[1][i]).toFixed(1);
  if (over) svg.append(s('path', {d: over[1].map((v, i) => v === null ? '' : from(i)).join(''), fill: 'none', stroke: 'var(--bad)', 'stroke-width': 2.5, 'stroke-dasharray': '6 4'}));
  const mark = s('line', {y1: 0, y2: height, stroke: 'var(--text)', visibility: 'hidden'}), legend = h('div.legend', {'aria-live': 'off'});
  svg.append(mark);
  const key = (c, text) => h('span', {title: text}, h('i', {style: {background: c}}), text);
  const tell = () => {
    let i = n - 1;
    if (keep.cursor !== null) for (i = 0; i < n - 1 && at[i] < keep.cursor; ++i);
    mark.setAttribute('visibility', keep.cursor === null ? 'hidden' : 'visible');
    mark.setAttribute('x1', x(i));
    mark.setAttribute('x2', x(i));
    legend.replaceChildren(h('span.dim', {}, keep.cursor === null ? 'now' : clock(at[i])), h('span', {}, 'all ' + count(sum(series.map(([, v]) => v[i])))),
      ...series.map(([name, v]) => key(colour(name), name + ' ' + count(v[i]))), ...(over && over[1][i] ? [key('var(--bad)', over[0] + ' ' + count(over[1][i]) + ' (dashed)')] : []));
    return i;
  };
  tell();
  const nearest = px => at.reduce((best, t, i) => Math.abs(x(i) - px) < Math.abs(x(best) - px) ? i : best, 0);
  const move = i => { keep.cursor = i >= n - 1 ? null : at[Math.max(0, i)]; tell(); };
  svg.addEventListener('pointermove', e => { const r = svg.getBoundingClientRect(); move(nearest((e.clientX - r.left) / r.width * width)); });
  svg.addEventListener('pointerleave', () => move(n - 1));
  return h('div.chart', {id: 'chart', tabindex: 0, role: 'group', 'aria-label': label + '. Left and right arrow: other times', onkeydown: e => {
    const step = {ArrowLeft: -1, ArrowRight: 1, Home: -n, End: n}[e.key];
    if (!step) return;
    e.preventDefault();
    move(tell() + step);
  }}, svg, legend);
}
// The next number that is easily halved: 1, 2, 4, 6, 8, 10, 20 ...
function nice(n) {
  const unit = 10 ** Math.floor(Math.log10(n));
  return [1, 2, 4, 6, 8, 10].find(f => f * unit >= n) * unit;
}
// At most `most` series, the largest ones, and one for the rest of the total.
function largest(series, total, most) {
  const sum = a => a.reduce((x, y) => x + y, 0);
  const shown = series.filter(([, v]) => sum(v)).sort((a, b) => sum(b[1]) - sum(a[1])).slice(0, most);
  const rest = total.map((t, i) => Math.max(0, t - sum(shown.map(([, v]) => v[i]))));
  if (sum(rest)) shown.push(['others', rest]);
  return shown;
}

function spark(values, width = 120, height = 24) {
  const top = Math.max(1, ...values), n = Math.max(1, values.length - 1);
  const points = values.map((v, i) => (i / n * width).toFixed(1) + ',' + (height - 1 - v / top * (height - 3)).toFixed(1));
  return s('svg', {viewBox: '0 0 ' + width + ' ' + height, width, height, role: 'img', preserveAspectRatio: 'none'},
    s('title', {}, 'from ' + count(values[0] || 0) + ' to ' + count(values[values.length - 1] || 0) + ', at most ' + count(Math.max(0, ...values))),
    s('polygon', {points: '0,' + height + ' ' + points.join(' ') + ' ' + width + ',' + height, fill: 'currentColor', opacity: .15}),
    s('polyline', {points: points.join(' '), fill: 'none', stroke: 'currentColor', 'stroke-width': 1.5, 'vector-effect': 'non-scaling-stroke'}));
}

// The server's picture: parsed as XML, taken in without anything that could act, its style kept from the page's. It is never made so
// small that it cannot be read; then one scrolls.
function picture(text) {
  const e = new DOMParser().parseFromString(text, 'image/svg+xml').documentElement;
  if (e.nodeName !== 'svg') return h('p.dim', {}, 'No picture.');
  for (const bad of e.querySelectorAll('script, foreignObject')) bad.remove();
  const to = h('div.knot', {tabindex: 0, role: 'group', 'aria-label': 'Picture: ' + (e.querySelector('title')?.textContent || '')});
  to.attachShadow({mode: 'open'}).append(h('style', {}, 'svg { display: block; margin: 0 auto; max-width: 100%; height: auto; min-width: ' + Math.round(.7 * (e.getAttribute('width') || 740)) + 'px; }'), document.importNode(e, true));
  return to;
}

// ---- flame graph -------------------------------------------------------------------------------------------------------------------
const frameName = n => n.kind === 'root' ? 'all' : n.kind === 'state' ? n.name : n.kind === 'start' ? 'started at ' + line(n.place) : n.place.function;
// What there is room for: of a function rather its own name than its namespaces.
function fitted(n, pixels) {
  const fits = (pixels - 10) / 7.3, name = frameName(n);
  if (pixels < 16) return '';
  if (name.length <= fits || !n.place || name.includes('<')) return name;
  if (n.kind === 'start') return line(n.place);
  const parts = name.split('::');
  while (parts.length > 1 && parts[1] !== 'lambda' && parts.join('::').length > fits) parts.shift();
  return parts.join('::');
}
const frameKey = n => n.kind + ' ' + (n.name || (n.place ? n.place.function + n.place.file + n.place.line : ''));
function shade(n) {
  if (n.kind === 'state') return colour(n.name);
  if (n.kind === 'root') return '#c3cad2';
  if (n.kind === 'start') return '#b9c9dc';
  let hash = 0;
  for (const c of n.place.function) hash = hash * 31 + c.charCodeAt(0) | 0;
  return 'hsl(' + (24 + Math.abs(hash) % 26) + ' 72% ' + (68 + Math.abs(hash >> 8) % 12) + '%)';
}
// Rows of frames, the caller above. keep.zoom: keys from the root to what fills the width; keep.frame: the one that has the focus.
function flameGraph(tree, by, words, find) {
  const row = 22, graph = h('div.flame', {role: 'tree', 'aria-label': 'Where goroutines wait'}), told = h('div.told', {'aria-live': 'polite'});
  const value = n => by === 'time' ? time(n.value) : count(n.value);
  const below = new Map();  // of each node shown: its parent, its path
  const tell = n => told.replaceChildren(h('b', {}, frameName(n)), ' ', h('span.dim', {}, n.place && n.place.file ? n.place.file + ':' + n.place.line : ''), h('br'),
    (by === 'time' ? value(n) + ' of waiting by ' + plural(n.count, 'goroutine') : plural(n.count, 'goroutine')) + ', ' + (100 * n.value / Math.max(1, tree.value)).toFixed(1) + ' % ',
    n.place && n.place.file ? link('show them', 'goroutines', {site: line(n.place)}) : n.kind === 'state' ? link('show them', 'goroutines', {state: n.name}) : '');
  function zoom(path) {
    keep.zoom = path;
    keep.frame = path.join('\n');
    draw();
    graph.querySelector('[tabindex="0"]')?.focus();
  }
  function draw() {
    graph.replaceChildren();
    below.clear();
    let at = tree, way = [tree];
    for (const k of keep.zoom) {
      const next = at.children.find(c => frameKey(c) === k);
      if (!next) break;
      way.push(at = next);
    }
    keep.zoom = way.slice(1).map(frameKey);
    let deepest = 0, first = null;
    const put = (n, parent, path, depth, x, width, faint) => {
      deepest = Math.max(deepest, depth);
      const id = path.join('\n'), match = find && (frameName(n).includes(find) || (n.place && (n.place.file + ':' + n.place.line).includes(find)));
      const e = h('button' + (faint || (find && !match) ? '.faint' : ''), {role: 'treeitem', tabindex: -1, 'aria-level': depth + 1, 'aria-label': frameName(n) + ', ' + plural(n.count, 'goroutine'),
        style: {left: x * 100 + '%', width: width * 100 + '%', top: depth * row + 'px', background: shade(n)},
        onclick: () => zoom(path), onfocus: () => { keep.frame = id; for (const o of graph.children) o.tabIndex = o === e ? 0 : -1; tell(n); },
        onpointerenter: () => tell(n), onpointerleave: () => tell(below.get(graph.querySelector('[tabindex="0"]'))?.n || at)}, fitted(n, width * ($main.clientWidth - 32)));
      graph.append(e);
      below.set(e, {n, parent, path});
      if (id === keep.frame) first = e;
      return e;
    };
    let e = null;
    way.forEach((n, depth) => e = put(n, e, way.slice(1, depth + 1).map(frameKey), depth, 0, 1, depth < way.length - 1));
    (function fill(n, parent, path, depth, x, width) {
      for (const c of n.children) {
        const w = width * c.value / Math.max(1, n.value);
        if (w < .0015) break;
        const p = [...path, frameKey(c)];
        fill(c, put(c, parent, p, depth, x, w), p, depth + 1, x, w);
        x += w;
      }
    })(at, e, way.slice(1).map(frameKey), way.length, 0, 1);
    first = first || e;
    first.tabIndex = 0;
    tell(below.get(first).n);
    graph.style.height = (deepest + 1) * row + 'px';
  }
  graph.addEventListener('keydown', ev => {
    const e = document.activeElement, me = below.get(e);
    if (!me) return;
    const all = [...below.keys()], beside = all.filter(o => below.get(o).parent === me.parent);
    const to = {ArrowUp: () => me.parent, ArrowDown: () => all.find(o => below.get(o).parent === e),
      ArrowLeft: () => beside[beside.indexOf(e) - 1], ArrowRight: () => beside[beside.indexOf(e) + 1]}[ev.key];
    if (to) { ev.preventDefault(); to()?.focus(); }
    else if (ev.key === 'Backspace' || ev.key === 'Escape') { ev.preventDefault(); ev.stopPropagation(); zoom(keep.zoom.slice(0, -1)); }
  });
  draw();
  return h('div', {}, told, graph, h('p.dim', {}, words));
}
