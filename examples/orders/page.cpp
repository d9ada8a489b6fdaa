#include "page.hpp"

const std::string_view orders::page = R"~(<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,">
<title>orders</title>
<style>
  :root { color-scheme: light dark; --line: light-dark(#ddd, #333); --soft: light-dark(#666, #999); --accent: light-dark(#06c, #6bf); }
  body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
  h1 { font-size: 1.2rem; display: flex; gap: 1rem; align-items: baseline; }
  h1 span { font-weight: normal; font-size: .9rem; color: var(--soft); }
  dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(7rem, 1fr)); gap: .5rem; }
  dl div { border: 1px solid var(--line); border-radius: 6px; padding: .5rem .7rem; }
  dt { color: var(--soft); font-size: .8rem; } dd { margin: 0; font-size: 1.4rem; font-variant-numeric: tabular-nums; }
  table { border-collapse: collapse; width: 100%; } th { text-align: left; color: var(--soft); font-weight: normal; }
  td, th { border-bottom: 1px solid var(--line); padding: .25rem .5rem .25rem 0; }
  td:first-child { font-family: monospace; } .fulfilled { color: var(--accent); }
  form { display: flex; flex-wrap: wrap; gap: .5rem; margin: 1rem 0; } input, button { font: inherit; }
</style>
<h1>orders <span id="live" role="status">connecting</span></h1>
<dl id="figures"></dl>
<form id="place">
  <input name="customer" value="ann" aria-label="customer" required> <input name="item" value="apples" aria-label="item" required>
  <input name="quantity" type="number" value="2" min="1" aria-label="quantity" required> <button>Order</button>
</form>
<table><thead><tr><th>order<th>customer<th>item<th>quantity<th>state</thead><tbody id="newest"></tbody></table>
<script>
  const by = id => document.getElementById(id);
  const element = (tag, text, name) => Object.assign(document.createElement(tag), {textContent: text, className: name || ''});
  const read = async path => (await fetch(path)).json();
  async function show() {
    const [s, newest] = await Promise.all([read('/stats'), read('/orders?limit=15')]);
    const figures = {...(s.orders || {}), 'dead letters': (s.queue || {}).dead, cancelled: s.since_start.cancelled,
                     goroutines: s.goroutines, leaks: s.leaks};
    by('figures').replaceChildren(...Object.entries(figures).map(([name, n]) => {
      const box = element('div', '');
      box.append(element('dt', name), element('dd', n ?? '?'));
      return box;
    }));
    by('newest').replaceChildren(...newest.map(o => {
      const row = element('tr', '');
      row.append(element('td', o.id.slice(0, 8)), element('td', o.customer), element('td', o.item), element('td', o.quantity),
                 element('td', o.state, o.state));
      return row;
    }));
  }
  let due = 0;  // what happens often is shown twice a second
  const soon = () => { due ||= setTimeout(() => show().catch(() => {}).finally(() => { due = 0; }), 500); };
  const events = new EventSource('/events');
  events.addEventListener('order', soon);
  events.onopen = () => { by('live').textContent = 'live'; soon(); };
  events.onerror = () => { by('live').textContent = 'the service is away; trying again'; };
  by('place').onsubmit = async e => {
    e.preventDefault();
    const o = Object.fromEntries(new FormData(e.target));
    await fetch('/orders', {method: 'POST', headers: {'Content-Type': 'application/json', 'Idempotency-Key': crypto.randomUUID?.() ?? `${Math.random()}`},
                            body: JSON.stringify({...o, quantity: Number(o.quantity)})});
    soon();
  };
  setInterval(soon, 5000);
</script>
</html>
)~";
