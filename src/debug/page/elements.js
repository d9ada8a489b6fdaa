'use strict';
// What all views are made of. Elements are made, never parsed: names and labels come from the program that is looked at.
const token = new URLSearchParams(location.search).get('token');
const $ = id => document.getElementById(id);
const $main = $('main');

// h('td.n', {title: 'x'}, 'text', child): an element with classes, attributes, listeners (onclick: f) and children.
function h(kind, attributes, ...children) {
  const [tag, ...classes] = kind.split('.');
  const e = document.createElement(tag);
  if (classes.length) e.className = classes.join(' ');
  for (const [k, v] of Object.entries(attributes || {})) {
    if (k.startsWith('on')) e.addEventListener(k.slice(2), v);
    else if (k === 'style') for (const [p, x] of Object.entries(v)) e.style.setProperty(p, x);
    else if (v !== undefined && v !== false && v !== null) e.setAttribute(k, v === true ? '' : v);
  }
  e.append(...children.flat(Infinity).filter(c => c !== null && c !== undefined && c !== false));
  return e;
}
function s(tag, attributes, ...children) {
  const e = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  e.append(...children);
  return e;
}

const count = n => n.toLocaleString('en');
const plural = (n, one, many) => count(n) + ' ' + (n === 1 ? one : many || one + 's');
function time(ms) {
  if (ms < 1000) return Math.round(ms) + ' ms';
  if (ms < 60000) return (ms / 1000).toFixed(1) + ' s';
  if (ms < 3600000) return Math.floor(ms / 60000) + ' min ' + Math.floor(ms % 60000 / 1000) + ' s';
  if (ms < 48 * 3600000) return Math.floor(ms / 3600000) + ' h ' + Math.floor(ms % 3600000 / 60000) + ' min';
  return Math.floor(ms / 86400000) + ' days ' + Math.floor(ms % 86400000 / 3600000) + ' h';
}
const clock = ms => new Date(ms).toLocaleTimeString('en-GB');

const file = p => p.slice(p.lastIndexOf('/') + 1);
const line = p => p && p.file ? file(p.file) + ':' + p.line : '';
const place = p => p && p.file ? h('span', {title: p.file + ':' + p.line}, p.function + ' ', h('span.dim', {}, line(p))) : '';
const address = (view, query) => '#' + view + (query && Object.keys(query).length ? '?' + new URLSearchParams(query) : '');
const link = (text, view, query) => h('a', {href: address(view, query)}, text);
const own = g => g.stack.find(f => !/(^|\/)leash\/[^\/]*\.hpp$/.test(f.file)) || g.stack[0];
const stack = g => h('pre', {}, g.stack.map(f => f.function + '\n    ' + f.file + ':' + f.line + '\n').join('') +
  'started by ' + (g.parent ? 'goroutine ' + g.parent : 'the run itself') + ' at ' + g.spawned_at.file + ':' + g.spawned_at.line);
const call = g => 'goroutine ' + g.id + (g.name ? ' (' + g.name + ')' : '');
const labels = l => Object.entries(l).map(([k, v]) => [link(k + '=' + v, 'goroutines', {label: k + '=' + v}), ' ']);

// A head that starts with # is a column of numbers, with ~ one for wide screens only, with ' one that is not broken. Of a row that has
// `below`, that comes in a row of its own, while what unfolds() gave is open.
function table(heads, rows, empty) {
  if (!rows.length) return h('p.dim', {}, empty || 'None.');
  const cls = head => ({'#': '.n', '~': '.wide', '\'': '.t'})[head[0]] || '';
  return h('div.scroll', {}, h('table', {},
    h('thead', {}, h('tr', {}, heads.map(t => h('th' + cls(t), {scope: 'col'}, t.replace(/^[#~']/, ''))))),
    h('tbody', {}, rows.map(r => [h('tr', {}, r.map((c, i) => h('td' + cls(heads[i]), {'data-head': heads[i].replace(/^[#~']/, '')}, h('div', {}, c)))),
      r.below ? h('tr.below', {hidden: true}, h('td', {colspan: heads.length}, r.below)) : null]))));
}
const unfolds = (key, summary) => h('details', {'data-key': key, ontoggle: e => { e.target.closest('tr').nextSibling.hidden = !e.target.open; }}, h('summary', {}, summary));
const details = (key, summary, ...parts) => h('details', {'data-key': key}, h('summary', {}, summary), ...parts);
// One of several: `now` is pressed, the others call choose(value).
const choice = (name, values, now, choose) => h('span.choice', {role: 'group', 'aria-label': name}, values.map(([value, text]) =>
  h('button', {type: 'button', id: name.replace(/\W/g, '_') + '_' + value, 'aria-pressed': String(value === now), onclick: () => choose(value)}, text)));
function pages(offset, limit, total, turn) {
  if (total <= limit && offset === 0) return null;
  return h('span', {}, h('button', {id: 'previous', title: 'key b', disabled: offset === 0, onclick: () => turn(Math.max(0, offset - limit))}, 'Previous'), ' ',
    h('button', {id: 'next', title: 'key n', disabled: offset + limit >= total, onclick: () => turn(offset + limit)}, 'Next'));
}

// A colour for each name, the same for as long as the page is open.
const colours = ['#5b8fd0', '#f0943c', '#5fae57', '#b98cc0', '#e5696b', '#6dbdb8', '#e6c23d', '#a9846b', '#f2a0ab', '#9aa3ad'];
const given = new Map();
function colour(name) {
  if (name === 'others') return '#8a929b';
  if (!given.has(name)) given.set(name, colours[given.size % colours.length]);
  return given.get(name);
}

async function ask(path, q) {
  const r = await fetch('/debug/leash/api/' + path + '?' + new URLSearchParams(q), {headers: token ? {Authorization: 'Bearer ' + token} : {}});
  if (!r.ok) throw new Error((await r.text()).trim() || r.statusText);
  return r.json();
}
